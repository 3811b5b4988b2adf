from __future__ import annotations

from datetime import date
from importlib.resources import files

import numpy as np
import pytest

from automatch.demo.people import simulated_people
from automatch.demo.population import ANYONE, TRAITS, sample_people
from automatch.demo.portraits import read_looks
from automatch.model.people import Gender


def test_the_same_seed_gives_the_same_people() -> None:
    first = simulated_people("UIT", 20, seed=3)
    second = simulated_people("UIT", 20, seed=3)

    assert [(p.id, p.name, p.gender, p.birth_date) for p in first] == [
        (p.id, p.name, p.gender, p.birth_date) for p in second
    ]
    assert all((a.embedding == b.embedding).all() for a, b in zip(first, second, strict=True))
    assert first[0].portrait() == second[0].portrait()


def test_a_larger_school_begins_with_the_people_of_a_smaller_one() -> None:
    small = simulated_people("UIT", 7, seed=3)
    large = simulated_people("UIT", 40, seed=3)

    assert [p.id for p in small] == [p.id for p in large[:7]]
    assert all(
        np.allclose(a.embedding, b.embedding, atol=1e-6)
        for a, b in zip(small, large[:7], strict=True)
    )


@pytest.mark.parametrize(("school", "seed"), [("HUST", 3), ("UIT", 4)])
def test_another_school_or_seed_has_other_people(school: str, seed: int) -> None:
    ours = simulated_people("UIT", 10, seed=3)
    theirs = simulated_people(school, 10, seed=seed)

    assert not {p.id for p in ours} & {p.id for p in theirs}
    assert not any((a.embedding == b.embedding).all() for a, b in zip(ours, theirs, strict=True))


def test_everybody_is_an_adult_of_the_school_with_a_name() -> None:
    people = simulated_people("UIT", 500, seed=0)

    adult_on = max(p.birth_date.replace(day=1) for p in people)
    assert adult_on.replace(year=adult_on.year + 18) <= date(2026, 1, 1)
    assert {p.school for p in people} == {"UIT"}
    assert all(p.name.endswith(".") and p.name[0].isupper() for p in people)
    assert len({p.id for p in people}) == 500


def test_genders_are_balanced() -> None:
    people = simulated_people("UIT", 101, seed=0)

    men = sum(p.gender is Gender.MALE for p in people)
    assert men in {50, 51}


@pytest.mark.parametrize("gender", Gender)
def test_embeddings_are_unit_vectors_of_the_default_model(gender: Gender) -> None:
    people = sample_people(gender, [ANYONE] * 50, seed=1)

    assert people.shape == (50, 128)
    assert people.dtype == np.float32
    assert np.allclose(np.linalg.norm(people, axis=1), 1, atol=1e-6)


def test_nobody_is_sampled_for_an_empty_school() -> None:
    assert sample_people(Gender.MALE, [ANYONE] * 0, seed=1).shape == (0, 128)
    assert simulated_people("UIT", 0, seed=1) == []


def test_gender_is_visible_in_the_embeddings_as_in_real_ones() -> None:
    seen = {gender: sample_people(gender, [ANYONE] * 400, seed=1) for gender in Gender}
    axis = seen[Gender.MALE].mean(axis=0) - seen[Gender.FEMALE].mean(axis=0)
    middle = (seen[Gender.MALE].mean(axis=0) + seen[Gender.FEMALE].mean(axis=0)) / 2 @ axis

    fresh = {
        gender: sample_people(gender, [ANYONE] * 400, seed=2) @ axis > middle for gender in Gender
    }

    assert fresh[Gender.MALE].mean() > 0.9
    assert fresh[Gender.FEMALE].mean() < 0.1


@pytest.mark.parametrize("gender", Gender)
def test_simulated_people_resemble_real_people_of_their_own_gender(
    gender: Gender,
) -> None:
    with files("automatch.demo").joinpath("population.npz").open("rb") as file:
        real = dict(np.load(file))

    people = sample_people(gender, [ANYONE] * 400, seed=1)

    own, other = (
        np.linalg.norm(people.mean(axis=0) - real[each]) for each in (gender, gender.opposite)
    )
    assert own < other


def test_people_of_one_gender_differ_from_each_other() -> None:
    people = sample_people(Gender.FEMALE, [ANYONE] * 200, seed=1)

    distances = np.sqrt(np.maximum(0, 2 - 2 * people @ people.T))[np.triu_indices(200, k=1)]
    same_person = distances <= 0.385
    assert same_person.mean() < 0.15
    assert distances.min() > 0.1


@pytest.mark.parametrize("trait", TRAITS)
def test_an_embedding_goes_with_the_drawn_traits(trait: str) -> None:
    index = TRAITS.index(trait)
    few, many = (
        [*ANYONE[:index], interval, *ANYONE[index + 1 :]] for interval in ((0.0, 0.2), (0.8, 1.0))
    )
    without, having = (
        sample_people(Gender.MALE, [tuple(ranks)] * 200, seed=1) for ranks in (few, many)
    )

    probes = sample_people(Gender.FEMALE, [tuple(many)] * 200, seed=2)

    nearer = (probes @ having.T).mean() - (probes @ without.T).mean()
    assert nearer > 0.01


def test_who_is_found_first_looks_like_the_one_who_searches() -> None:
    people = simulated_people("UIT", 400, seed=1)
    men, women = (
        [person for person in people if person.gender is gender]
        for gender in (Gender.MALE, Gender.FEMALE)
    )
    ranks = {
        gender: np.array([look.ranks for look in read_looks(gender)]).mean(axis=2)
        for gender in Gender
    }
    dark = TRAITS.index("dark_skin")

    closest = np.argsort(
        -np.array([man.embedding for man in men]) @ np.array([w.embedding for w in women]).T, axis=1
    )[:, :5]

    own = [ranks[Gender.MALE][man.portrait_number, dark] for man in men]
    found = [
        np.mean([ranks[Gender.FEMALE][women[i].portrait_number, dark] for i in row])
        for row in closest
    ]
    assert np.corrcoef(own, found)[0, 1] > 0.6
