"""Which rows a person sees, and what they may do with those of others."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.support import build
from tests.support.build import acting, one


def rows(conn, query, *parameters):
    return conn.execute(query, parameters).fetchall()


@pytest.fixture
def matched(conn):
    """Give (profile, face) of a woman, a man she is matched with, and a woman nobody is."""
    she, he = build.a_pair(conn)
    build.a_match(conn, she[1])
    stranger = build.a_profile(conn)
    face = build.a_face(conn, stranger, build.unit(99))
    build.a_match(conn, face)
    return she, he, (stranger, face)


def test_service_role_needs_no_further_right_to_change_rows(conn, matched):
    changeable = rows(
        conn,
        "select r.object, string_agg(format('%%1$I = %%1$I', a.attname), ', ')"
        " from automatch.access_rules as r"
        " join pg_attribute as a on a.attrelid = r.object::regclass and a.attnum > 0"
        " and a.attidentity = '' and a.attgenerated = '' and not a.attisdropped"
        " where r.kind = 'table' and r.grantee = 'service_role' and r.privileges ~ 'update'"
        " group by r.object order by r.object",
    )
    conn.execute("set role service_role")

    changed = {
        table for table, same in changeable if conn.execute(f"update {table} set {same}").rowcount
    }
    assert changed >= {"public.face_embeddings", "public.match_jobs", "public.profiles"}


def test_person_sees_own_rows_and_nobody_elses(conn, matched):
    (she, her_face), (he, his_face), (stranger, _) = matched
    seen = {}
    for person in (she, he, stranger):
        with acting(conn, person):
            seen[person] = [
                rows(conn, "select id from public.profiles"),
                [face for (face,) in rows(conn, "select id from public.faces")],
                one(conn, "select count(*) from public.match_jobs"),
                one(conn, "select count(*) from public.matches"),
                rows(conn, "select distinct profile_id from public.biometric_consents"),
            ]

    assert seen[she] == [[(she,)], [her_face], 1, 1, [(she,)]]
    assert seen[he] == [[(he,)], [his_face], 0, 1, [(he,)]]
    assert seen[stranger][2:] == [1, 0, [(stranger,)]]


def test_claims_without_a_person_see_no_rows(conn, matched):
    with acting(conn):
        counts = [
            one(conn, f"select count(*) from public.{table}")
            for table in (
                *("profiles", "biometric_consents", "match_dismissals", "profile_blocks"),
                *("faces", "matches", "match_jobs"),
            )
        ]

    assert counts == [0] * 7


def test_dismissed_match_is_hidden_from_both_in_the_table_too(conn, matched):
    (she, _), (he, _), _ = matched
    with acting(conn, she):
        match = one(conn, "select id from public.matches")
        conn.execute("select public.dismiss_match(%s)", [match])
    for person in (she, he):
        with acting(conn, person):
            assert rows(conn, "select id from public.matches") == []


@pytest.mark.parametrize(
    "query",
    [
        "select embedding from public.face_embeddings",
        "select image_path from public.faces",
        "select image_sha256 from public.faces",
        "select * from public.faces",
        "select similarity from public.matches",
        "select profile_a_id from public.matches",
        "select lease_token from public.match_jobs",
        "select lease_expires_at from public.match_jobs",
        "select worker_id from public.match_jobs",
        "select chosen_box from public.faces",
        "select public.get_chosen_face(gen_random_uuid())",
        "select public.erase_unanswered_photo('0 s')",
        "select embedding from public.face_index",
        "select embedding from public.face_index_dlib_3",
        "select last_position from automatch.feed_counters",
        "select encrypted_password from auth.users",
        "select public.feed_versions('{}')",
        "select auth.find_credentials('someone@example.org')",
        "select public.claim_match_jobs(gen_random_uuid(), 1, '1 s')",
        "select match_count from public.complete_match_jobs(array[gen_random_uuid()]::uuid[],"
        " array[1]::bigint[])",
        "select public.enqueue_match_job(gen_random_uuid())",
        "select public.find_similar_faces_filtered(null, 'UIT', 'male')",
        "select automatch.find_candidates(null, 'UIT', 'male', '{}', 0, 1)",
        "select automatch.may_see(gen_random_uuid(), gen_random_uuid())",
        "select cosine from public.matches",
        "select public.sample_stranger_distances(10)",
        "select public.preview_match_thresholds('{0.5}')",
        "select public.set_match_threshold(0.1)",
        "select public.rescore_matches()",
        "select public.list_suspected_duplicates()",
        "select public.set_match_same_person(false)",
        "select u from automatch.suspected_duplicates",
        "select automatch.find_duplicate_accounts(gen_random_uuid(), 5)",
        "select automatch.enqueue_profile_searches(gen_random_uuid())",
        "update public.profiles set name = 'Other'",
        "delete from public.match_jobs",
        "insert into public.match_dismissals values (gen_random_uuid(), gen_random_uuid())",
    ],
)
@pytest.mark.parametrize("role", ["authenticated", "anon"])
def test_what_a_person_has_no_business_with_is_refused(conn, matched, role, query):
    with pytest.raises(InsufficientPrivilege), acting(conn, matched[0][0], role):
        conn.execute(query)


def test_photo_of_another_cannot_be_claimed_by_naming_its_path(conn, matched):
    (she, _), (_, his_face), _ = matched
    path = one(conn, "select image_path from public.faces where id = %s", his_face)
    with pytest.raises(psycopg.Error) as refused, acting(conn, she):
        conn.execute("select public.record_upload(gen_random_uuid(), %s, repeat('0', 64))", [path])

    assert refused.value.diag.message_hint == "input_invalid"


def test_upload_does_not_tell_that_another_has_a_photo(conn, matched):
    (she, her_face), (_, his_face), _ = matched
    refusals = set()
    for face in (his_face, her_face):
        path = f"{str(face)[:2]}/{face}"
        for named in (path, "elsewhere"):
            with pytest.raises(psycopg.Error) as refused, acting(conn, she):
                conn.execute("select public.record_upload(%s, %s, repeat('f', 64))", [face, named])
            diag = refused.value.diag
            refusals.add(
                (diag.sqlstate, diag.message_hint, diag.message_primary, diag.message_detail)
            )

    assert len(refusals) == 1


def test_photo_is_seen_by_its_owner_and_whom_the_feed_shows_it_to(conn, matched):
    (she, her_face), (he, his_face), (stranger, _) = matched
    seen = {}
    for person in (she, he, stranger):
        with acting(conn, person):
            seen[person] = [
                one(conn, "select public.viewable_photo(%s)", face) is not None
                for face in (her_face, his_face)
            ]

    assert seen == {she: [True, True], he: [True, True], stranger: [False, False]}
