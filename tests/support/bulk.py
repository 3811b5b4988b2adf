"""Whole schools at once, for tests and benchmarks of sizes that triggers would take minutes for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    Array = np.ndarray[Any, np.dtype[Any]]
    Column = Array | str
    """Shape (rows, bytes) in the binary form of COPY, or one text for all rows."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def write_group(
    conn: psycopg.Connection,
    school: str,
    gender: str,
    ids: Array,
    faces: Array,
    *,
    model: str = "dlib",
) -> None:
    """Write people who can be found, one photo each; *ids* are those of person and face.

    Past the triggers: what they would do is written along. The connection has to be in
    `session_replication_role = replica`.

    Args:
        ids: shape (people, 16), bytes.
        faces: shape (people, dimensions), float32 unit vectors.
    """
    paths = [one.tobytes().hex() for one in ids]
    # A binary true.
    admitted = "\x01"
    copy_columns(
        conn,
        "public.profiles (id, school, gender, admitted)",
        [ids, school, gender, admitted],
    )
    copy_columns(
        conn,
        "public.faces (id, profile_id, image_path, image_sha256)",
        [ids, ids, as_texts(paths), as_texts([path * 2 for path in paths])],
    )
    write_embeddings(conn, school, gender, ids, faces, model=model)


def write_embeddings(
    conn: psycopg.Connection,
    school: str,
    gender: str,
    ids: Array,
    faces: Array,
    *,
    model: str,
) -> None:
    """Write what a model makes of the faces of `write_group`; see there."""
    copy_columns(
        conn,
        "public.face_embeddings (face_id, model, embedding)",
        [ids, model, as_vectors(faces, ">f4")],
    )
    copy_columns(
        conn,
        "public.face_index (model, school, gender, face_id, profile_id, embedding)",
        [model, school, gender, ids, ids, as_vectors(faces, ">f2")],
    )


def copy_columns(conn: psycopg.Connection, target: str, columns: Sequence[Column]) -> None:
    """COPY in the binary form, a column at a time: a row at a time takes Python minutes."""
    count = len(next(column for column in columns if not isinstance(column, str)))
    if not count:
        return
    parts = [_repeated(np.array([len(columns)], ">i2").view(np.uint8), count)]
    for column in columns:
        if isinstance(column, str):
            values = _repeated(np.frombuffer(column.encode(), np.uint8), count)
        else:
            values = column
        parts += [_repeated(np.array([values.shape[1]], ">i4").view(np.uint8), count), values]
    with conn.cursor().copy(f"copy {target} from stdin (format binary)") as copy:
        copy.write(_SIGNATURE)
        copy.write(np.hstack(parts).tobytes())
        copy.write(b"\xff\xff")


def as_texts(texts: Sequence[str]) -> Array:
    """Return texts of one length as a column."""
    return np.frombuffer("".join(texts).encode(), np.uint8).reshape(len(texts), -1)


def as_vectors(vectors: Array, kind: str) -> Array:
    """Return vectors as a column of pgvector's: '>f4' for vector, '>f2' for halfvec."""
    count, dimensions = vectors.shape
    head = np.array([dimensions, 0], ">i2").view(np.uint8)
    return np.hstack([_repeated(head, count), vectors.astype(kind).view(np.uint8)])


def _repeated(values: Array, count: int) -> Array:
    return np.broadcast_to(values, (count, len(values)))
