"""The search against numpy, to the last person, whatever the dimensions of the model.

All numbers that make up a cosine are small multiples of a power of two: numpy and Postgres agree on
it to the last bit, so that people exactly at the threshold, or just below it, are no matter of
rounding. In half precision, in which a group is read, all of them are rounded.
"""

from __future__ import annotations

from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import build

MIDPOINT = 1 - 3 / 128
BOUND = 1 - MIDPOINT**2 / 2
"""Least cosine at a similarity of 0.5. Exact in float32; in half precision it is rounded down."""

GRAIN = 2.0**-19
"""Cosines are multiples of it."""

BYSTANDERS = 400
"""People of other schools, or of one's own gender, whom every search has to leave alone."""

FIND = """
    select face_id, profile_id from public.find_similar_faces_filtered(
        query_embedding := %(query)s, user_school := 'UIT', user_gender := 'male',
        match_threshold := 0.5, match_count := %(count)s
    )
"""


def along(dimensions, length=1.0):
    """Return the query: of four axes the same."""
    query = np.zeros(dimensions, np.float32)
    query[:4] = 0.5 * length
    return query


def leaning(rng, cosine, dimensions):
    """Return a unit vector with exactly that cosine to the query, by four different numbers."""
    vector = rng.standard_normal(dimensions)
    first, second = (round(rng.uniform(-0.05, 0.05) / GRAIN) * GRAIN for _ in range(2))
    vector[:4] = cosine / 2 + np.array([first, -first, second, -second])
    rest = np.linalg.norm(vector[4:])
    vector[4:] *= np.sqrt(1 - vector[:4] @ vector[:4]) / rest
    return vector.astype(np.float32)


def use_model(conn, dimensions):
    conn.execute(
        "insert into public.embedding_models (id, dimensions, midpoint, width, same_person_u)"
        " values ('exact', %s, %s, 0.05, 0.1)",
        [dimensions, MIDPOINT],
    )
    conn.execute("select automatch.use_embedding_model('exact')")


@pytest.fixture(params=[128, 512])
def dimensions(conn, request):
    """Switch to a model of so many dimensions, with many people around whom nobody looks for."""
    use_model(conn, request.param)
    rng = np.random.default_rng(0)
    people = {
        uuid4(): ("UIT", "male") if number % 4 == 0 else (f"School {number % 40}", "female")
        for number in range(BYSTANDERS)
    }
    faces = {
        uuid4(): (person, leaning(rng, grained(rng.uniform(0.5, 0.9)), request.param))
        for person in people
    }
    build.write_people(conn, people, faces, model="exact")
    return request.param


def grained(cosine):
    return np.round(cosine / GRAIN) * GRAIN


def cosines_of(rng, count):
    """Return cosines on either side of the bound: spread, equal, near ties, at it, just below."""
    kinds = np.array([BOUND, BOUND - GRAIN, BOUND + GRAIN, 0.75])
    ties = 0.7 + rng.uniform(0, 1e-4, count)
    spread = rng.uniform(0.3, 0.9, count)
    kind = rng.integers(3, size=count)
    return np.choose(kind, [grained(spread), grained(ties), rng.choice(kinds, count)])


def expected(faces, people, query, count):
    """Return (face, person) as numpy finds them, in float32."""
    unit = query / np.linalg.norm(query)
    best: dict[UUID, tuple[np.float32, UUID]] = {}
    for face, (person, vector) in faces.items():
        cosine = np.float32(vector @ unit)
        assert cosine == vector[:4].astype(np.float64).sum() / 2
        if people[person] == ("UIT", "female") and cosine >= BOUND:
            # The closest photo of each; of equal ones, the first by its id.
            best[person] = min(best.get(person, (np.float32(np.inf), face)), (-cosine, face))
    ranked = sorted((*found, person) for person, found in best.items())
    return [(face, person) for _, face, person in ranked[:count]]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([0, 1, 19, 20, 21, 60]),
    faces_each=st.sampled_from([1, 3]),
    count=st.sampled_from([1, 20, 100]),
    length=st.sampled_from([1.0, 0.0009765625, 250.0]),
    leaving=st.sampled_from([0.0, 0.3]),
)
def test_search_finds_exactly_whom_numpy_finds(
    conn, dimensions, seed, size, faces_each, count, length, leaving
):
    rng = np.random.default_rng(seed)
    query = along(dimensions, length)
    people = {uuid4(): ("UIT", "female") for _ in range(size)}
    owners = [person for person in people for _ in range(int(rng.integers(1, faces_each + 1)))]
    cosines = cosines_of(rng, len(owners))
    faces = {
        uuid4(): (owner, leaning(rng, cosine, dimensions))
        for owner, cosine in zip(owners, cosines, strict=True)
    }
    # Duplicates to the last number, of other people.
    copied = list(faces.values())[: size // 4]
    for _, vector in copied:
        person = uuid4()
        people[person] = ("UIT", "female")
        faces[uuid4()] = (person, vector)
    with conn.transaction(force_rollback=True):
        build.write_people(conn, people, faces, model="exact")
        gone = [person for person in people if rng.random() < leaving]
        moved, erased = gone[: len(gone) // 2], gone[len(gone) // 2 :]
        conn.execute("update public.profiles set school = 'HCMUS' where id = any (%s)", [moved])
        conn.execute("delete from public.profiles where id = any (%s)", [erased])
        back = moved[: len(moved) // 2]
        conn.execute("update public.profiles set school = 'UIT' where id = any (%s)", [back])
        found = conn.execute(FIND, {"query": query, "count": count}).fetchall()
    for person in set(gone) - set(back):
        people[person] = ("nowhere", "female")

    assert found == expected(faces, people, query, count)


@pytest.mark.parametrize("dimensions", [128, 512])
def test_bound_of_the_models_is_a_number_that_has_no_rounding(conn, dimensions):
    use_model(conn, dimensions)

    bound = build.one(conn, "select automatch.cosine_bound(0.5, %s, 0.05)", MIDPOINT)

    assert bound == BOUND == np.float32(BOUND)
    assert float(np.float16(BOUND)) < BOUND
    assert (
        build.one(conn, "select dimensions from public.embedding_models where active") == dimensions
    )
