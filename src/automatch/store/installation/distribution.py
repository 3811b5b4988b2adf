"""The faces spread over the machines of a Citus cluster by school, and gathered again.

The search copy: schools are copied one by one into another table while uploads and searches go on.
What changed meanwhile is copied again, the last of it while writers wait; then the two tables
change places. The embeddings: each lies in its row of face_embeddings or in a shard, and is read
from where it lies, so new ones are written to the new place and the others follow, some people at
a time. Interrupted, both go on where they were. For the owner's login; each statement is a
transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.errors import LockNotAvailable, QueryCanceled
from psycopg.rows import class_row

from automatch.errors.store import DatabaseUnavailableError
from automatch.sql.statements import load
from automatch.store.database import Connection

_SQL = {**load("distribution"), **load("citus")}

_FEW_FACES = 1000
"""So many are copied while writers wait."""
_ROUNDS = 10
_PEOPLE = 500
"""So many have their embeddings moved in one transaction."""
_LOCK_ATTEMPTS = 40
_LOCK_RETRY_S = 0.3

_T = TypeVar("_T")
Progress = Callable[[int, int], None]
"""Called with the faces that are copied, and those of all."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a machine of the cluster listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Node(Address):
    """A machine that holds shards."""

    shards: int
    bytes: int


@dataclass(frozen=True, slots=True)
class State:
    """Where the faces that can be found lie."""

    is_distributed: bool
    next_is_distributed: bool | None
    """The same of the copy that is being made; None without one."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Where the embeddings lie."""

    are_sharded: bool
    """Whether new ones are written into shards."""
    are_settled: bool
    """Whether all others lie where new ones are written."""


@dataclass(frozen=True, slots=True)
class _People:
    school: str
    people: int


@dataclass(frozen=True, slots=True)
class _Moved:
    upto: UUID | None
    people: int


@dataclass(frozen=True, slots=True)
class _School:
    school: str
    faces: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Shard(Address):
    shard: int


async def has_citus(conn: Connection, *, install: bool) -> bool:
    """Return whether the database has the extension; *install* creates it if the server can."""
    if not await _value(conn, "is_installed"):
        if not install or not await _value(conn, "is_offered"):
            return False
        await conn.execute(_SQL["install"])
    return True


async def add_nodes(conn: Connection, coordinator: Address | None, nodes: list[Address]) -> None:
    """Tell the cluster its machines; those that it knows stay as they are."""
    if coordinator is not None and not await _value(conn, "coordinator"):
        await _run(conn, "set_coordinator", host=coordinator.host, port=coordinator.port)
    for node in nodes:
        await _run(conn, "add_node", host=node.host, port=node.port)


async def list_nodes(conn: Connection) -> list[Node]:
    """Return the machines that hold shards, and what of the search copy they have."""
    return await _all(conn, Node, "nodes")


async def read_state(conn: Connection) -> State:
    """Return where the search copy lies."""
    (state,) = await _all(conn, State, "state")
    return state


async def read_embeddings_state(conn: Connection) -> Embeddings:
    """Return where the embeddings lie."""
    (state,) = await _all(conn, Embeddings, "embeddings")
    return state


async def are_co_located(conn: Connection) -> bool:
    """Return whether the faces of a school and their embeddings are always on one machine."""
    return bool(await _value(conn, "is_co_located"))


async def list_away(conn: Connection) -> list[Address]:
    """Return the machines that this one does not reach."""
    return await _all(conn, Address, "away")


async def is_planned_for_one_server(conn: Connection) -> bool:
    """Return whether an upgrade has taken back what `tune_cluster` does."""
    return bool(await _value(conn, "wrong_plans"))


async def are_sampled(conn: Connection) -> bool:
    """Return whether a machine may take samples of embeddings, which moving a shard allows it."""
    return bool(await _value(conn, "are_sampled"))


async def tune_cluster(conn: Connection) -> None:
    """Plan and sample as a cluster needs it, which upgrades and new machines or shards take back.

    Raises:
        DatabaseUnavailableError: a machine does not answer.
    """
    await conn.execute(_SQL["set_plans"])
    if await _value(conn, "tune_machines") is False or not await _value(
        conn, "keep_out_of_samples"
    ):
        raise DatabaseUnavailableError("A machine of the cluster does not answer.")


async def drop_copy(conn: Connection) -> None:
    """Give up a copy that an interrupted run began."""
    await conn.execute(_SQL["drop_copy"])


