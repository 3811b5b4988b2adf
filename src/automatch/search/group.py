"""The faces of one group in memory, brought up to date from the database before each use.

Each read returns the faces that came since the last one, and the number of older faces. When that
number is not the copy's, somebody left the group and the copy is read anew. See
`public.read_search_group`.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from automatch.search.candidates import Codes, Rows, select_candidates
from automatch.store.matching.search import Bytes, GroupDelta, GroupFaces, SearchRequest

_MAX_RECENT = 256
"""Up to this many new faces are read again each time; more are moved into the copy, which copies
all of it in memory."""

_EXCLUDED = -2
"""A cosine below any bound."""


class Group:
    """The people of one school and gender, by one model."""

    def __init__(self) -> None:
        self._known: GroupFaces | None = None
        self._recent: GroupFaces | None = None
        self.snapshot_xmin: str | None = None
        """What the next read names; None when everything has to be read."""

    def __len__(self) -> int:
        return sum(len(part) for part in (self._known, self._recent) if part is not None)

    @property
    def bytes(self) -> int:
        """Memory that the copy takes."""
        return sum(part.bytes for part in (self._known, self._recent) if part is not None)

    def update(self, delta: GroupDelta) -> bool:
        """Bring the copy up to date; False when somebody left, and all has to be read again."""
        if self._known is None:
            self._store(delta.faces, delta.snapshot_xmin)
        elif delta.known != len(self._known):
            self._known = self._recent = self.snapshot_xmin = None
            return False
        elif len(delta.faces) > _MAX_RECENT:
            self._store(self._known.followed_by(delta.faces), delta.snapshot_xmin)
        else:
            self._recent = delta.faces
        return True

    def find_candidates(self, requests: Sequence[SearchRequest]) -> list[Bytes]:
        """Return for each request the ids of its candidate faces, shape (faces, 16)."""
        # Two products: joining the arrays first would copy the large one.
        parts = [part for part in (self._known, self._recent) if part is not None and len(part)]
        if not parts:
            return [np.empty((0, 16), np.uint8) for _ in requests]
        queries = np.stack([request.embedding for request in requests])
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        cosines = np.hstack([queries @ part.embeddings.T for part in parts])
        face_ids = np.concatenate([part.face_ids for part in parts])
        profile_ids = np.concatenate([part.profile_ids for part in parts])
        people = _codes(profile_ids)
        lists = []
        for row, request in zip(cosines, requests, strict=True):
            for person in request.hidden:
                row[_rows_of(person, profile_ids, people)] = _EXCLUDED
            rows = select_candidates(row, people, bound=request.bound, count=request.match_count)
            lists.append(face_ids[rows])
        return lists

    def _store(self, faces: GroupFaces, snapshot_xmin: str) -> None:
        # Faces that are not settled below the new snapshot_xmin are part of the next read again.
        self._known = faces.where(faces.settled)
        self._recent = faces.where(~faces.settled)
        self.snapshot_xmin = snapshot_xmin


def _codes(ids: Bytes) -> Codes:
    """Return a number for each id, from its first eight bytes; nearly always a different one."""
    return np.ascontiguousarray(ids[:, :8]).view(np.uint64).reshape(-1)


def _rows_of(person: UUID, profile_ids: Bytes, people: Codes) -> Rows:
    person_id = np.frombuffer(person.bytes, np.uint8)
    rows: Rows = np.flatnonzero(people == person_id[:8].view(np.uint64))
    same: Rows = rows[(profile_ids[rows] == person_id).all(axis=1)]
    return same
