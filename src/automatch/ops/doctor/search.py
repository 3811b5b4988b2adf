"""The search: pgvector, the indexes, the rows of `face_index`, recall, and the threshold."""

from __future__ import annotations

from dataclasses import dataclass

from automatch.ops.doctor.check import (
    Check,
    Repair,
    Requires,
    Result,
    abbreviate,
    fail,
    ok,
    skipped,
    warn,
)
from automatch.ops.doctor.context import CheckContext
from automatch.sql.statements import load
from automatch.store.installation import distribution
from automatch.store.installation.server_check import is_vector_too_old
from automatch.store.matching import thresholds, tune
from automatch.store.matching.search import read_recall

_SQL = load("doctor_search")

_MIN_THRESHOLD = 0.2
_MAX_THRESHOLD = 0.9
_DEFAULT_THRESHOLD = 0.5
_MIN_RECALL = 0.999


@dataclass(frozen=True, slots=True)
class _Vector:
    version: str
    schema: str
    available: str | None


@dataclass(frozen=True, slots=True)
class _Settings:
    threshold: float
    match_count: int


async def _vector(context: CheckContext) -> Result:
    found = await context.all(_Vector, _SQL["vector"])
    if not found:
        return fail(
            "The extension vector (pgvector) is not installed.",
            "Install pgvector 0.8 or newer on the server, then `automatch migrate`.",
        )
    vector = found[0]
    if is_vector_too_old(vector.version):
        newer = vector.available if vector.available != vector.version else None
        return fail(
            f"pgvector has version {vector.version}; 0.8 or newer is required.",
            "alter extension vector update"
            if newer
            else "Install pgvector 0.8 or newer, then `alter extension vector update`.",
        )
    return ok(f"pgvector {vector.version} in the schema {vector.schema}.")


async def _indexes(context: CheckContext) -> Result:
    broken = await context.column(_SQL["broken_indexes"])
    if broken:
        return fail(
            f"Indexes are invalid, and searches do not use them: {abbreviate(broken)}.",
            f"reindex index concurrently {broken[0]}",
        )
    return ok("All indexes are valid.")


async def _face_index(context: CheckContext) -> Result:
    schools = await context.column(_SQL["differing_schools"])
    people = await context.column(_SQL["out_of_sync"], schools=schools) if schools else []
    if not people:
        return ok("face_index holds exactly the faces that may be found.")

    async def repair() -> None:
        for person in people:
            # One transaction per person, so that locks are short and cannot deadlock.
            async with context.repairing("search.faces", profile=str(person)) as conn:
                await conn.execute(_SQL["lock_profile"], {"profile": person})
                await conn.execute(_SQL["unindex_faces"], {"profile": person})
                await conn.execute(_SQL["index_faces"], {"profile": person})

    return fail(
        f"The rows of {len(people)} people in face_index are wrong: they are not found, or are "
        "found and should not be.",
        "automatch doctor --fix",
        Repair(f"Rebuild the rows of {len(people)} people in face_index", repair),
    )


async def _recall(context: CheckContext) -> Result:
    measured = await read_recall(context.database)
    if measured.recall is None:
        return skipped("No search of the last day was verified by brute force.")
    message = f"is {measured.recall:.4f} in {measured.audits} searches verified by brute force"
    if measured.recall < _MIN_RECALL:
        return fail(f"Searches miss people: the recall {message}.", "automatch tune --build")
    return ok(f"Recall {message}.")


async def _large_groups(context: CheckContext) -> Result:
    settings = await tune.read_search_settings(context.database)
    groups = await tune.list_groups(context.database, settings.most_indexes)
    without = [
        group for group in groups if group.faces >= settings.index_from and not group.index_ready
    ]
    if without:
        return warn(
            f"{len(without)} groups have at least {settings.index_from} faces and no index of "
            "their own; their searches are correct, but slow.",
            "automatch tune --build",
        )
    return ok(f"Every group with at least {settings.index_from} faces has an index.")


async def _shards(context: CheckContext) -> Result:
    state = await distribution.read_state(context.database)
    if state.next_is_distributed is not None:
        command = "distribute" if state.next_is_distributed else "gather"
        return warn(
            "Copying the faces to another place was interrupted.", f"automatch db {command}"
        )
    embeddings = await distribution.read_embeddings_state(context.database)
    if embeddings != distribution.Embeddings(state.is_distributed, True):
        command = "distribute" if state.is_distributed else "gather"
        return warn(
            "Some embeddings are not where the faces that can be found are: moving them was "
            "interrupted, or a cluster was restored on one server.",
            f"automatch db {command} --yes",
        )
    if not state.is_distributed:
        return ok("The faces that can be found are on one server.")
    away = await distribution.list_away(context.database)
    if away:
        return fail(
            f"Machines of the cluster do not answer: {abbreviate([str(one) for one in away])}. "
            "Nobody at the schools whose faces they hold is found.",
            "Start Postgres there, and let the coordinator connect to it.",
        )
    if not await distribution.are_co_located(context.database):
        return fail(
            "Faces that can be found and their embeddings lie in shards of different groups.",
            "automatch db gather, then automatch db distribute",
        )
    if await distribution.is_planned_for_one_server(context.database):
        return fail(
            "Searches are planned as for one server, and fail in the cluster.",
            "automatch db distribute",
        )
    if await distribution.are_sampled(context.database):
        return warn(
            "Machines of the cluster take samples of embeddings for their planner, which stay when "
            "somebody is erased: a shard was moved.",
            "automatch db distribute",
        )
    nodes = await distribution.list_nodes(context.database)
    return ok(f"The faces that can be found are in shards on {len(nodes)} machines.")


async def _threshold(context: CheckContext) -> Result:
    now = await context.one(_Settings, _SQL["settings"])
    if _MIN_THRESHOLD <= now.threshold <= _MAX_THRESHOLD:
        return ok(
            f"Two people match at a similarity of at least {now.threshold:g}; a search returns at "
            f"most {now.match_count} people."
        )

    async def repair() -> None:
        async with context.repairing("search.threshold", threshold=_DEFAULT_THRESHOLD) as conn:
            await thresholds.set_threshold(
                conn, _DEFAULT_THRESHOLD, rerun=False, actor=context.actor
            )

    effect = "nearly everyone matches" if now.threshold < _MIN_THRESHOLD else "no one matches"
    return fail(
        f"The threshold is {now.threshold:g}, at which {effect}.",
        "`automatch threshold 0.5 --preview` tells the effect, then `automatch threshold 0.5`",
        Repair(f"Set the threshold to {_DEFAULT_THRESHOLD}; existing matches stay", repair),
    )


CHECKS = [
    Check("search.vector", "pgvector and its version", _vector, Requires.DATABASE),
    Check("search.indexes", "Indexes are valid", _indexes),
    Check("search.faces", "The faces that can be found are complete", _face_index),
    Check("search.recall", "Searches miss no one", _recall),
    Check("search.groups", "Large groups have an index", _large_groups),
    Check("search.shards", "The machines of the cluster answer", _shards),
    Check("search.threshold", "The threshold is sensible", _threshold),
]
