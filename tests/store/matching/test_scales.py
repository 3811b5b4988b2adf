"""Scales in versions: every match is scored with the one in use, from a cosine that it keeps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automatch.search import DLIB, SimilarityScale
from tests.support import build
from tests.support.build import acting, at_cosine, like, one, refused

CENTER = build.unit(0)
MATCHES = "select cosine, similarity, scale_version from public.matches order by cosine desc"


def add_scale(conn, midpoint, width, *, model="dlib"):
    return one(
        conn,
        "select public.add_similarity_scale(%s, %s, %s, '{}', 'me')",
        *(model, midpoint, width),
    )


def rescore_all(conn, limit=500):
    counts = []
    while not counts or counts[-1]:
        counts.append(one(conn, "select public.rescore_matches(%s)", limit))
    return counts


def matched_with(conn, *similarities):
    """Write a woman who is matched with one man per similarity; return her and the men."""
    she = build.a_profile(conn)
    men = []
    for seed, similarity in enumerate(similarities):
        he = build.a_profile(conn, gender="male")
        build.a_face(conn, he, like(CENTER, similarity, seed=seed))
        men.append(he)
    assert build.a_match(conn, build.a_face(conn, she, CENTER)) == len(men)
    return she, men


def news(conn, person, after):
    with acting(conn, person):
        return conn.execute(
            "select profile_id, similarity from public.feed_page(null, %s, 100)", [after]
        ).fetchall()


def position(conn, person):
    with acting(conn, person):
        return one(conn, "select public.feed_position()")


def test_match_keeps_the_cosine_of_its_embeddings_and_the_version_of_the_scale(conn):
    she = build.a_profile(conn)
    he = build.a_profile(conn, gender="male")
    build.a_face(conn, she, CENTER)
    build.a_match(conn, build.a_face(conn, he, at_cosine(CENTER, 0.93)))
    ((cosine, similarity, version),) = conn.execute(MATCHES).fetchall()

    assert cosine == pytest.approx(0.93, abs=1e-6)
    assert similarity == pytest.approx(DLIB.similarity(cosine), abs=1e-12)
    assert version == one(conn, "select scale_version from public.embedding_models where active")


def test_match_written_without_embeddings_keeps_what_its_similarity_says(conn):
    pair = sorted(
        (build.a_face(conn, person), person)
        for person in (build.a_profile(conn), build.a_profile(conn, gender="male"))
    )
    conn.execute(
        "insert into public.matches"
        " (face_a_id, face_b_id, profile_a_id, profile_b_id, similarity)"
        " values (%s, %s, %s, %s, 0.8)",
        [pair[0][0], pair[1][0], pair[0][1], pair[1][1]],
    )
    ((cosine, similarity, _),) = conn.execute(MATCHES).fetchall()

    assert similarity == 0.8
    assert cosine == pytest.approx(DLIB.cosine_bound(0.8), abs=1e-12)


def test_match_found_with_the_old_scale_is_scored_with_the_one_in_use_when_it_is_written(conn):
    """What a worker found before the scale changed says 0.8 with the old one."""
    (_, her_face), (_, his_face) = build.a_pair(conn, 0.8)
    build.a_job(conn, her_face)
    job, token = build.claim(conn)
    found = one(conn, "select automatch.search_for_jobs(%s, %s)::text", [job], [token])
    version = add_scale(conn, 0.6, 0.05)
    conn.execute(
        "select * from automatch.complete_jobs(%s, %s, %s::automatch.found_face[], now())",
        [[job], [token], found],
    )

    ((cosine, similarity, scored_with),) = conn.execute(MATCHES).fetchall()
    assert scored_with == version
    assert similarity == pytest.approx(SimilarityScale(0.6, 0.05).similarity(cosine), abs=1e-12)
    assert str(his_face) in found


@settings(max_examples=15)
@given(
    cosines=st.lists(st.floats(0.86, 0.999), min_size=1, max_size=8),
    midpoint=st.floats(0.1, 1.5),
    width=st.floats(0.005, 0.5),
    limit=st.integers(1, 9),
)
def test_rescored_similarity_is_the_scale_of_the_cosine(conn, cosines, midpoint, width, limit):
    with conn.transaction(force_rollback=True):
        conn.execute("update public.match_settings set threshold = 0.01")
        she = build.a_profile(conn)
        for seed, cosine in enumerate(cosines):
            he = build.a_profile(conn, gender="male")
            build.a_face(conn, he, at_cosine(CENTER, cosine, seed=seed))
        build.a_match(conn, build.a_face(conn, she, CENTER))
        before = conn.execute(MATCHES).fetchall()
        version = add_scale(conn, midpoint, width)
        counts = rescore_all(conn, limit)
        after = conn.execute(MATCHES).fetchall()

    scale = SimilarityScale(midpoint, width)
    assert [row[0] for row in after] == [row[0] for row in before]
    assert {row[2] for row in after} == {version}
    assert [row[1] for row in after] == pytest.approx(
        [scale.similarity(row[0]) for row in after], abs=1e-12
    )
    assert sum(counts) == len(cosines)
    assert max(counts) <= limit


def test_going_back_gives_exactly_the_old_numbers(conn):
    matched_with(conn, 0.9, 0.7, 0.55)
    before = conn.execute(MATCHES).fetchall()
    add_scale(conn, 0.51, 0.04)
    rescore_all(conn)
    changed = conn.execute(MATCHES).fetchall()
    conn.execute("select public.use_similarity_scale(1, 'me')")
    rescore_all(conn)

    assert conn.execute(MATCHES).fetchall() == before != changed
    assert conn.execute(
        "select midpoint, width, scale_version from public.embedding_models where active"
    ).fetchone() == (DLIB.midpoint, DLIB.width, 1)


def test_scales_are_listed_with_the_one_in_use_and_what_is_scored_with_each(conn):
    matched_with(conn, 0.9, 0.7)
    version = add_scale(conn, 0.51, 0.04)
    conn.execute("select public.rescore_matches(1)")

    listed = conn.execute(
        "select version, model, midpoint, width, is_in_use, matches, actor"
        " from public.list_similarity_scales()"
    ).fetchall()
    assert listed == [
        (version, "dlib", 0.51, 0.04, True, 1, "me"),
        (1, "dlib", DLIB.midpoint, DLIB.width, False, 1, None),
    ]


def test_open_feeds_are_told_the_new_numbers_in_their_old_order(conn):
    she, men = matched_with(conn, 0.9, 0.7, 0.8, 0.9995)
    her_feed = [row[0] for row in news(conn, she, 0)]
    before = position(conn, she)
    add_scale(conn, 0.5, 0.03)
    rescore_all(conn)

    told = news(conn, she, before)
    assert [row[0] for row in told] == her_feed == [men[1], men[2], men[0], men[3]]
    # The last one stays at the top step, and on top.
    assert [row[1] for row in told] == [0.8, 0.9, 0.95, 0.95]
    assert [row[0] for row in news(conn, men[0], 1)] == [she]


def test_feed_in_which_no_number_changes_as_people_see_it_is_told_nothing(conn):
    she, men = matched_with(conn, 0.9, 0.7)
    before = [position(conn, person) for person in (she, *men)]
    add_scale(conn, DLIB.midpoint + 1e-5, DLIB.width)

    assert rescore_all(conn) == [2, 0]
    assert [position(conn, person) for person in (she, *men)] == before


def test_scale_written_by_hand_is_a_version_too(conn):
    conn.execute("update public.embedding_models set midpoint = 0.5 where id = 'dlib'")
    conn.execute("update public.embedding_models set same_person_u = 0.4 where id = 'dlib'")
    conn.execute("insert into public.embedding_models values ('other', 512, 1.2, 0.05, 0.9)")

    assert conn.execute(
        "select model, midpoint, width, is_in_use from public.list_similarity_scales()"
    ).fetchall() == [
        ("other", 1.2, 0.05, True),
        ("dlib", 0.5, DLIB.width, True),
        ("dlib", DLIB.midpoint, DLIB.width, False),
    ]


def test_scale_of_another_model_leaves_these_matches_alone(conn):
    matched_with(conn, 0.9)
    before = conn.execute(MATCHES).fetchall()
    conn.execute("insert into public.embedding_models values ('other', 128, 1.2, 0.05, 0.9)")
    add_scale(conn, 1.3, 0.1, model="other")

    assert rescore_all(conn) == [0]
    assert conn.execute(MATCHES).fetchall() == before


@pytest.mark.parametrize(
    ("midpoint", "width"), [(0.5, 0), (0.5, -1), (0, 0.03), (2.5, 0.03), ("nan", 0.03)]
)
def test_scale_that_cannot_be_is_refused(conn, midpoint, width):
    with refused("input_invalid"):
        add_scale(conn, midpoint, width)


def test_unknown_versions_and_models_are_refused(conn):
    with refused("not_found"), conn.transaction():
        add_scale(conn, 0.5, 0.03, model="nobody's")
    with refused("not_found"), conn.transaction():
        conn.execute("select public.use_similarity_scale(99)")
    conn.execute("insert into public.embedding_models values ('other', 128, 1.2, 0.05, 0.9)")
    with refused("not_found"):
        conn.execute("update public.embedding_models set scale_version = 1 where id = 'other'")


def test_every_change_of_the_scale_is_in_the_book(conn):
    version = add_scale(conn, 0.51, 0.04)
    conn.execute("select public.use_similarity_scale(1, 'me')")

    entries = conn.execute("select action, actor, details from public.list_audit_log()").fetchall()
    assert [(action, actor) for action, actor, _ in entries] == [
        ("use_scale", "me"),
        ("calibrate", "me"),
    ]
    assert entries[0][2] == {"model": "dlib", "version": 1, "before": version}
    assert entries[1][2] == {
        "model": "dlib", "version": version, "midpoint": 0.51, "width": 0.04, "fit": {},
    }  # fmt: skip


def test_change_of_the_scale_waits_for_matches_being_written_and_leaves_none_behind(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    she, _ = build.a_pair(first)
    first.commit()
    build.a_match(first, she[1])
    adding = sessions.submit(add_scale, second, 0.51, 0.04)
    first.commit()
    version = adding.result()
    second.commit()
    assert one(watcher, "select scale_version from public.matches") == 1
    rescore_all(watcher)

    assert one(watcher, "select scale_version from public.matches") == version


def test_match_written_after_a_change_of_the_scale_began_waits_for_it(sessions):
    first, second, watcher = sessions.first, sessions.second, sessions.watcher
    she, _ = build.a_pair(first)
    first.commit()
    version = add_scale(first, 0.51, 0.04)
    matching = sessions.submit(build.a_match, second, she[1])
    first.commit()
    assert matching.result() == 1
    second.commit()

    assert one(watcher, "select scale_version from public.matches") == version
