"""`automatch calibrate`: the sample of the database, and the command end to end."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import numpy as np
import psycopg
import pytest

from automatch.demo.population import ANYONE, sample_people
from automatch.model.people import Gender
from automatch.search import DLIB, SimilarityScale
from tests.support import build
from tests.support.backlog import count_reads
from tests.support.build import acting, connect, like, one
from tests.support.command import call_command
from tests.support.postgres import Database

SAMPLE = "select distance, half from public.sample_stranger_distances(%s, %s)"


def fill_school(conn, school, women, men, *, simulated=False, seed=1):
    """Write people whose gender shows in their embeddings; return those by gender."""
    embeddings = {}
    with conn.cursor() as cursor:
        for gender, count in ((Gender.FEMALE, women), (Gender.MALE, men)):
            embeddings[gender] = sample_people(gender, [ANYONE] * count, seed)
            people = [uuid4() for _ in range(count)]
            cursor.executemany(
                "insert into public.profiles (id, school, gender, birth_date, simulated)"
                " values (%s, %s, %s, '2000-02-29', %s)",
                [(person, school, gender.value, simulated) for person in people],
            )
            cursor.executemany(
                "insert into public.biometric_consents (profile_id, action, text_version)"
                " values (%s, 'granted', '2026-11')",
                [(person,) for person in people],
            )
            cursor.executemany(
                "insert into public.faces (id, profile_id, image_path, image_sha256)"
                " values (%s, %s, %s, %s)",
                [(person, person, str(person), person.hex * 2) for person in people],
            )
            cursor.executemany(
                "insert into public.face_embeddings (model, face_id, embedding)"
                " values ('dlib', %s, %s)",
                list(zip(people, embeddings[gender], strict=True)),
            )
    return embeddings[Gender.FEMALE], embeddings[Gender.MALE]


def distances_between(women, men):
    cosines = women.astype(np.float64) @ men.astype(np.float64).T
    return np.sort(np.sqrt(np.maximum(2 - 2 * cosines, 0)).ravel())


def test_sample_of_all_pairs_is_every_pair_of_opposite_gender_inside_a_school(conn):
    first = fill_school(conn, "UIT", 12, 7)
    second = fill_school(conn, "HCMUS", 3, 9, seed=2)
    fill_school(conn, "Women only", 5, 0, seed=3)
    rows = conn.execute(SAMPLE, [1000, 1]).fetchall()

    expected = np.sort([*distances_between(*first), *distances_between(*second)])
    assert np.sort([distance for distance, _ in rows]) == pytest.approx(expected, abs=1e-6)
    assert conn.execute("select * from public.count_comparable_people()").fetchone() == (
        20, 16, 3, 12 * 7 + 3 * 9,
    )  # fmt: skip


def test_sample_takes_from_each_school_its_share_and_is_the_same_for_the_same_seed(conn):
    large = fill_school(conn, "UIT", 40, 40)
    small = fill_school(conn, "HCMUS", 20, 20, seed=2)
    samples = [sorted(conn.execute(SAMPLE, [500, seed]).fetchall()) for seed in (1, 1, 2)]
    of_large = np.isin(
        np.round([distance for distance, _ in samples[0]], 5),
        np.round(distances_between(*large), 5),
    )

    assert samples[0] == samples[1] != samples[2]
    assert 400 < len(samples[0]) <= 500
    assert np.mean(of_large) == pytest.approx(0.8, abs=0.05)
    assert len(distances_between(*small)) == 400


@pytest.mark.parametrize("analyzed", ["public.face_embeddings_dlib", "public.profiles"])
def test_sample_reads_no_embedding_once_for_each_pair(database: Database, analyzed: str):
    with connect(database.owner, autocommit=True) as conn:
        with conn.transaction():
            fill_school(conn, "UIT", 30, 30)
        # As it is between two visits of autovacuum: one table has statistics, the others have none.
        conn.execute(f"analyze {analyzed}")
        with count_reads(conn, "public.face_embeddings_dlib") as read:
            assert len(conn.execute(SAMPLE, [1000, 1]).fetchall()) == 900

    assert sum(read.entries.values()) <= 2 * 60


def test_pair_has_a_half_only_if_both_people_are_in_it(conn):
    fill_school(conn, "UIT", 30, 30)
    halves = [half for _, half in conn.execute(SAMPLE, [1000, 1]).fetchall()]
    people = dict(
        conn.execute(
            "select uuid_hash(id) & 1, array[count(*) filter (where gender = 'female'),"
            " count(*) filter (where gender = 'male')] from public.profiles group by 1"
        ).fetchall()
    )

    for half, (women, men) in people.items():
        assert halves.count(half) == women * men
    assert None in halves


def test_only_people_who_can_be_found_count_and_each_once(conn):
    he, she = build.a_profile(conn, gender="male"), build.a_profile(conn)
    for seed in range(3):
        build.a_face(conn, she, build.unit(seed))
    build.a_face(conn, he, build.unit(9))
    for hidden in ({"discoverable": False}, {"profile_type": "celebrity"}):
        build.a_face(conn, build.a_profile(conn, **hidden), build.unit(5))
    build.a_face(conn, build.a_profile(conn))
    fill_school(conn, "UIT", 2, 2, simulated=True)

    assert len(conn.execute(SAMPLE, [1000, 1]).fetchall()) == 1
    assert one(conn, "select pairs from public.count_comparable_people()") == 1
    assert one(conn, "select pairs from public.count_comparable_people(true)") == 9


PREVIEW = """
    select threshold, people, looked_at, matches, median_matches, without_any
    from public.preview_match_thresholds(%s, p_people => %s)
