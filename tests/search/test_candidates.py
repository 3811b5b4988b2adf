"""Whoever belongs to the exact answer is among the candidates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automatch.search.candidates import HALF_ERROR, select_candidates


def unit_vectors(rng, shape):
    vectors = rng.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def around(rng, query, cosines):
    """Return unit vectors of these cosines to *query*."""
    away = rng.standard_normal((len(cosines), len(query)))
    away -= (away @ query)[:, None] * query
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    cosines = np.asarray(cosines)[:, None]
    return (cosines * query + np.sqrt(1 - cosines**2) * away).astype(np.float32)


def exact_answer(faces, query, people, bound, count):
    """Return the best face of each of the best people, in float64."""
    cosines = faces.astype(np.float64) @ query.astype(np.float64)
    best = {}
    for row in np.argsort(-cosines):
        if cosines[row] >= bound:
            best.setdefault(people[row], row)
    return set(list(best.values())[:count])


@settings(max_examples=300)
@given(
    seed=st.integers(0, 2**31),
    dimensions=st.sampled_from([128, 512]),
    faces=st.sampled_from([0, 1, 19, 20, 21, 400]),
    people=st.sampled_from([1, 15, 10_000]),
    shape=st.sampled_from(["spread", "near ties", "at the bound", "duplicates"]),
    count=st.sampled_from([1, 20]),
)
def test_whoever_belongs_to_the_answer_is_among_the_candidates(
    seed, dimensions, faces, people, shape, count
):
    rng = np.random.default_rng(seed)
    query = unit_vectors(rng, dimensions)
    bound = 0.8
    cosines = {
        "spread": rng.uniform(-0.2, 0.99, faces),
        "near ties": 0.9 + rng.uniform(0, 4e-4, faces),
        "at the bound": bound + rng.uniform(-2e-4, 2e-4, faces),
        "duplicates": np.full(faces, 0.9),
    }[shape]
    vectors = around(rng, query, cosines)
    codes = rng.integers(0, people, faces).astype(np.uint64)
    halves = vectors.astype(np.float16).astype(np.float32)

    rows = select_candidates(halves @ query, codes, bound=bound, count=count)
    assert exact_answer(vectors, query, codes, bound, count) <= set(rows)


@pytest.mark.parametrize("dimensions", [128, 512, 2000])
def test_half_precision_is_never_off_by_more_than_the_rule_says(dimensions):
    rng = np.random.default_rng(dimensions)
    # Numbers half way between two of half precision, all rounded the same way: the worst there is.
    grid = np.float16(rng.uniform(0.5, 1, dimensions) / np.sqrt(dimensions))
    between = (grid.astype(np.float64) + np.nextafter(grid, np.float16(1)).astype(np.float64)) / 2
    vector = between / np.linalg.norm(between)
    off = vector - vector.astype(np.float16).astype(np.float64)
    worst_query = off / np.linalg.norm(off)

    assert off @ worst_query < HALF_ERROR - 1e-4
    assert np.abs(off) @ vector < HALF_ERROR - 1e-4


def test_list_is_short_when_nothing_is_close():
    cosines = np.linspace(0.99, 0.5, 400, dtype=np.float32)
    rows = select_candidates(cosines, np.arange(400, dtype=np.uint64), bound=0.5, count=20)

    assert list(rows) == list(range(20))


def test_cloud_of_near_ties_is_on_the_list_as_a_whole():
    cosines = np.full(5000, 0.9, np.float32) + np.linspace(0, HALF_ERROR, 5000, dtype=np.float32)
    rows = select_candidates(cosines, np.arange(5000, dtype=np.uint64), bound=0.5, count=20)

    assert len(rows) == 5000


def test_photos_of_one_person_leave_room_for_the_others():
    cosines = np.concatenate([np.full(300, 0.99), np.linspace(0.9, 0.6, 60)]).astype(np.float32)
    people = np.concatenate([np.zeros(300), np.arange(1, 61)]).astype(np.uint64)
    rows = select_candidates(cosines, people, bound=0.5, count=20)

    assert set(people[rows]) >= set(range(20))
