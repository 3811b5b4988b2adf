"""The model of growth: its arithmetic, its limits, and what it promises."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.growth import inputs
from benchmarks.growth.demand import demand_of, load_of
from benchmarks.growth.inputs import Assumptions, Costs
from benchmarks.growth.model import STEPS, Growth, Machine, price, with_costs
from benchmarks.growth.report import one_machine_text, sizes_text, steps_text

_NOTHING = Costs(**{each.name: 0.0 for each in fields(Costs)} | {"notifying_commits_s": 1e9})
_ASSUMED = Assumptions(
    uploads_person_day=0.1,
    peak=4,
    open_share=0.01,
    visit_minutes=10,
    pages_visit=5,
    matches_upload=20,
    photos_person=1,
    school_people=10_000,
    photo_time_cv=0.5,
    full=0.5,
    memory_full=0.5,
    process_feeds=10_000,
    log_mb_s=50,
    node_cores=16,
    node_gib=64,
)
_MACHINE = Machine(2, 24)
_PEOPLE = st.floats(100, 1e9)


def _growth(**costs: float) -> Growth:
    return Growth(replace(_NOTHING, **costs), _ASSUMED, _MACHINE)


def _as_written() -> Growth:
    costs, assumed, _ = inputs.load()
    return Growth(costs, assumed, _MACHINE)


def test_demand_is_that_of_the_busiest_moment() -> None:
    demand = demand_of(864_000, _ASSUMED)

    assert demand.uploads_day == pytest.approx(86_400)
    assert demand.uploads == pytest.approx(4)
    assert demand.feeds == pytest.approx(8_640)
    assert demand.events == pytest.approx(4 * (1 + 20 * 0.01))
    assert demand.openings == pytest.approx(14.4)
    assert demand.pages == pytest.approx(72)
    assert demand.candidates == 5_000


def test_small_place_has_one_small_school() -> None:
    assert demand_of(1_000, _ASSUMED).candidates == 500


@pytest.mark.parametrize(
    ("cost", "value", "part", "taken"),
    [
        ("server_ms_upload", 10, "server", 0.04),
        ("server_ms_event", 10, "server", 0.048),
        ("server_ms_opening", 10, "server", 0.144),
        ("server_ms_page", 10, "server", 0.72),
        ("server_us_idle", 10, "server", 0.0864),
        ("worker_ms_photo", 100, "worker", 0.4),
        ("worker_ms_1000_people", 1, "worker", 0.02),
        ("database_ms_upload", 10, "rest", 0.04),
        ("database_ms_event", 10, "rest", 0.048),
        ("database_ms_opening", 10, "rest", 0.144),
        ("database_us_idle", 10, "rest", 0.0864),
        ("database_ms_1000_people", 1, "search", 0.02),
        ("database_ms_page", 10, "pages", 0.72),
        ("server_kib_feed", 16, "feeds_gib", 8_640 * 16 / 1024**2),
        ("index_bytes_face", 500, "index_gib", 864_000 * 500 / 1024**3),
        ("wal_bytes_upload", 50_000, "log_mb_s", 0.2),
    ],
)
def test_each_cost_is_counted_once_and_in_its_unit(
    cost: str, value: float, part: str, taken: float
) -> None:
    load = load_of(demand_of(864_000, _ASSUMED), replace(_NOTHING, **{cost: value}))

    others = {each.name: getattr(load, each.name) for each in fields(load)}
    assert others.pop(part) == pytest.approx(taken)
    assert set(others.values()) == {0}


@pytest.mark.parametrize(
    ("costs", "people", "first"),
    [
        # Half of two cores, one upload of ten seconds in ten: 0.1 a day, four times at the peak.
        ({"worker_ms_photo": 1_000}, 216_000, "processors"),
        ({"server_ms_upload": 1_000}, 108_000, "the one core of a server process"),
        ({"server_mib": 0.0}, 1_000_000, "connections of a server process"),
        ({"index_bytes_face": 1024**2, "server_mib": 0.0}, 12_288, "memory"),
        ({"wal_bytes_upload": 250_000_000}, 43_200, "writing the log"),
        ({"notifying_commits_s": 1}, 108_000, "commits that notify"),
    ],
)
def test_one_machine_ends_where_its_first_limit_is(
    costs: dict[str, float], people: float, first: str
) -> None:
    carried, named = _growth(**costs).limit(0)

    assert carried == pytest.approx(people, rel=0.001)
    assert named.startswith(first)


@settings(max_examples=25)
@given(people=_PEOPLE, factor=st.floats(1.01, 100))
def test_more_people_never_need_less(people: float, factor: float) -> None:
    growth = _as_written()

    for step in range(len(STEPS)):
        few = growth.boxes(step, people)
        many = growth.boxes(step, people * factor)
        assert [box.role for box in few] == [box.role for box in many]
        for before, after in zip(few, many, strict=True):
            assert after.machines >= before.machines
            assert all(after.uses[name] >= used for name, used in before.uses.items())
    assert growth.step_for(people * factor) >= growth.step_for(people)


@settings(max_examples=25)
@given(cost=st.sampled_from([each.name for each in fields(Costs)]), factor=st.floats(1.1, 10))
def test_dearer_costs_never_carry_more(cost: str, factor: float) -> None:
    growth = _as_written()
    value = getattr(growth.costs, cost)
    # Of this one more is better.
    dearer = value / factor if cost == "notifying_commits_s" else value * factor
    changed = with_costs(growth, **{cost: dearer})

    for step in range(len(STEPS)):
        assert changed.capacity(step) <= growth.capacity(step) * 1.001


@settings(max_examples=25)
@given(cores=st.floats(1, 64), gib=st.floats(4, 512))
def test_larger_machine_carries_at_least_as_much(cores: float, gib: float) -> None:
    small = Growth(_as_written().costs, _ASSUMED, Machine(cores, gib))
    large = replace(small, machine=Machine(2 * cores, 2 * gib))

    assert large.capacity(1) >= small.capacity(1)


def test_steps_are_due_one_after_the_other() -> None:
    growth = _as_written()
    due = growth.due()

    since = [people for _, people, _ in due]
    assert due[0][0] == 0
    assert since == sorted(since)
    for step, people, why in due[1:]:
        assert growth.fits(step, people * 1.02)
        assert not growth.fits(due[due.index((step, people, why)) - 1][0], people * 1.02)
        assert why


def test_step_that_carries_no_more_is_left_out() -> None:
    growth = _growth(worker_ms_photo=1_000)

    assert "several server processes on it" not in [STEPS[step] for step, _, _ in growth.due()]


def test_hundred_million_people_are_carried_and_priced() -> None:
    growth = _as_written()
    boxes = growth.boxes(growth.step_for(1e8), 1e8)

    cores, gib = price(boxes)
    assert growth.fits(growth.step_for(1e8), 1e8)
    assert demand_of(1e8, growth.assumed).feeds == 1e6
    assert cores == sum(box.machines * box.machine.cores for box in boxes)
    assert gib >= load_of(demand_of(1e8, growth.assumed), growth.costs).index_gib


def test_machines_are_as_many_as_the_scarcest_thing_asks_for() -> None:
    # 1e7 people upload 46.3 a second in the busiest moment.
    by_cores = _growth(worker_ms_photo=1_000, server_ms_upload=1_000)
    by_memory = _growth(server_kib_feed=1024 * 10)

    roles = {box.role: box.machines for box in by_cores.boxes(3, 1e7)}
    assert roles == {"Postgres": 1, "workers": 6, "servers": 6}
    # 100,000 feeds of 10 MiB, and half of 64 GiB may be used.
    assert by_memory.boxes(3, 1e7)[1].machines == 31


def test_report_says_where_even_the_last_step_ends() -> None:
    growth = _growth(database_ms_upload=1e6)

    assert "more than the last step carries" in sizes_text(growth, [1e8])
    assert "more than the last step carries" not in sizes_text(growth, [100])


def test_report_names_what_is_used_up() -> None:
    growth = _growth(worker_ms_photo=1_000)

    assert "**220,000 people**" in one_machine_text(growth)
    assert "First used up: processors" in one_machine_text(growth)
    assert "220,000 people | processors, everything" in steps_text(growth)


@settings(max_examples=25)
@given(people=_PEOPLE, photo_ms=st.floats(1, 10_000))
def test_workers_are_as_many_as_keep_waits_short(people: float, photo_ms: float) -> None:
    growth = _growth(worker_ms_photo=photo_ms)
    people = min(people, 1e7)
    demand, mean_s = growth.photo_of(people)

    assert demand.uploads * mean_s <= growth.slots(people) * _ASSUMED.full * 1.000001
    assert growth.promised_wait_s(people) <= 4 * mean_s
