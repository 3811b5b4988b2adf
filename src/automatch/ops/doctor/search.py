"""The search: pgvector, the indexes, the search copy, and settings that make sense."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from automatch.ops.doctor.check import Check, Need, Repair, Result, fail, ok, skipped, some, warn
from automatch.ops.doctor.installation import Installation
from automatch.sql.statements import load
from automatch.store import thresholds, tune
from automatch.store.search import read_recall

_SQL = load("doctor_search")

_LEAST_VECTOR = (0, 8)
_PARTITIONS = 16
_INDEXES = [
    *(f"face_index_{number}_pkey" for number in range(_PARTITIONS)),
    *("face_index_face_idx", "face_index_profile_idx", "idx_profiles_school_gender"),
    *("match_jobs_position_idx", "match_jobs_scheduled_idx", "match_jobs_one_open_per_face"),
    *("match_jobs_face_idx", "matches_face_b_idx", "matches_people_idx"),
]
"""Without one of these a search, a claim or a feed reads whole tables."""
_LEAST_THRESHOLD = 0.2
_GREATEST_THRESHOLD = 0.9
_DEFAULT_THRESHOLD = 0.5
_LEAST_RECALL = 0.999


@dataclass(frozen=True, slots=True)
class _Vector:
    version: str
    schema: str
    available: str | None


@dataclass(frozen=True, slots=True)
class _Group:
    school: str
    gender: str
    faces: int


@dataclass(frozen=True, slots=True)
class _Settings:
    threshold: float
    match_count: int


async def _vector(site: Installation) -> Result:
    found = await site.all(_Vector, _SQL["vector"])
    if not found:
        return fail(
            "The extension vector (pgvector) is not installed.",
            "Install pgvector 0.8 or newer on the server, then `automatch migrate`.",
        )
    vector = found[0]
    number = tuple(int(part) for part in re.findall(r"\d+", vector.version))
    if number < _LEAST_VECTOR:
        newer = vector.available if vector.available != vector.version else None
        return fail(
            f"pgvector is of version {vector.version}; 0.8 or newer is needed.",
            "alter extension vector update"
            if newer
            else "Install pgvector 0.8 or newer, then `alter extension vector update`.",
        )
    return ok(f"pgvector {vector.version} in the schema {vector.schema}.")


async def _indexes(site: Installation) -> Result:
    missing = await site.column(_SQL["missing_indexes"], names=_INDEXES)
    if missing:
        return fail(
            f"Indexes are missing: {some(missing)}.",
            "Restore them from a backup's schema, or from src/automatch/sql/schema.",
        )
    broken = await site.column(_SQL["broken_indexes"])
    if broken:
        return fail(
            f"Indexes are not usable, and searches go on without them: {some(broken)}.",
            f"reindex index concurrently {broken[0]}",
        )
    return ok("All are there and usable.")


async def _plan(site: Installation) -> Result:
    groups = await site.all(_Group, _SQL["largest_group"])
    if not groups:
        return skipped("No face can be found yet.")
    await site.database.execute(_SQL["as_searches_plan"])
    (plan,) = await site.column(
        _SQL["group_plan"], school=groups[0].school, gender=groups[0].gender
    )
    nodes = _nodes(plan[0]["Plan"])
    tables = {node["Relation Name"] for node in nodes if "Relation Name" in node}
    if len(tables) != 1 or any(node["Node Type"] == "Seq Scan" for node in nodes):
        return fail(
            "A search reads whole tables instead of its school and gender through an index.",
            "automatch doctor's check search.indexes says which index; then `analyze`.",
        )
    index = next((node["Index Name"] for node in nodes if "Index Name" in node), "its index")
    return ok(f"The largest group has {groups[0].faces} faces and is read through {index}.")


async def _copy(site: Installation) -> Result:
    people = await site.column(_SQL["copy"])
    if not people:
        return ok("Exactly those who may be found are found.")

    async def repair() -> None:
        for person in people:
            # One person a transaction: nobody waits for long, and nothing is locked in disorder.
            async with site.repairing("search.copy", profile=str(person)) as conn:
                await conn.execute(_SQL["lock_profile"], {"profile": person})
                await conn.execute(_SQL["index_faces"], {"profile": person})

    return fail(
        f"The search copy of the faces of {len(people)} people is not what it should be: they are "
        "not found, or are found and should not be.",
        "automatch doctor --fix",
        Repair(f"makes the search copy of {len(people)} people anew", repair),
    )


async def _recall(site: Installation) -> Result:
    seen = await read_recall(site.database)
    if seen.recall is None:
        return skipped("No search of the last day was made again by brute force.")
    told = f"{seen.recall:.4f} of {seen.audits} searches that were made again by brute force"
    if seen.recall < _LEAST_RECALL:
        return fail(f"Searches miss people: recall {told}.", "automatch tune --build")
    return ok(f"Recall {told}.")


async def _large_groups(site: Installation) -> Result:
    settings = await tune.read_search_settings(site.database)
    groups = await tune.list_groups(site.database, settings.most_indexes)
    without = [
        group for group in groups if group.faces >= settings.index_from and not group.index_ready
    ]
    if without:
        return warn(
            f"{len(without)} groups have {settings.index_from} faces and more, and no index of "
            "their own; their searches are right, and slow.",
            "automatch tune --build",
        )
    return ok(f"No group of {settings.index_from} faces and more is without an index.")


async def _threshold(site: Installation) -> Result:
    now = await site.one(_Settings, _SQL["settings"])
    if _LEAST_THRESHOLD <= now.threshold <= _GREATEST_THRESHOLD:
        return ok(
            f"Two people match from a similarity of {now.threshold:g} on; a search finds "
            f"{now.match_count} at most."
        )

    async def repair() -> None:
        async with site.repairing("search.threshold", threshold=_DEFAULT_THRESHOLD) as conn:
            await thresholds.set_threshold(conn, _DEFAULT_THRESHOLD, rerun=False, actor=site.actor)

    what = "nearly everybody matches" if now.threshold < _LEAST_THRESHOLD else "nobody matches"
    return fail(
        f"The threshold is {now.threshold:g}, with which {what}.",
        "automatch threshold 0.5 (with --preview first)",
        Repair(f"sets the threshold to {_DEFAULT_THRESHOLD}; matches that are there stay", repair),
    )


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


CHECKS = [
    Check("search.vector", "pgvector and its version", _vector, Need.DATABASE),
    Check("search.indexes", "Indexes are there and usable", _indexes),
    Check("search.plan", "A search uses its index", _plan),
    Check("search.copy", "Who may be found is found", _copy),
    Check("search.recall", "Searches miss nobody", _recall),
    Check("search.groups", "Very large groups", _large_groups),
    Check("search.threshold", "The threshold makes sense", _threshold),
]
