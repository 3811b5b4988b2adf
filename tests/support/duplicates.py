"""Accounts of one person, and looking for them as the worker does."""

from __future__ import annotations

from tests.support import build
from tests.support.build import at_cosine

LOOK = "select checked, flagged from public.detect_duplicates(%s)"
FAR, NEAR = 0.385, 0.32
"""The bounds of the default model: of opposite gender, and of one gender."""


def apart(center, u, *, seed=0):
    """Return a unit vector at that distance from *center*."""
    return at_cosine(center, 1 - u**2 / 2, seed=seed)


def a_person(conn, embedding, gender="female", **values):
    person = build.a_profile(conn, gender=gender, **values)
    build.a_face(conn, person, embedding)
    return person


def look(conn, most=100):
    return conn.execute(LOOK, [most]).fetchone()


def pairs(conn):
    """Return {pair of people: (u, state)}."""
    found = conn.execute(
        "select profile_a_id, profile_b_id, u, state from automatch.suspected_duplicates"
    ).fetchall()
    return {frozenset((a, b)): (u, state) for a, b, u, state in found}
