"""Which faces may belong to the exact result of a search that was made in half precision.

A cosine with an embedding in half precision is off by less than `HALF_ERROR`. So a face that
reaches the threshold reaches it in half precision too, within that error; and a face of the best n
people is at most twice the error behind the last of the best n people there. All these faces are
the candidates, which the database then ranks in full precision (`automatch.rank_candidates`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Cosines = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.intp]]
Codes = np.ndarray[Any, np.dtype[np.uint64]]

HALF_ERROR = 6e-4
"""Rounding to half precision moves each number by at most 2^-11 of it, so a cosine of unit vectors
by 4.9e-4; the sum of 512 products in float32 adds less than 4e-5."""

_FACES_PER_PERSON = 4
"""Ranking this many faces per person wanted is nearly always enough to find that many people."""


def select_candidates(cosines: Cosines, people: Codes, *, bound: float, count: int) -> Rows:
    """Return the rows of all faces that may be the best face of one of the best *count* people.

    Args:
        cosines: shape (faces,), with embeddings in half precision.
        people: shape (faces,): a number for each face's person. If two people share a number, there
            are only more candidates.
        bound: the lowest cosine of a match.
        count: how many people are wanted.
    """
    over = np.flatnonzero(cosines >= bound - HALF_ERROR)
    if len(over) <= count:
        return over
    best = cosines[over]
    last = _cosine_of_last_person(best, people[over], count)
    return over[best >= last - 2 * HALF_ERROR]


def _cosine_of_last_person(cosines: Cosines, people: Codes, count: int) -> float:
    """Return the cosine of the last of the best *count* people; -1 when there are fewer."""
    limit = _FACES_PER_PERSON * count
    while limit < len(cosines):
        best = np.argpartition(-cosines, limit)[:limit]
        last = _nth_person(cosines[best], people[best], count)
        if last is not None:
            return last
        limit *= _FACES_PER_PERSON
    last = _nth_person(cosines, people, count)
    return -1.0 if last is None else last


def _nth_person(cosines: Cosines, people: Codes, count: int) -> float | None:
    order = np.argsort(-cosines)
    # A person's first place in the order is that of the person's best face.
    _, first = np.unique(people[order], return_index=True)
    if len(first) < count:
        return None
    return float(cosines[order[np.partition(first, count - 1)[count - 1]]])
