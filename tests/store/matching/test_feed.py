"""The feed as rows: pages, positions in the order of commits, and cards that move or go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.store.matching.feed import load_feed_versions
from tests.support import build
from tests.support.build import acting, connect, like, one

CENTER = build.unit(0)


@pytest.fixture
def she(conn):
    """Give a woman with a photo, and nobody yet who looks like her."""
    person = build.a_profile(conn, name="She")
    build.a_face(conn, person, CENTER)
    return person


def a_man_like_her(conn, similarity, seed=0):
    he = build.a_profile(conn, gender="male")
    return he, build.a_face(conn, he, like(CENTER, similarity, seed=seed))


def page(conn, person, columns="profile_id", before=None, after=None, limit=20):
    with acting(conn, person):
        rows = conn.execute(
            f"select {columns} from public.feed_page(%s, %s, %s)", [before, after, limit]
        ).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def position(conn, person):
    with acting(conn, person):
        return one(conn, "select public.feed_position()")


def one_photo_of(conn, person):
    return one(conn, "select id from public.faces where profile_id = %s", person)


def test_best_match_of_a_job_is_first(conn, she):
    similarities = [0.6, 0.9, 0.7]
    men = [a_man_like_her(conn, s, seed)[0] for seed, s in enumerate(similarities)]
    build.a_match(conn, one_photo_of(conn, she))

    assert page(conn, she, "position, profile_id, similarity") == [
        (3, men[1], 0.9),
        (2, men[2], 0.7),
        (1, men[0], 0.6),
    ]


def test_entry_has_the_person_and_a_rounded_similarity(conn, she):
    he, his_face = a_man_like_her(conn, 0.8321)
    build.a_match(conn, his_face)

    columns = "profile_id, name, school, face_id, own_face_id, similarity, simulated"
    assert page(conn, she, columns) == [
        (he, "Person", "UIT", his_face, one_photo_of(conn, she), 0.85, False)
    ]
    assert page(conn, he, "name, face_id, own_face_id") == [
        ("She", one_photo_of(conn, she), his_face)
    ]


@pytest.mark.parametrize(("similarity", "shown"), [(0.53, 0.55), (0.94, 0.95), (0.99, 0.95)])
def test_no_score_is_finer_than_a_step_or_above_the_top_one(conn, she, similarity, shown):
    _, his_face = a_man_like_her(conn, similarity)
    build.a_match(conn, his_face)

    assert page(conn, she, "similarity") == [shown]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_paging_back_shows_everyone_once_and_nobody_who_left(conn, she, limit):
    faces = [a_man_like_her(conn, 0.6 + n / 100, n)[1] for n in range(7)]
    build.a_match(conn, one_photo_of(conn, she))
    everyone = page(conn, she, "position")
    conn.execute("delete from public.faces where id = %s", [faces[3]])
    shown, before = [], None
    while rows := page(conn, she, "position", before=before, limit=limit):
        assert len(rows) <= limit
        shown += rows
        before = rows[-1]

    assert everyone == [7, 6, 5, 4, 3, 2, 1]
    assert shown == [7, 6, 5, 3, 2, 1]


@pytest.mark.parametrize(("limit", "rows"), [(0, 1), (-5, 1), (None, 1), (1000, 100)])
def test_page_has_between_1_and_100_rows(conn, she, limit, rows):
    conn.execute("update public.match_settings set match_count = 100")
    for n in range(100):
        a_man_like_her(conn, 0.7, n)
    build.a_match(conn, one_photo_of(conn, she))
    build.a_match(conn, a_man_like_her(conn, 0.9)[1])

    assert len(page(conn, she, limit=limit)) == rows


def test_changes_come_oldest_first_and_include_removals(conn, she):
    men = [a_man_like_her(conn, 0.6 + n / 100, n) for n in range(3)]
    build.a_match(conn, one_photo_of(conn, she))
    conn.execute("delete from public.faces where id = %s", [men[0][1]])

    assert page(conn, she, "position, profile_id, match_id is null, name", after=1) == [
        (2, men[1][0], False, "Person"),
        (3, men[2][0], False, "Person"),
        (4, men[0][0], True, None),
    ]
    assert page(conn, she, "position", after=3) == [4]
    assert page(conn, she, after=4) == []
    assert position(conn, she) == 4


def test_better_photo_moves_the_entry_up_and_a_worse_one_does_not(conn, she):
    he, _ = a_man_like_her(conn, 0.7)
    build.a_match(conn, one_photo_of(conn, he))
    other, other_face = a_man_like_her(conn, 0.65, seed=1)
    build.a_match(conn, other_face)
    better = build.a_face(conn, he, like(CENTER, 0.9))
    build.a_match(conn, better)
    assert page(conn, she, "position, profile_id, face_id, similarity")[0] == (3, he, better, 0.9)

    build.a_match(conn, build.a_face(conn, he, like(CENTER, 0.75)))
    assert page(conn, she, "position, profile_id, face_id") == [
        (3, he, better),
        (2, other, other_face),
    ]
    assert page(conn, he, "own_face_id") == [better]


def test_deleting_the_shown_photo_shows_the_next_best_and_then_none(conn, she):
    he, worst = a_man_like_her(conn, 0.6)
    photos = [worst, *(build.a_face(conn, he, like(CENTER, s)) for s in (0.9, 0.75))]
    for face in photos:
        build.a_match(conn, face)
    best_first = [photos[1], photos[2], photos[0]]
    shown = []
    for face in best_first:
        shown += page(conn, she, "face_id")
        with acting(conn, he):
            conn.execute("select public.delete_face(%s)", [face])

    assert shown == best_first
    assert page(conn, she) == page(conn, he) == []
    assert page(conn, she, "profile_id, match_id", after=0) == [(he, None)]


def test_deleting_a_photo_that_is_not_shown_moves_nothing(conn, she):
    he, shown = a_man_like_her(conn, 0.9)
    worse = build.a_face(conn, he, like(CENTER, 0.7))
    for face in (shown, worse):
        build.a_match(conn, face)
    before = position(conn, she), position(conn, he)
    with acting(conn, he):
        conn.execute("select public.delete_face(%s)", [worse])

    assert (position(conn, she), position(conn, he)) == before
    assert page(conn, she, "face_id") == [shown]


def test_dismissed_entry_is_removed_from_open_pages(conn, she):
    he, face = a_man_like_her(conn, 0.9)
    build.a_match(conn, face)
    with acting(conn, he):
        conn.execute("select public.dismiss_match((select id from public.matches))")

    for viewer, other in ((she, he), (he, she)):
        assert page(conn, viewer, "position, profile_id, match_id, name", after=1) == [
            (2, other, None, None)
        ]


def test_every_position_is_assigned_once(conn, she):
    given_out = []
    for n in range(4):
        build.a_match(conn, a_man_like_her(conn, 0.6 + n / 20, n)[1])
        given_out += page(conn, she, "position", after=n)
    for match in range(3):
        with acting(conn, she):
            conn.execute("select public.dismiss_match((select id from public.matches limit 1))")
        given_out += page(conn, she, "position", after=4 + match)

    assert given_out == list(range(1, 8))


@pytest.mark.anyio
async def test_versions_change_only_with_the_feed_and_the_jobs(database):
    async def marks():
        async with (
            Database(database.api, PoolSettings(), name="test") as db,
            db.transaction() as conn,
        ):
            return {mark.profile_id: mark for mark in await load_feed_versions(conn, [she, he])}

    with connect(database.owner, autocommit=True) as conn:
        (she, _), (he, his_face) = build.a_pair(conn)
        seen = [await marks(), await marks()]
        build.a_job(conn, his_face)
        seen.append(await marks())
        job, token = build.claim(conn)
        seen.append(await marks())
        build.complete(conn, job, token)
        seen.append(await marks())

    changes = [
        {name for name, person in (("she", she), ("he", he)) if before[person] != after[person]}
        for before, after in pairwise(seen)
    ]
    assert changes == [set(), {"he"}, {"he"}, {"she", "he"}]


WRITERS = 3


@pytest.fixture
def reader_and_writers(database):
    """Give connections for all examples: in new ones each function is compiled again."""
    with ExitStack() as stack:
        reader = stack.enter_context(connect(database.owner, autocommit=True))
        yield reader, [stack.enter_context(connect(database.owner)) for _ in range(WRITERS)]


@contextmanager
def threads_of(writers):
    """Give a thread to each; after a failure none waits for ever, and the next example begins."""
    try:
        with ThreadPoolExecutor(len(writers)) as threads:
            try:
                yield threads
            except BaseException:
                for writer in writers:
                    writer.cancel()
                raise
    finally:
        for writer in writers:
            writer.rollback()


@settings(max_examples=15)
@given(
    starts=st.permutations(range(WRITERS)),
    ends=st.permutations(range(WRITERS)),
    commits=st.lists(st.booleans(), min_size=WRITERS, max_size=WRITERS),
)
def test_reader_in_between_never_skips_whatever_order_writers_start_and_commit_in(
    reader_and_writers, starts, ends, commits
):
    """Writers of one feed begin in one order and end in another; some of them roll back.

    Whoever cannot go on waits in a thread; a reader asks for news after every step.
    """
    reader, writers = reader_and_writers
    with threads_of(writers) as threads:
        she = build.a_profile(reader)
        build.a_face(reader, she, CENTER)
        reader.execute("delete from public.match_jobs")
        jobs = []
        for n in range(WRITERS):
            he = build.a_profile(reader, gender="male", school="UIT")
            build.a_job(reader, build.a_face(reader, he, like(CENTER, 0.8, seed=n)))
            jobs.append((he, *build.claim(reader)))
        told = []
        reached = 0

        def read():
            nonlocal reached
            with reader.transaction():
                rows = page(reader, she, "position, profile_id", after=reached)
            told.extend(rows)
            reached = max([reached, *(position for position, _ in rows)])

        started = {}
        for n in starts:
            started[n] = threads.submit(build.complete, writers[n], *jobs[n][1:])
            wait_until_done_or_blocked(reader, started[n], writers[n])
            read()
        waiting = list(ends)
        while waiting:
            n = next(n for n in waiting if settled(reader, started[n], writers[n]))
            waiting.remove(n)
            started[n].result()
            if commits[n]:
                writers[n].commit()
            else:
                writers[n].rollback()
            for other in waiting:
                wait_until_done_or_blocked(reader, started[other], writers[other])
            read()
        committed = {he for (he, *_), kept in zip(jobs, commits, strict=True) if kept}
        reader.execute("delete from public.profiles")

    assert [position for position, _ in told] == list(range(1, len(committed) + 1))
    assert {he for _, he in told} == committed


def settled(watcher, future, conn):
    wait_until_done_or_blocked(watcher, future, conn)
    return future.done()


def wait_until_done_or_blocked(watcher, future, conn):
    while not future.done() and not build.is_blocked(watcher, conn):
        pass