"""


def test_preview_counts_what_searches_would_find(conn):
    center = build.unit(0)
    build.a_face(conn, build.a_profile(conn), center)
    for similarity in (0.9, 0.7, 0.45):
        he = build.a_profile(conn, gender="male")
        build.a_face(conn, he, like(center, similarity, seed=int(100 * similarity)))
        # A second photo of one person is no second match.
        build.a_face(conn, he, like(center, 0.42, seed=int(1000 * similarity)))
    build.a_face(conn, build.a_profile(conn, school="HCMUS", gender="male"), center)

    assert conn.execute(PREVIEW, [[0.4, 0.6, 0.95], 300]).fetchall() == [
        (0.4, 5, 5, pytest.approx(6 / 5), 1.0, 1),
        (0.6, 5, 5, pytest.approx(4 / 5), 1.0, 2),
        (0.95, 5, 5, 0.0, 0.0, 5),
    ]


def test_preview_samples_some_people_and_reports_all(conn):
    fill_school(conn, "UIT", 20, 20)
    ((_, people, looked_at, matches, _, without_any),) = conn.execute(
        PREVIEW, [[0.999999], 10]
    ).fetchall()

    assert (people, looked_at, matches, without_any) == (40, 10, 0.0, 40)


def test_preview_of_an_empty_database_is_empty(conn):
    assert conn.execute(PREVIEW, [[0.5], 300]).fetchall() == []


def command(database: Database, home: Path, *arguments: str):
    return call_command(home, *arguments, DATABASE_URL=database.owner)


def as_json(database: Database, home: Path, *arguments: str):
    done = command(database, home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def home(empty_home: Path, cluster) -> Path:
    """Give a data folder with the secrets that the database was migrated with."""
    empty_home.mkdir(mode=0o700)
    secrets = empty_home / "secrets.json"
    secrets.write_bytes((cluster.settings.home / "secrets.json").read_bytes())
    secrets.chmod(0o600)
    return empty_home


def test_command_fits_plots_applies_lists_and_restores(database: Database, home: Path):
    with connect(database.owner) as conn:
        women, men = fill_school(conn, "UIT", 110, 100)
        conn.commit()
        face = one(conn, "select id from public.faces limit 1")
        build.a_match(conn, face)
        before = conn.execute("select id, similarity from public.matches order by id").fetchall()
        conn.commit()
    assert before
    plot = home / "plot.svg"
    shown = command(database, home, "calibrate", "--plot", str(plot))
    assert shown.returncode == 0, shown.stderr
    assert "Nothing has changed; --apply uses this scale." in shown.stdout
    assert "110 women and 100 men" in shown.stdout
    assert plot.read_text().startswith("<svg ")

    fitted = as_json(database, home, "calibrate", "--apply")
    scale = SimilarityScale(fitted["midpoint"], fitted["width"])
    near = distances_between(women, men)
    assert np.mean(near <= scale.midpoint) == pytest.approx(0.01, abs=0.001)
    assert fitted["in_use"]["midpoint"] == DLIB.midpoint
    assert (fitted["applied"], fitted["rescored"]) == (2, len(before))
    assert [row["threshold"] for row in fitted["preview"]] == [0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8]
    with psycopg.connect(database.owner) as conn:
        after = conn.execute("select similarity, cosine from public.matches").fetchall()
        audit = conn.execute(
            "select actor, details -> 'fit' from public.list_audit_log()"
        ).fetchone()
    for similarity, cosine in after:
        assert similarity == pytest.approx(scale.similarity(cosine), abs=1e-9)
    assert audit[0].startswith("cli:")
    assert audit[1]["pairs"] == 11_000

    assert [entry["version"] for entry in as_json(database, home, "calibrate", "--list")] == [2, 1]
    assert "yes" in command(database, home, "calibrate", "--list").stdout
    assert as_json(database, home, "calibrate", "--use", "1")["rescored"] == len(before)
    with psycopg.connect(database.owner) as conn:
        again = conn.execute("select id, similarity from public.matches order by id").fetchall()
    assert again == before


def test_command_refuses_a_population_that_is_too_small(database: Database, home: Path):
    with connect(database.owner) as conn:
        fill_school(conn, "UIT", 120, 120, simulated=True)
    refused = command(database, home, "calibrate", "--apply")

    assert refused.returncode == 1
    assert "0 women and 0 men" in refused.stderr
    assert "needs 200 people" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert command(database, home, "calibrate", "--simulated").returncode == 0


@pytest.mark.parametrize("wrong", [("--apply", "--list"), ("--use", "9")])
def test_contradictory_options_change_nothing(database: Database, home: Path, wrong):
    refused = command(database, home, "calibrate", *wrong)

    assert (refused.returncode, refused.stdout) == (1, "")
    with psycopg.connect(database.owner) as conn:
        assert one(conn, "select count(*) from public.list_similarity_scales()") == 1


def test_command_shows_sets_and_previews_the_threshold(database: Database, home: Path):
    with connect(database.owner) as conn:
        she, he = build.a_pair(conn, 0.45)
        assert build.a_match(conn, she[1]) == 0
    assert "a similarity of at least 0.5." in command(database, home, "threshold").stdout

    previewed = as_json(database, home, "threshold", "0.41", "--preview")
    assert previewed["threshold"] == 0.5
    reached = {row["threshold"]: row["without_any"] for row in previewed["preview"]}
    assert (reached[0.41], reached[0.5]) == (0, 2)

    done = command(database, home, "threshold", "0.41", "--rerun")
    assert "at least 0.41. It was 0.5 before." in done.stdout
    assert "2 photos are still to be queued" in done.stdout
    with connect(database.owner) as conn:
        assert one(conn, "select public.enqueue_reruns()") == 2
        build.complete(conn, *build.claim(conn))
        with acting(conn, she[0]):
            assert one(conn, "select profile_id from public.feed_page()") == he[0]
        assert as_json(database, home, "threshold")["rerun_left"] == 2


@pytest.mark.parametrize("wrong", [("1.5",), ("0",), ("--rerun",), ("0.4", "--rerun", "--preview")])
def test_invalid_threshold_is_refused(home: Path, wrong):
    refused = call_command(home, "threshold", *wrong)

    assert (refused.returncode, refused.stdout) == (1, "")
