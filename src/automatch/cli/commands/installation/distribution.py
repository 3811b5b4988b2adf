"""`automatch db distribute`, `gather`: the faces that can be found, on the machines of Citus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home, Yes
from automatch.cli.output.echo import confirmed, echo
from automatch.cli.runtime.db_session import audit_actor, ensure_postgres
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError
from automatch.errors.store import ServerUnfitError

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.store.database import Connection
    from automatch.store.installation.distribution import Address

_POSTGRES_PORT = 5432


def distribute(
    *,
    coordinator: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="How the other machines reach this database."),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="A machine to add to the cluster; repeatable."),
    ] = None,
    shards: Annotated[
        int, typer.Option(min=1, max=4096, help="Number of shards; schools share them.")
    ] = 32,
    isolate: Annotated[
        str | None, typer.Option(metavar="SCHOOL", help="Give this school a shard of its own.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="With --isolate: the machine for that shard."),
    ] = None,
    yes: Yes = False,
    home: Home = None,
) -> None:
    """Spread the faces over the machines of a Citus cluster.

    Uploads and searches go on meanwhile. Run it again to go on after an interruption, to add
    machines, or after an upgrade. `automatch db gather` undoes it.

    Example: `automatch db distribute --coordinator 10.0.0.1:5432 --node 10.0.0.2:5432`
    """
    if to is not None and isolate is None:
        raise InputInvalidError("--to needs --isolate.")
    asyncio.run(
        _distribute(home, coordinator, node or [], shards=shards, isolate=isolate, to=to, yes=yes)
    )


def gather(yes: Yes = False, home: Home = None) -> None:
    """Bring the faces back onto the coordinator.

    Uploads and searches go on meanwhile, and an interrupted run can be repeated.

    Example: `automatch db gather`
    """
    asyncio.run(_gather(home, yes=yes))


async def _distribute(
    home: Path | None,
    coordinator: str | None,
    nodes: list[str],
    *,
    shards: int,
    isolate: str | None,
    to: str | None,
    yes: bool,
) -> None:
    from automatch.store.installation import distribution as store

    addresses = [_address(node) for node in nodes]
    async with _owner(load_settings_and_logging(home=home)) as conn:
        if not await store.has_citus(conn, install=True):
            raise ServerUnfitError(
                "This Postgres has no Citus: install the extension on every machine, add it to "
                "shared_preload_libraries, and name the coordinator in AUTOMATCH_DATABASE_URL."
            )
        await store.add_nodes(conn, _address(coordinator) if coordinator else None, addresses)
        found = await store.list_nodes(conn)
        if not found:
            raise InputInvalidError("The cluster has no machine yet: add one with --node.")
        if (await store.read_state(conn)).is_distributed:
            await store.drop_copy(conn)
            await store.tune_cluster(conn)
            if await store.read_embeddings_state(conn) == store.Embeddings(True, True):
                echo("The faces are distributed already.")
            await _move_embeddings(conn, into_shards=True)
        elif confirmed(f"Spread the faces in {shards} shards on {len(found)} machines?", yes=yes):
            await _replace(conn, shards)
            await _move_embeddings(conn, into_shards=True)
        else:
            return
        if isolate is not None:
            place = await store.isolate_school(conn, isolate, _address(to) if to else None)
            echo(f"{isolate} has a shard of its own on {place}.")
        await _print_nodes(conn)


async def _gather(home: Path | None, *, yes: bool) -> None:
    from automatch.store.installation import distribution as store

    async with _owner(load_settings_and_logging(home=home)) as conn:
        is_distributed = (await store.read_state(conn)).is_distributed
        embeddings = await store.read_embeddings_state(conn)
        if not is_distributed and embeddings == store.Embeddings(False, True):
            await store.drop_copy(conn)
            echo("The faces are on this server already.")
            return
        if confirmed("Copy all faces onto the coordinator and delete the shards?", yes=yes):
            await _move_embeddings(conn, into_shards=False)
            await _replace(conn, 0)
            echo("The faces are on this server; the other machines hold nothing any more.")


async def _replace(conn: Connection, shards: int) -> None:
    from automatch.cli.runtime.progress import step_progress
    from automatch.store.installation import distribution as store

    with step_progress() as report:
        await store.replace_copy(
            conn,
            shards=shards,
            actor=audit_actor(),
            on_progress=lambda done, total: report("Faces copied", done, total),
        )


async def _move_embeddings(conn: Connection, *, into_shards: bool) -> None:
    from automatch.cli.runtime.progress import step_progress
    from automatch.store.installation import distribution as store

    with step_progress() as report:
        await store.move_embeddings(
            conn,
            into_shards=into_shards,
            on_progress=lambda done, total: report("Embeddings moved", done, total),
        )


async def _print_nodes(conn: Connection) -> None:
    from automatch.store.installation import distribution as store

    for node in await store.list_nodes(conn):
        echo(f"{node} holds {node.shards} shards, {node.bytes / 2**20:.1f} MiB.")


@asynccontextmanager
async def _owner(settings: Settings) -> AsyncIterator[Connection]:
    from automatch.postgres.addresses import database_address
    from automatch.settings.secrets import secrets_of
    from automatch.store.database import owner_connection

    secrets = secrets_of(settings)
    async with (
        ensure_postgres(settings, secrets),
        owner_connection(database_address(settings, secrets, "owner")) as conn,
    ):
        yield conn


def _address(text: str) -> Address:
    from automatch.store.installation.distribution import Address

    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(_POSTGRES_PORT))
    if not host or not port.isdecimal():
        raise InputInvalidError(f"{text} is no HOST:PORT.")
    return Address(host.strip("[]"), int(port))
