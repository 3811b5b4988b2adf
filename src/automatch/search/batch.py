"""Searching for many jobs at once: jobs that search the same group share one matrix product.

The result is the candidates of each job. `complete_match_jobs_with_candidates` ranks them in the
transaction that completes the job, against the database as it is then; a job without candidates is
searched for there.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from automatch.model.jobs import ClaimedJob
from automatch.search.group import Group
from automatch.store.database import Database
from automatch.store.matching import search
from automatch.store.matching.search import BYTES_BESIDE_EMBEDDING, SearchRequest
from automatch.store.queue.queue import Candidates

_MIN_JOBS = 4
"""Fewer jobs of one group are faster in SQL, one by one."""

_MAX_REQUESTS = 64
"""Requests in one product: its result takes memory of requests times faces."""

_KEEP_S = 60.0
"""A copy that was not used for this long is dropped: it may hold the embedding of somebody who has
withdrawn their consent since."""

_BUSY_S = 10.0
"""A copy that was used this recently is not dropped for another: both would be read each time."""

_MAX_READS = 3
"""How often a group is read anew when people leave it between two reads."""


_Key = tuple[str, str, str]
"""Model, school and gender."""


@dataclass(slots=True)
class _CachedGroup:
    group: Group
    lock: asyncio.Lock
    used_at: float = 0.0


class BatchSearch:
    """Searches in memory, with a cache of the groups that were searched last."""

    def __init__(
        self,
        db: Database,
        *,
        max_bytes: int,
        keep_s: float = _KEEP_S,
        on_search: Callable[[int, float], None] = lambda _people, _seconds: None,
    ) -> None:
        """Cache at most *max_bytes*; 0 leaves all searches to the database.

        *on_search* is told how many people a search covered, and how many seconds it took.
        """
        self._db = db
        self._on_search = on_search
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._cache: OrderedDict[_Key, _CachedGroup] = OrderedDict()
        self._too_large: dict[_Key, float] = {}
        """Groups that did not fit, and until when that is believed."""

    @property
    def bytes(self) -> int:
        """Memory that the cache takes."""
        return sum(cached.group.bytes for cached in self._cache.values())

    async def find_candidates(self, jobs: Sequence[ClaimedJob]) -> dict[UUID, Candidates]:
        """Return the candidates of the jobs that share a group with enough others."""
        if len(jobs) < _MIN_JOBS or not self._max_bytes:
            return {}
        async with self._db.connection() as conn:
            requests = await search.read_jobs(conn, jobs)
        found: dict[UUID, Candidates] = {}
        requests.sort(key=_group_of)
        for key, members in groupby(requests, _group_of):
            same_group = list(members)
            if len(same_group) >= _MIN_JOBS:
                found |= await self._search(*key, same_group)
        return found

    async def _search(
        self, model: str, school: str, gender: str, requests: Sequence[SearchRequest]
    ) -> dict[UUID, Candidates]:
        key = (model, school, gender)
        loop = asyncio.get_running_loop()
        if self._too_large.get(key, 0) > loop.time():
            return {}
        cached = self._cache.setdefault(key, _CachedGroup(Group(), asyncio.Lock()))
        self._cache.move_to_end(key)
        async with cached.lock:
            max_faces = self._available_bytes(key) // (
                requests[0].embedding.nbytes + BYTES_BESIDE_EMBEDDING
            )
            if not await self._refresh(cached.group, key, max_faces):
                return {}
            # The product releases the GIL, so the event loop goes on meanwhile.
            began = loop.time()
            lists = await asyncio.to_thread(_search_group, cached.group, requests)
            self._on_search(len(cached.group), loop.time() - began)
        cached.used_at = loop.time()
        loop.call_later(self._keep_s, self._evict_unused)
        if cached.group.bytes > self._max_bytes:
            self._skip_group(key)
        self._evict_oldest()
        return {
            request.job_id: Candidates(school, gender, faces)
            for request, faces in zip(requests, lists, strict=True)
        }

    def _available_bytes(self, key: _Key) -> int:
        """Return how much a copy may take beside those of other groups that are in use."""
        busy_since = asyncio.get_running_loop().time() - _BUSY_S
        return self._max_bytes - sum(
            cached.group.bytes
            for other, cached in self._cache.items()
            if other != key and cached.used_at > busy_since
        )

    async def _refresh(self, group: Group, key: _Key, max_faces: int) -> bool:
        async with self._db.connection() as conn:
            for _ in range(_MAX_READS):
                delta = await search.read_group(
                    conn, *key, snapshot_xmin=group.snapshot_xmin, max_faces=max_faces
                )
                if delta is None:
                    self._skip_group(key)
                    return False
                if await asyncio.to_thread(group.update, delta):
                    return True
        return False

    def _skip_group(self, key: _Key) -> None:
        self._cache.pop(key, None)
        self._too_large[key] = asyncio.get_running_loop().time() + self._keep_s

    def _evict_oldest(self) -> None:
        while self.bytes > self._max_bytes:
            self._cache.popitem(last=False)

    def _evict_unused(self) -> None:
        used_before = asyncio.get_running_loop().time() - self._keep_s
        for key, cached in list(self._cache.items()):
            if cached.used_at <= used_before and not cached.lock.locked():
                del self._cache[key]


def _group_of(request: SearchRequest) -> tuple[str, str, str]:
    return request.model, request.school, request.gender


def _search_group(group: Group, requests: Sequence[SearchRequest]) -> list[list[UUID]]:
    lists: list[list[UUID]] = []
    for start in range(0, len(requests), _MAX_REQUESTS):
        for ids in group.find_candidates(requests[start : start + _MAX_REQUESTS]):
            lists.append([UUID(bytes=face_id.tobytes()) for face_id in ids])
    return lists
