"""The searches that are compared, each as a function from a question to the rows it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import faiss
import numpy as np
import psycopg

from benchmarks.search.data import THRESHOLD_COSINE, Floats, School

COUNT = 20

_GUIDE = """
    select f.id
    from guide.faces as f
    join guide.profiles as p on p.id = f.profile_id
    where p.school = %(school)s and p.gender = 'female' and p.profile_type = 'user'
      and 1 - (f.embedding <=> %(query)s) >= %(threshold)s
    order by f.embedding <=> %(query)s
    limit %(count)s
"""
_OURS = """
    select face_id from public.find_similar_faces_filtered(
        query_embedding := %(query)s, user_school := %(school)s, user_gender := 'male'
    )
"""


@dataclass(frozen=True)
class Contender:
    """A search in the database."""

    name: str
    statement: str
    settings: dict[str, str]

    def prepare(self, conn: psycopg.Connection) -> None:
        conn.execute("reset all")
        conn.execute("set search_path = public, extensions")
        conn.execute("set jit = off")
        for name, value in self.settings.items():
            conn.execute(f"set {name} = {value}")

    def search(self, conn: psycopg.Connection, school: str, query: Floats) -> list[UUID]:
        rows = conn.execute(
            self.statement,
            {"school": school, "query": query, "threshold": THRESHOLD_COSINE, "count": COUNT},
        ).fetchall()
        return [face for (face,) in rows]


GUIDE = "guide's design, ef_search 40"
OURS = "Auto-Match"
CONTENDERS = [
    Contender(GUIDE, _GUIDE, {"hnsw.ef_search": "40"}),
    Contender("guide's design, ef_search 100", _GUIDE, {"hnsw.ef_search": "100"}),
    Contender(
        "the same, iterative scan",
        _GUIDE,
        {"hnsw.ef_search": "40", "hnsw.iterative_scan": "relaxed_order"},
    ),
    Contender(OURS, _OURS, {}),
]


class Flat:
    """faiss, everything in memory and nothing else to do: as quick as an exact search can be."""

    name = "faiss flat, in memory"

    def __init__(self, school: School) -> None:
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexFlatIP(school.faces.shape[1])
        self._index.add(school.candidates)

    def search(self, queries: Floats) -> list[list[int]]:
        cosines, rows = self._index.search(queries, COUNT)
        return [
            [int(row) for row in own[over >= THRESHOLD_COSINE] if row >= 0]
            for own, over in zip(rows, cosines, strict=True)
        ]


def rows_of(school: School) -> Callable[[Sequence[UUID]], list[int]]:
    """Return what turns ids of faces into rows of the school; -1 for a face of elsewhere."""
    numbers = {one.tobytes(): row for row, one in enumerate(np.asarray(school.ids))}
    return lambda faces: [numbers.get(face.bytes, -1) for face in faces]


def sizes(conn: psycopg.Connection) -> dict[str, Any]:
    """Return what each design takes on disk, in bytes."""
    return dict(
        conn.execute(
            """
            select 'HNSW over all faces', pg_relation_size('guide.faces_embedding_hnsw_idx')
            union all
            select 'search copy', sum(pg_relation_size(c.oid))::bigint
            from pg_class as c where c.relname ~ '^face_index_.*_[0-9]+$'
            union all
            select 'its primary key', sum(pg_relation_size(c.oid))::bigint
            from pg_class as c where c.relname ~ '^face_index_.*_[0-9]+_pkey$'
            """
        ).fetchall()
    )
