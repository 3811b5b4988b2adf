"""The fit of a similarity scale: it finds what was put in, and refuses what says too little."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from automatch.cli.output.charts import histogram_lines, histogram_svg
from automatch.demo.population import ANYONE, sample_people
from automatch.errors.request import CalibrationError
from automatch.model.people import Gender
from automatch.model.similarity import ComparablePeople
from automatch.search import DLIB, SimilarityScale
from automatch.search.calibration import RATES, check_population, fit_scale, rate_at


def distances_with(scale, count, seed=0):
    """Draw distances whose tail keeps the promises of a scale to the letter."""
    parts = np.random.default_rng(seed).uniform(0, 1, count)
    levels = sorted(RATES, reverse=True)
    rates = np.log([RATES[level] for level in levels])
    steps = np.log([(1 - level) / level for level in levels])
    log_parts = np.log(parts)
    # Beyond the four known points the tail goes on as it does between the nearest two.
    slopes = np.diff(steps) / np.diff(rates)
    tail = np.interp(log_parts, rates, steps)
    tail += slopes[0] * np.minimum(log_parts - rates[0], 0)
    tail += slopes[-1] * np.maximum(log_parts - rates[-1], 0)
    return scale.midpoint + scale.width * tail


def fit(distances, halves=None, same_person_u=0.0):
    halves = np.full(len(distances), np.nan) if halves is None else halves
    return fit_scale(distances, halves, same_person_u=same_person_u)


@pytest.mark.parametrize("midpoint", [0.482, 1.1])
@pytest.mark.parametrize("width", [0.03, 0.06])
@pytest.mark.parametrize("count", [20_000, 200_000])
def test_fit_recovers_the_scale_that_the_distances_were_made_with(midpoint, width, count):
    made_with = SimilarityScale(midpoint, width)
    fitted = fit(distances_with(made_with, count)).scale

    assert fitted.midpoint == pytest.approx(midpoint, abs=0.25 * width)
    assert fitted.width == pytest.approx(width, rel=0.25)


def test_fitted_scale_keeps_the_promised_rates():
    calibration = fit(distances_with(SimilarityScale(0.9, 0.05), 200_000))

    assert calibration.rates[0.5] == pytest.approx(0.01, rel=0.01)
    for level, rate in RATES.items():
        assert calibration.rates[level] == pytest.approx(rate, rel=0.35), level


def test_one_in_a_hundred_of_other_strangers_reaches_a_half_where_gender_is_visible():
    """Women and men lie apart; the scale is fitted to some of them and holds for others."""
    women, men = (sample_people(gender, [ANYONE] * 600, seed=3) for gender in Gender)
    known = np.sqrt(np.maximum(2 - 2 * women[:300] @ men[:300].T, 0)).ravel().astype(float)
    others = np.sqrt(np.maximum(2 - 2 * women[300:] @ men[300:].T, 0)).ravel().astype(float)
    fitted = fit(known, same_person_u=0.385).scale

    assert rate_at(fitted, others, 0.5) == pytest.approx(0.01, rel=0.35)
    assert rate_at(fitted, others, 0.4) == pytest.approx(RATES[0.4], rel=0.35)


def test_people_with_two_accounts_do_not_move_the_scale():
    distances = distances_with(DLIB, 50_000)
    doubles = np.full(100, 0.2)
    clean = fit(distances[distances > 0.385], same_person_u=0.385)
    fitted = fit(np.concatenate([distances, doubles]), same_person_u=0.385)

    assert fitted.scale == clean.scale
    assert fitted.left_out == 100 + int(np.sum(distances <= 0.385))


def test_people_who_resemble_each_other_are_not_taken_for_doubles():
    fitted = fit(distances_with(SimilarityScale(0.3, 0.02), 50_000), same_person_u=0.385)

    assert fitted.left_out == 0
    assert fitted.scale.midpoint == pytest.approx(0.3, abs=0.005)


def test_halves_tell_how_well_two_halves_of_the_people_agree():
    near, far = distances_with(SimilarityScale(0.5, 0.03), 20_000), np.full(20_000, 0.9)
    fitted = fit(np.concatenate([near, far]), np.repeat([0.0, 1.0], 20_000))

    assert fitted.halves == (pytest.approx(0.02, rel=0.01), 0.0)
    assert fit(near).halves is None


@pytest.mark.parametrize(
    "distances", [np.zeros(0), np.linspace(0.4, 0.9, 4_999), np.full(10_000, 0.6)]
)
def test_what_says_too_little_is_refused(distances):
    with pytest.raises(CalibrationError):
        fit(distances)


@pytest.mark.parametrize(
    ("women", "men", "pairs", "enough"),
    [
        (100, 100, 10_000, True),
        (50, 150, 7_500, True),
        (99, 100, 9_900, False),
        (49, 500, 24_500, False),
        (500, 500, 4_999, False),
    ],
)
def test_population_has_to_be_large_enough(women, men, pairs, enough):
    people = ComparablePeople(women=women, men=men, schools=1, pairs=pairs)
    if enough:
        check_population(people)
        return
    with pytest.raises(CalibrationError, match=f"{women} women and {men} men"):
        check_population(people)


def test_histogram_counts_every_pair_and_shows_even_a_few():
    distances = distances_with(DLIB, 10_000)
    lines = histogram_lines(distances, DLIB)
    counts = [int(found[1]) for line in lines if (found := re.search(r" (\d+)  \S", line))]

    assert sum(counts) == 10_000
    assert min(counts) >= 1
    assert max(len(line) for line in lines) < 80


def test_plot_is_a_document_with_a_mark_for_every_rate():
    distances = distances_with(DLIB, 10_000)
    svg = histogram_svg(distances, DLIB, fit(distances).rates, "<a> & b")
    root = ElementTree.fromstring(svg)
    texts = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]

    assert texts[0] == "<a> & b"
    assert any(text.startswith("0.5: 1.0") for text in texts)
    assert sum(text.endswith("%") for text in texts) == len(RATES)
    assert "style=" not in svg
