"""What thresholds would mean, worked out for the console."""

from __future__ import annotations

import pytest

from automatch.errors.request import InputInvalidError
from automatch.model.operators import Operator
from automatch.services.matching import thresholds
from tests.support import build
from tests.support.build import one
from tests.support.operators import Desk

pytestmark = pytest.mark.anyio

ROOT = Operator.of_machine("cli:linh")


async def test_figures_tell_what_each_threshold_means_for_the_people_there_are(desk: Desk) -> None:
    with desk.conn.transaction():
        build.a_pair(desk.conn, 0.62)
    figures = await thresholds.make_figures(desk.db)

    assert (figures.pairs, figures.simulated) == (1, False)
    assert [edge for edge, share in figures.bars if share] == [0.6]
    assert sum(share for _, share in figures.bars) == 100
    loose, strict = figures.at(0.6), figures.at(0.65)
    assert loose is not None
    assert strict is not None
    assert (loose.threshold, loose.matches, loose.without_any) == (0.6, 1, 0)
    assert (strict.threshold, strict.matches, strict.without_any) == (0.65, 0, 2)


async def test_threshold_in_use_is_among_the_figures(desk: Desk) -> None:
    with desk.conn.transaction():
        build.a_pair(desk.conn, 0.62)
    await thresholds.set_threshold(desk.db, ROOT, 0.61)

    found = (await thresholds.make_figures(desk.db)).at(0.61)
    assert found is not None
    assert found.threshold == 0.61


async def test_people_of_the_demo_are_left_out_where_there_are_others(desk: Desk) -> None:
    with desk.conn.transaction():
        build.a_pair(desk.conn, 0.62)
    assert not (await thresholds.make_figures(desk.db)).left_out
    with desk.conn.transaction():
        desk.conn.execute(
            "update public.profiles set simulated = true"
            " where id = (select min(id::text)::uuid from public.profiles)"
        )

    figures = await thresholds.make_figures(desk.db)
    assert (figures.left_out, figures.simulated) == (True, False)


async def test_people_of_the_demo_count_while_there_is_nobody_else(desk: Desk) -> None:
    with desk.conn.transaction():
        build.a_pair(desk.conn, 0.62)
        desk.conn.execute("update public.profiles set simulated = true")

    assert (await thresholds.make_figures(desk.db)).simulated


async def test_without_people_there_are_no_figures(desk: Desk) -> None:
    figures = await thresholds.make_figures(desk.db)

    assert (figures.bars, figures.previews, figures.at(0.5)) == ([], [], None)


@pytest.mark.parametrize("threshold", [0, 1, float("nan")])
async def test_what_is_no_similarity_is_refused(desk: Desk, threshold: float) -> None:
    with pytest.raises(InputInvalidError):
        await thresholds.set_threshold(desk.db, ROOT, threshold)

    assert one(desk.conn, "select threshold from public.match_settings") == 0.5
