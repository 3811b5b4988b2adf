"""A change of the model as workers and the operator make it, in SQL alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from automatch.search import DLIB
from tests.support.build import one, unit

if TYPE_CHECKING:
    from tests.support.build import Vector

LONG = 512


def begin(
    conn: psycopg.Connection,
    model: str = "long",
    dimensions: int = LONG,
    *,
    midpoint: float = DLIB.midpoint,
    width: float = DLIB.width,
) -> int:
    """Begin a change to a model of as many numbers, with dlib's scale unless told otherwise."""
    return one(
        conn,
        "select public.begin_model_change(%s, %s, %s, %s, 0.2, null, 'test')",
        *(model, dimensions, midpoint, width),
    )


def take(
    conn: psycopg.Connection,
    limit: int = 100,
    *,
    model: str = "long",
    lease_s: float = 60,
    anyway: bool = False,
) -> list[UUID]:
    """Take photos as a worker does; the ids of their faces."""
    rows = conn.execute(
        "select face_id from public.take_faces_to_embed(%s, %s, make_interval(secs => %s), %s)",
        [model, limit, lease_s, anyway],
    ).fetchall()
    return [row[0] for row in rows]


def keep(conn: psycopg.Connection, seen: Mapping[UUID, Vector], model: str = "long") -> int:
    """Keep embeddings of the new model; how many were."""
    return one(
        conn,
        "select public.store_prepared_embeddings(%s, %s, %s, %s)",
        *(model, list(seen), list(seen.values()), ["{}"] * len(seen)),
    )


def see_all(
    conn: psycopg.Connection,
    vectors: Mapping[UUID, Vector] | None = None,
    *,
    model: str = "long",
    dimensions: int = LONG,
) -> set[UUID]:
    """See everything that is to be seen; strangers where *vectors* says nothing else."""
    seen: set[UUID] = set()
    # The list of photos is made window by window, and the look after the last one finds nothing.
    for _ in range(50):
        taken = take(conn, model=model, anyway=True)
        if taken:
            keep(
                conn,
                {
                    face: (vectors or {}).get(face, unit(face.int % 2**32, dimensions))
                    for face in taken
                },
                model,
            )
            seen.update(taken)
        elif is_ready(conn):
            break
    return seen


def is_ready(conn: psycopg.Connection) -> bool:
    return bool(one(conn, "select is_ready from public.get_model_change()"))


def finish(conn: psycopg.Connection) -> int:
    return one(conn, "select public.finish_model_change('test')")


def roll_back(conn: psycopg.Connection) -> int:
    return one(conn, "select public.roll_back_model_change('test')")


def retire(conn: psycopg.Connection) -> str:
    return one(conn, "select public.retire_model_change('test')")


def follow(conn: psycopg.Connection) -> None:
    """Let the matches follow the model, as workers do."""
    for function in ("rescore_matches_for_model", "delete_unrescored_matches"):
        while one(conn, f"select public.{function}()"):
            pass
