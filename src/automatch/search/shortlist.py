"""The rule that makes a search in half precision exact: who may be among the best, for sure.

A cosine with an embedding in half precision is off by less than `HALF_ERROR`. So whoever is over
the threshold is over it in half precision too, give or take that much; and whoever is among the
best n people is at most twice that behind the last of the best n there. All these make up the
shortlist; full precision then decides among them (`automatch.rank_shortlists`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Cosines = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.intp]]
Codes = np.ndarray[Any, np.dtype[np.uint64]]

HALF_ERROR = 6e-4
"""Rounding to half precision moves each number by 2^-11 of it at most, so a cosine of unit vectors
by 4.9e-4; the sum of 512 products in float32 adds less than 4e-5."""

_GUESS = 4
"""Of so many times as many faces as people are wanted, enough people are among the best."""


def shortlist(cosines: Cosines, people: Codes, *, bound: float, count: int) -> Rows:
    """Return the rows of all faces that may be the best of one of the best *count* people.

    Args:
        cosines: shape (faces,), with embeddings in half precision.
        people: shape (faces,): a number for each face's person. Two people with the same number
            only make the shortlist longer.
        bound: the least cosine of a match.
        count: how many people are wanted.
    """
    over = np.flatnonzero(cosines >= bound - HALF_ERROR)
    if len(over) <= count:
        return over
    of_these = cosines[over]
    last = _last_of_the_best(of_these, people[over], count)
    return over[of_these >= last - 2 * HALF_ERROR]


def _last_of_the_best(cosines: Cosines, people: Codes, count: int) -> float:
    """Return the cosine of the last of the best *count* people; -1 when there are fewer."""
    guess = _GUESS * count
    while guess < len(cosines):
        best = np.argpartition(-cosines, guess)[:guess]
        last = _nth_person(cosines[best], people[best], count)
        if last is not None:
            return last
        guess *= _GUESS
    last = _nth_person(cosines, people, count)
    return -1.0 if last is None else last


def _nth_person(cosines: Cosines, people: Codes, count: int) -> float | None:
    order = np.argsort(-cosines)
    # The first place of each person in the order is that of the person's best face.
    _, first = np.unique(people[order], return_index=True)
    if len(first) < count:
        return None
    return float(cosines[order[np.partition(first, count - 1)[count - 1]]])
