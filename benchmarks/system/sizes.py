"""More people, written past the triggers: at other schools, or at that of those who upload."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg

from automatch.ops.bench.installation import SCHOOL
from benchmarks.feed_load import owner_address, say
from benchmarks.search import load
from benchmarks.search.data import Population
from benchmarks.system.trial import Bench
from tests.support.bulk import copy_columns, write_group

SCHOOL_FACES = 2_000
"""At each of the other schools."""


@dataclass(frozen=True, slots=True)
class FaceBytes:
    """What a face takes on the disk of the database."""

    faces: int
    index: float
    """In the copy that is searched."""
    tables: float
    """Everywhere else, with the profile of its person."""


class Sizes:
    """Adds people to an installation."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._population = Population(128)
        self._model = bench.looks.model

    async def grow_to(self, faces: int) -> FaceBytes | None:
        """Have so many faces at other schools; return what those that were added take each."""
        before, had = await self._bench.watch.relation_bytes(), self._bench.faces
        while self._bench.faces < faces:
            await asyncio.to_thread(self._add_school)
            if self._bench.faces % (50 * SCHOOL_FACES) == 0:
                say(f"{self._bench.faces:,} of {faces:,} faces are there")
        await self._bench.settle()
        added = self._bench.faces - had
        if not added:
            return None
        after = await self._bench.watch.relation_bytes()
        return FaceBytes(
            added, *(round((after[part] - before[part]) / added, 1) for part in before)
        )

    async def enlarge_school(self, people: int) -> None:
        """Have so many women at the school of those who upload."""
        missing = people - len(self._bench.women) - self._bench.others
        if missing > 0:
            await asyncio.to_thread(self._add_women, missing)
            self._bench.others += missing
            await self._bench.settle()

    def _add_school(self) -> None:
        number = self._bench.faces // SCHOOL_FACES
        with psycopg.connect(owner_address(self._bench.home)) as conn:
            load.write_ours(conn, self._population.school(number, SCHOOL_FACES), self._model)
        self._bench.faces += SCHOOL_FACES

    def _add_women(self, count: int) -> None:
        faces = self._population.people(count, woman=True)
        ids = self._population.school(0, count).ids
        with psycopg.connect(owner_address(self._bench.home)) as conn:
            conn.execute("set session_replication_role = replica")
            write_group(conn, SCHOOL, "female", ids, faces, model=self._model)
            copy_columns(conn, "automatch.feed_counters (profile_id)", [ids])