async def replace_copy(
    conn: Connection, *, shards: int, actor: str | None, on_progress: Progress
) -> None:
    """Copy the faces into so many shards, or with 0 onto this server, and search there.

    Raises:
        DatabaseUnavailableError: somebody used the copy all the time; call again.
    """
    state = await read_state(conn)
    if state.next_is_distributed is not None and state.next_is_distributed != (shards > 0):
        await drop_copy(conn)
    await _run(conn, "begin_copy", shards=shards)
    done = total = 0
    for number in range(_ROUNDS):
        schools = await _all(conn, _School, "differences")
        total = total or sum(school.faces for school in schools)
        copied = 0
        for school in schools:
            async with conn.transaction():
                copied += await _copy(conn, school)
            done = min(done + school.faces, total)
            if number == 0:
                on_progress(done, total)
        if copied <= _FEW_FACES:
            break
    if shards:
        await tune_cluster(conn)
    await _swap(conn, actor)
    await conn.execute(_SQL["analyze"])


async def move_embeddings(conn: Connection, *, into_shards: bool, on_progress: Progress) -> None:
    """Move all embeddings into the shards of the search copy, or onto this server.

    Raises:
        DatabaseUnavailableError: somebody used them all the time; call again.
    """
    if await read_embeddings_state(conn) == Embeddings(into_shards, True):
        return
    name = "sharding" if into_shards else "unsharding"
    await _brief(conn, f"begin_{name}")
    if into_shards and await _value(conn, "is_installed"):
        await tune_cluster(conn)
    for number in range(_ROUNDS):
        schools = await _all(conn, _People, "people")
        done, total = 0, sum(school.people for school in schools)
        for school in schools:
            upto: UUID | None = UUID(int=0)
            while upto is not None:
                (moved,) = await _all(
                    conn, _Moved, "move_embeddings", school=school.school, upto=upto, people=_PEOPLE
                )
                upto, done = moved.upto, min(done + moved.people, total)
                if number == 0:
                    on_progress(done, total)
        # Of who moved from a school to one that had its turn.
        if not await _value(conn, "has_misplaced"):
            break
    await _brief(conn, f"end_{name}")


async def isolate_school(conn: Connection, school: str, node: Address | None) -> Address:
    """Give a school a shard of its own, on *node* if one is named; return where it is.

    The rows of the schools that share its shard cannot be written meanwhile.
    """
    (shard,) = await _all(conn, _Shard, "shard_of", school=school)
    if await _value(conn, "has_company", shard=shard.shard):
        await _run(conn, "isolate", school=school)
        (shard,) = await _all(conn, _Shard, "shard_of", school=school)
    here = Address(shard.host, shard.port)
    place = node or here
    if place != here:
        await _run(
            conn,
            "move",
            shard=shard.shard,
            from_host=here.host,
            from_port=here.port,
            host=place.host,
            port=place.port,
        )
    await tune_cluster(conn)
    return place


async def _copy(conn: Connection, school: _School) -> int:
    if school.is_new:
        return (await _run(conn, "copy_school", school=school.school)).rowcount
    cursor = await _run(conn, "changed_faces", school=school.school)
    faces = [face for (face,) in await cursor.fetchall()]
    await _run(conn, "drop_faces", school=school.school, faces=faces)
    await _run(conn, "copy_faces", school=school.school, faces=faces)
    return len(faces)


async def _swap(conn: Connection, actor: str | None) -> None:
    async def swap() -> None:
        await conn.execute(_SQL["stop_writers"])
        for school in await _all(conn, _School, "differences"):
            await _copy(conn, school)
        await conn.execute(_SQL["stop_readers"])
        await _run(conn, "swap", actor=actor)

    await _brief(conn, swap)


async def _brief(conn: Connection, act: str | Callable[[], Awaitable[None]]) -> None:
    for _ in range(_LOCK_ATTEMPTS):
        try:
            async with conn.transaction():
                await conn.execute(_SQL["one_after_the_other"])
                await conn.execute(_SQL["be_brief"])
                if isinstance(act, str):
                    await conn.execute(_SQL[act])
                else:
                    await act()
        except (LockNotAvailable, QueryCanceled):
            await asyncio.sleep(_LOCK_RETRY_S)
        else:
            return
    raise DatabaseUnavailableError("The faces are in use all the time; run the command again.")


async def _run(conn: Connection, name: str, **parameters: Any) -> psycopg.AsyncCursor[Any]:
    return await conn.execute(_SQL[name], parameters)


async def _all(conn: Connection, kind: type[_T], name: str, **parameters: Any) -> list[_T]:
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(_SQL[name], parameters)
        return await cursor.fetchall()


async def _value(conn: Connection, name: str, **parameters: Any) -> Any:
    row = await (await _run(conn, name, **parameters)).fetchone()
    assert row is not None
    return row[0]
