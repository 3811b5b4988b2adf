"""How people prove that they belong to a school, and how a proof ends."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from tests.support import build
from tests.support.build import acting, one, refused

SCHOOL = "A closed school"
CODE = "K7QM-2X9D-4HTR"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def conn(conn):
    """Give a database in which tests do not open schools, with a school that asks for a proof."""
    conn.execute("alter table public.profiles disable trigger a_school_is_open")
    conn.execute("select public.add_school(%s, '{uit.edu.vn}')", [SCHOOL])
    conn.execute("select public.add_school('Another')")
    return conn


def save(conn, person, school=SCHOOL, gender="female"):
    with acting(conn, person):
        conn.execute("select public.save_profile('P', %s, %s, '2000-01-01')", [school, gender])


def an_account(conn, email, *, confirmed=True):
    person = one(conn, "select auth.create_user(%s, 'x', '{}')", email)
    conn.execute(
        "update auth.users set email_confirmed_at = %s where id = %s",
        [NOON if confirmed else None, person],
    )
    build.record_consent(conn, person, "granted")
    return person


def proof(conn, person):
    return one(conn, "select proof from automatch.memberships where profile_id = %s", person)


def admitted(conn, person):
    return one(conn, "select admitted from public.profiles where id = %s", person)


def test_confirmed_address_of_a_domain_makes_a_member_of_who_chose_the_school(conn):
    person = an_account(conn, "Linh@UIT.edu.vn")
    assert proof(conn, person) is None
    save(conn, person)

    assert (proof(conn, person), admitted(conn, person)) == ("email", True)


@pytest.mark.parametrize(
    "email", ["linh@gm.uit.edu.vn", "linh@xuit.edu.vn", "linh@uit.edu.vn.evil.org"]
)
def test_address_elsewhere_is_no_proof(conn, email):
    person = an_account(conn, email)
    save(conn, person)

    assert (proof(conn, person), admitted(conn, person)) == (None, False)


def test_address_proves_once_it_is_confirmed_and_until_it_changes(conn):
    person = an_account(conn, "linh@uit.edu.vn", confirmed=False)
    save(conn, person)
    assert not admitted(conn, person)
    conn.execute("update auth.users set email_confirmed_at = now() where id = %s", [person])
    assert proof(conn, person) == "email"

    conn.execute("update auth.users set email = 'linh@example.org' where id = %s", [person])
    assert (proof(conn, person), admitted(conn, person)) == (None, False)


def test_domain_that_comes_or_goes_makes_and_ends_members_but_not_those_with_another_proof(conn):
    people = sorted(an_account(conn, f"p{n}@gm.uit.edu.vn") for n in range(3))
    for person in people:
        save(conn, person)
    conn.execute(
        "insert into automatch.memberships (profile_id, school_id, proof)"
        " select %s, s.id, 'approval' from automatch.schools as s where s.name = %s",
        [people[0], SCHOOL],
    )

    def change(how):
        conn.execute(f"select public.change_school(%s, {how} => '{{gm.uit.edu.vn}}')", [SCHOOL])
        last = None
        while last := one(conn, "select public.refresh_school_proofs(%s, %s, 1)", SCHOOL, last):
            pass
        return [proof(conn, person) for person in people]

    assert change("p_domains") == ["approval", "email", "email"]
    assert change("p_dropped_domains") == ["approval", None, None]


def invite(conn, uses=None, life="30 days", code=CODE):
    return one(
        conn, "select public.invite_to_school(%s, %s, %s, %s, 'me')", SCHOOL, code, uses, life
    )


def join(conn, person, code=CODE):
    with acting(conn, person):
        conn.execute("select public.join_school(%s)", [code])


@pytest.mark.parametrize("typed", [CODE, "k7qm2x9d4htr", " K7QM 2X9D 4HTR "])
def test_code_makes_a_member_however_it_is_typed(conn, typed):
    invite(conn)
    person = build.a_profile(conn, school=SCHOOL)
    join(conn, person, typed)

    assert (proof(conn, person), admitted(conn, person)) == ("invitation", True)


def test_o_and_l_are_read_as_digits(conn):
    invite(conn, code="0011-AAAA-BBBB")
    join(conn, build.a_profile(conn, school=SCHOOL), "oOlI-aaaa-bbbb")


def test_code_is_kept_as_a_hash_alone(conn):
    invite(conn)
    kept = one(conn, "select to_jsonb(i)::text from automatch.school_invitations as i")

    assert CODE not in kept
    assert CODE not in one(conn, "select string_agg(a::text, ' ') from automatch.audit_log as a")


def test_code_works_as_often_as_said_and_not_twice_for_one_person(conn):
    invite(conn, uses=2)
    first, second, third = (build.a_profile(conn, school=SCHOOL) for _ in range(3))
    for person in (first, first, second):
        join(conn, person)
    assert one(conn, "select public.find_invitation(%s)", CODE) is None
    with refused("code_invalid"):
        join(conn, third)


@pytest.mark.parametrize("ended", ["mistyped", "too old", "ended", "elsewhere", "no school"])
def test_code_that_does_not_work_makes_nobody_a_member(conn, ended):
    build.set_clock(conn, NOON)
    invitation = invite(conn, life="1 day")
    school = {"elsewhere": "Another", "no school": None}.get(ended, SCHOOL)
    person = build.a_profile(conn, school=school)
    if ended == "too old":
        build.set_clock(conn, NOON + timedelta(days=1))
    if ended == "ended":
        conn.execute("select public.end_invitation(%s)", [invitation])
    with refused("code_invalid"):
        join(conn, person, "AAAA-BBBB-CCCC" if ended == "mistyped" else CODE)


def test_last_use_of_a_code_is_for_one_of_two_at_once(sessions):
    first, second = sessions.first, sessions.second
    first.execute("alter table public.profiles disable trigger a_school_is_open")
    first.execute("select public.add_school(%s)", [SCHOOL])
    invite(first, uses=1)
    people = [build.a_profile(first, school=SCHOOL) for _ in range(2)]
    first.commit()
    join(first, people[0])
    joining = sessions.submit(join, second, people[1])
    first.commit()

    with refused("code_invalid"):
        joining.result()


def ask(conn, person, message="I am in class K18."):
    with acting(conn, person):
        conn.execute("select public.request_membership(%s)", [message])


def decide(conn, person, reason=None):
    conn.execute("select public.decide_membership(%s, %s, 'me')", [person, reason])


def told(conn, person):
    with acting(conn, person):
        return conn.execute(
            "select proof, message, reason, admitted from public.get_membership()"
        ).fetchone()


def test_operator_lets_in_who_asks_and_they_are_told_by_mail(conn):
    person = an_account(conn, "linh@example.org")
    save(conn, person)
    ask(conn, person)
    waiting = conn.execute(
        "select email, school, message from public.list_membership_requests()"
    ).fetchall()
    assert waiting == [("linh@example.org", SCHOOL, "I am in class K18.")]
    decide(conn, person)

    assert told(conn, person) == ("approval", None, None, True)
    mails = conn.execute("select kind, recipient from automatch.mails").fetchall()
    assert mails == [("membership", "linh@example.org")]
    with refused("not_found"):
        decide(conn, person)


def test_who_is_refused_reads_why_and_can_ask_again(conn):
    person = an_account(conn, "linh@example.org")
    save(conn, person)
    ask(conn, person)
    decide(conn, person, "Not enrolled.")
    assert told(conn, person) == (None, "I am in class K18.", "Not enrolled.", False)
    assert one(conn, "select count(*) from public.list_membership_requests()") == 0

    ask(conn, person, "Look again.")
    assert told(conn, person) == (None, "Look again.", None, False)


@pytest.mark.parametrize("message", ["", "  ", "x" * 501, None])
def test_request_says_something_in_few_words(conn, message):
    with refused("input_invalid"):
        ask(conn, build.a_profile(conn, school=SCHOOL), message)


def test_nobody_asks_before_choosing_a_school(conn):
    with refused("profile_incomplete"):
        ask(conn, build.a_profile(conn, school=None))


def test_proof_and_request_are_of_one_school_and_end_with_a_change_to_another(conn):
    person = build.a_profile(conn, school=SCHOOL)
    invite(conn)
    join(conn, person)
    ask(conn, person)
    save(conn, person, "Another")
    assert one(conn, "select count(*) from automatch.membership_requests") == 0
    save(conn, person, SCHOOL)

    assert (proof(conn, person), admitted(conn, person)) == (None, False)


def test_who_leaves_is_found_by_nobody_and_keeps_their_photos(conn):
    person = build.a_profile(conn, school=SCHOOL)
    invite(conn)
    join(conn, person)
    face = build.a_face(conn, person, build.unit(1))
    in_index = "select count(*) from public.face_index"
    assert one(conn, in_index) == 1
    with acting(conn, person):
        conn.execute("select public.leave_school()")

    assert one(conn, in_index) == 0
    assert one(conn, "select profile_id from public.faces where id = %s", face) == person
    assert (proof(conn, person), admitted(conn, person)) == (None, False)


def test_new_member_is_searched_for_once(conn):
    (she, hers), (he, _) = build.a_pair(conn)
    conn.execute("update public.profiles set school = %s", [SCHOOL])
    conn.execute("delete from public.match_jobs")
    invite(conn)
    join(conn, he)
    conn.execute("delete from public.match_jobs")
    join(conn, she)
    join(conn, she)

    jobs = conn.execute("select face_id from public.match_jobs").fetchall()
    assert jobs == [(hers,)]
    assert build.complete(conn, *build.claim(conn)) == 1


def test_nobody_without_proof_learns_of_anybody_by_any_call_or_table(conn):
    """Everything that a signed-in person may call or read, from the running catalogue."""
    (she, hers), (he, his) = build.a_pair(conn)
    assert build.a_match(conn, hers) == 1
    match = one(conn, "select id from public.matches")
    conn.execute("update public.profiles set name = 'Seen Nowhere' where id = %s", [he])
    conn.execute("update public.profiles set school = %s", [SCHOOL])
    invite(conn)
    join(conn, he)
    job = one(conn, "select id from public.match_jobs where user_id = %s limit 1", she)
    conn.execute("delete from public.match_jobs where user_id = %s and id <> %s", [he, job])
    functions = conn.execute(
        "select p.oid::regproc::text, p.proargtypes::regtype[]::text[]"
        " from pg_proc as p where p.pronamespace = 'public'::regnamespace"
        " and has_function_privilege('authenticated', p.oid, 'execute')"
        " and exists (select from automatch.access_rules as r where r.kind = 'function'"
        "   and r.object = 'public.' || p.proname)"
    ).fetchall()
    tables = conn.execute(
        "select distinct object, privileges from automatch.access_rules"
        " where kind = 'table' and grantee = 'authenticated'"
    ).fetchall()
    assert len(functions) > 20
    assert len(tables) > 5
    seen = []
    for name, types in functions:
        for value in (job, match, his, he, uuid4()):
            arguments = [{"uuid": value, "text": SCHOOL, "boolean": True}.get(t) for t in types]
            places = ", ".join(f"%s::{t}" for t in types)
            query = f"select to_jsonb(t)::text from {name}({places}) as t"
            # Rolled back, so that each is called in the same state.
            with contextlib.suppress(psycopg.Rollback), conn.transaction() as undone:
                try:
                    with acting(conn, she):
                        told = conn.execute(query, arguments).fetchall()
                except psycopg.Error as exc:
                    told = [(str(exc),)]
                # It gives back the id of whom she was shown, for a report of them.
                if name.endswith("dismiss_match"):
                    # It gives back with whom her own match is, so that she can undo it.
                    told = [(text.replace(str(he), ""),) for (text,) in told]
                if name.endswith("find_shown_person"):
                    told = [(text.replace(str(value), ""),) for (text,) in told]
                seen += [(name, row[0] or "") for row in told]
                raise psycopg.Rollback(undone)
    for name, privileges in tables:
        columns = privileges.partition("(")[2].rstrip(")") or "*"
        with acting(conn, she):
            rows = conn.execute(
                f"select to_jsonb(t)::text from (select {columns} from {name}) as t"
            )
            seen += [(name, row[0]) for row in rows]

    for secret in (str(he), str(his), "Seen Nowhere", str(match)):
        assert not [name for name, text in seen if secret in text], secret
    for name in ("match_pool", "explain_match_job", "public.match_pool"):
        counts = [text for told, text in seen if told == name and text.startswith("{")]
        assert all('"findable": 0' in text and '"school": 0' in text for text in counts)


def confirm(conn, person):
    conn.execute("update auth.users set email_confirmed_at = now() where id = %s", [person])


def upload(conn, person):
    face = uuid4()
    path = f"{str(face)[:2]}/{face}"
    with acting(conn, person):
        conn.execute("select public.record_upload(%s, %s, repeat('a', 64))", [face, path])


@pytest.mark.parametrize("act", [join, ask, decide, confirm, upload])
def test_who_proves_something_or_uploads_waits_for_a_school_that_is_renamed(sessions, act):
    first, second = sessions.first, sessions.second
    first.execute("alter table public.profiles disable trigger a_school_is_open")
    first.execute("select public.add_school(%s, '{uit.edu.vn}')", [SCHOOL])
    person = an_account(first, "linh@uit.edu.vn", confirmed=False)
    save(first, person)
    invite(first)
    if act is decide:
        ask(first, person)
    first.commit()
    first.execute("update automatch.schools set name = 'New' where name = %s", [SCHOOL])
    going = sessions.submit(act, second, person)
    first.execute("update public.profiles set name = name where id = %s", [person])
    first.rollback()

    going.result()
