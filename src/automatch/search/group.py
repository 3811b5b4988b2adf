"""A group's faces in memory, kept true to the database.

A copy is never trusted for its age: before each use the group is looked at again. The faces that
came since are few and come along with that look; the others are counted, and when their number is
not that of the copy, somebody left and the copy is read anew. See `public.read_search_group`.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from automatch.search.shortlist import Codes, Rows, shortlist
from automatch.store.search import Bytes, GroupDelta, GroupFaces, SearchRequest

_RECENT = 256
"""So many faces are read again each time before they are taken into the copy, which is then moved
in memory as a whole."""

_NOWHERE = -2
"""A cosine below any bound."""


class Group:
    """The people of one school and gender."""

    def __init__(self) -> None:
        self._known: GroupFaces | None = None
        self._recent: GroupFaces | None = None
        self.horizon: str | None = None
        """What the next look names; None when everything has to be read."""

    @property
    def bytes(self) -> int:
        """Memory that the copy takes."""
        return 0 if self._known is None else self._known.embeddings.nbytes

    def take(self, news: GroupDelta) -> bool:
        """Bring the copy up to date; False when somebody left, and all has to be read again."""
        if self._known is None:
            self._keep(news.faces, news.horizon)
        elif news.known != len(self._known):
            self._known = self._recent = self.horizon = None
            return False
        elif len(news.faces) > _RECENT:
            self._keep(self._known.followed_by(news.faces), news.horizon)
        else:
            self._recent = news.faces
        return True

    def shortlists(self, wanted: Sequence[SearchRequest]) -> list[Bytes]:
        """Return for each job the ids of the faces that may answer it, shape (faces, 16)."""
        # The large part is not moved in memory for the sake of the small one.
        parts = [part for part in (self._known, self._recent) if part is not None and len(part)]
        if not parts:
            return [np.empty((0, 16), np.uint8) for _ in wanted]
        queries = np.stack([one.embedding for one in wanted])
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        cosines = np.hstack([queries @ part.embeddings.T for part in parts])
        face_ids = np.concatenate([part.face_ids for part in parts])
        profile_ids = np.concatenate([part.profile_ids for part in parts])
        people = _codes(profile_ids)
        lists = []
        for own, one in zip(cosines, wanted, strict=True):
            for person in one.hidden:
                own[_rows_of(person, profile_ids, people)] = _NOWHERE
            rows = shortlist(own, people, bound=one.bound, count=one.match_count)
            lists.append(face_ids[rows])
        return lists

    def _keep(self, faces: GroupFaces, horizon: str) -> None:
        # What is not settled below the new horizon comes along with the next look again.
        self._known = faces.where(faces.settled)
        self._recent = faces.where(~faces.settled)
        self.horizon = horizon


def _codes(ids: Bytes) -> Codes:
    """Return a number for each id, from its first eight bytes; nearly always another one."""
    return np.ascontiguousarray(ids[:, :8]).view(np.uint64).reshape(-1)


def _rows_of(person: UUID, profile_ids: Bytes, people: Codes) -> Rows:
    whole = np.frombuffer(person.bytes, np.uint8)
    rows: Rows = np.flatnonzero(people == whole[:8].view(np.uint64))
    found: Rows = rows[(profile_ids[rows] == whole).all(axis=1)]
    return found
