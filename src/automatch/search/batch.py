"""Search for many jobs at once: those that look through one group are one matrix product.

What comes out is a shortlist for each job. `public.finish_match_jobs` ranks it in the transaction
that finishes the job, against the database as it is then; a job without a shortlist is searched for
there.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from automatch.model.jobs import ClaimedJob
from automatch.search.group import Group
from automatch.store import search
from automatch.store.database import Database
from automatch.store.queue import Shortlist
from automatch.store.search import SearchRequest

_FEW = 4
"""Fewer jobs of one group than this are quicker in SQL, one by one."""

_AT_ONCE = 64
"""Jobs in one product: its result takes memory of jobs times faces."""

_KEEP_S = 60.0
"""A copy that nothing looked through for so long is forgotten: it may hold the template of somebody
who has withdrawn since."""

_READS = 3
"""So often a group is read anew when people leave it between two looks."""


@dataclass(slots=True)
class _Copy:
    group: Group
    lock: asyncio.Lock
    used_at: float = 0.0


class BatchSearch:
    """Searches in memory, with copies of the groups that were searched last."""

    def __init__(self, db: Database, *, max_bytes: int, keep_s: float = _KEEP_S) -> None:
        """Keep copies of *max_bytes* at most; 0 leaves all searches to the database."""
        self._db = db
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._copies: OrderedDict[tuple[str, str], _Copy] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Memory that the copies take."""
        return sum(copy.group.bytes for copy in self._copies.values())

    async def shortlists(self, jobs: Sequence[ClaimedJob]) -> dict[UUID, Shortlist]:
        """Return shortlists for the jobs that share a group with enough others."""
        if len(jobs) < _FEW or not self._max_bytes:
            return {}
        async with self._db.connection() as conn:
            wanted = await search.read_jobs(conn, jobs)
        found: dict[UUID, Shortlist] = {}
        wanted.sort(key=_group_of)
        for key, members in groupby(wanted, _group_of):
            some = list(members)
            if len(some) >= _FEW:
                found |= await self._search(*key, some)
        return found

    async def _search(
        self, school: str, gender: str, wanted: Sequence[SearchRequest]
    ) -> dict[UUID, Shortlist]:
        copy = self._copies.setdefault((school, gender), _Copy(Group(), asyncio.Lock()))
        self._copies.move_to_end((school, gender))
        async with copy.lock:
            if not await self._look(copy.group, school, gender):
                return {}
            # The product lets go of the GIL; the loop goes on meanwhile.
            lists = await asyncio.to_thread(_search_all, copy.group, wanted)
        loop = asyncio.get_running_loop()
        copy.used_at = loop.time()
        loop.call_later(self._keep_s, self._forget_unused)
        self._forget_the_oldest()
        return {
            one.job_id: Shortlist(school, gender, faces)
            for one, faces in zip(wanted, lists, strict=True)
        }

    async def _look(self, group: Group, school: str, gender: str) -> bool:
        async with self._db.connection() as conn:
            for _ in range(_READS):
                if group.take(await search.read_group(conn, school, gender, group.horizon)):
                    return True
        return False

    def _forget_the_oldest(self) -> None:
        while self.bytes > self._max_bytes:
            self._copies.popitem(last=False)

    def _forget_unused(self) -> None:
        before = asyncio.get_running_loop().time() - self._keep_s
        for key, copy in list(self._copies.items()):
            if copy.used_at <= before and not copy.lock.locked():
                del self._copies[key]


def _group_of(one: SearchRequest) -> tuple[str, str]:
    return one.school, one.gender


def _search_all(group: Group, wanted: Sequence[SearchRequest]) -> list[list[UUID]]:
    lists: list[list[UUID]] = []
    for start in range(0, len(wanted), _AT_ONCE):
        for ids in group.shortlists(wanted[start : start + _AT_ONCE]):
            lists.append([UUID(bytes=one.tobytes()) for one in ids])
    return lists
