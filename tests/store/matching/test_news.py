"""What many people are told, read at once: what each of them reads alone, and nothing else."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from automatch.errors.auth import TokenInvalidError
from automatch.errors.store import DatabaseUnavailableError
from automatch.feed.reader import FeedReader
from automatch.model.people import Claims, Role
from automatch.settings.database import PoolSettings
from automatch.sql.statements import load
from automatch.store.database import Database
from automatch.store.matching.news import NewsQuery
from tests.support import build
from tests.support.build import acting, connect, like, one
from tests.support.kept_pools import KeptDatabase
from tests.support.postgres import Database as Address

CENTER = build.unit(3)
WOMEN = MEN = 3
NEW_MATCHES = """
    select n.number, m.id, m.face_a_id, m.face_b_id, m.created_at
    from public.matches_after(%s, 100) as n left join public.matches as m on m.id = n.match_id
    order by n.number
"""
DEEDS = {
    "block": "select public.block_profile(%(other)s)",
    "dismiss": "select public.dismiss_match((select m.id from public.matches as m limit 1))",
    "like": "select public.like_profile(%(other)s)",
    "report": "select public.report_profile(%(other)s, 'harassment')",
    "see": "select public.mark_matches_seen(array(select m.id from public.matches as m limit 1))",
    "share": "select public.save_share('Hello', '@me')",
    "unblock": "select public.unblock_profile(%(other)s)",
    "unlike": "select public.unlike_profile(%(other)s)",
    "hold": "select automatch.hold_face(f.id, 'reported') from public.faces as f"
    " where f.profile_id = %(person)s",
    "freeze": "select public.freeze_person(%(person)s, 'moderation')",
    "thaw": "select public.unfreeze_person(%(person)s)",
    "move": "update public.profiles set school = 'Elsewhere' where id = %(person)s",
    "return": "update public.profiles set school = 'UIT' where id = %(person)s",
    "pause": "update public.profiles set discoverable = not discoverable where id = %(person)s",
    "withdraw": "insert into public.biometric_consents (profile_id, action, text_version)"
    " select %(person)s, 'withdrawn', max(version) from public.consent_texts",
    "delete photo": "delete from public.faces where profile_id = %(person)s",
    "erase": "delete from public.profiles where id = %(person)s",
    "cancel": "select public.cancel_match_jobs(array(select j.id from public.match_jobs as j"
    " where j.user_id = %(person)s))",
}
BY_PERSON = {"block", "dismiss", "like", "report", "see", "share", "unblock", "unlike"}
MUTUAL_LIKE = [("share", 0, 0), ("like", 0, WOMEN), ("like", WOMEN, 0)]

pytestmark = pytest.mark.anyio


@st.composite
def deeds(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    person = st.integers(0, WOMEN + MEN - 1)
    return draw(st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), person, person), max_size=8))


@settings(max_examples=20)
@example(done=MUTUAL_LIKE, after=[0] * 6, over=set())
@example(done=[("report", 0, WOMEN), ("move", 1, 1)], after=[0] * 6, over={2})
@given(
    done=deeds(),
    after=st.lists(st.integers(0, 6), min_size=6, max_size=6),
    over=st.sets(st.integers(0, 5)),
)
def test_many_read_at_once_what_each_of_them_reads_alone(conn, done, after, over):
    with conn.transaction(force_rollback=True):
        people = a_world(conn)
        for deed, who, whom in done:
            do(conn, deed, people[who], people[whom])
        claims = [
            {"role": "authenticated", "sub": str(person)}
            # The session of some has ended.
            | ({"session_id": str(uuid4())} if index in over else {})
            for index, person in enumerate(people)
        ]
        sent = [json.dumps(each) for each in claims]
        alone = [
            None if n in over else alone_as(conn, person, after[n])
            for n, person in enumerate(people)
        ]

        assert many(conn, "read_feeds(%s::jsonb[], %s)", sent, after) == of(alone, 0)
        assert many(conn, "read_own_jobs(%s::jsonb[])", sent) == of(alone, 1)
        assert many(conn, "read_new_matches(%s::jsonb[], %s)", sent, after) == of(alone, 2)
        assert many(conn, "read_feed_positions(%s::jsonb[])", sent) == of(alone, 3)
        assert many(conn, "read_unseen_matches(%s::jsonb[])", sent) == of(alone, 4)
        assert many(conn, "read_own_cases(%s::jsonb[])", sent) == of(alone, 5)
        assert many(conn, "read_memberships(%s::jsonb[])", sent) == of(alone, 6)
        assert many(conn, "read_match_pools(%s::jsonb[])", sent) == of(alone, 7)
        # Nothing of the last of them is left behind.
        assert conn.execute("select current_user = session_user").fetchone() == (True,)


def a_world(conn: psycopg.Connection) -> list[UUID]:
    people = [build.a_profile(conn) for _ in range(WOMEN)]
    people += [build.a_profile(conn, gender="male") for _ in range(MEN)]
    for seed, person in enumerate(people):
        build.a_match(conn, build.a_face(conn, person, like(CENTER, 0.99, seed=seed)))
    return people


def do(conn: psycopg.Connection, deed: str, person: UUID, other: UUID) -> None:
    statement, names = DEEDS[deed], {"person": person, "other": other}
    try:
        with conn.transaction():
            if deed in BY_PERSON:
                with acting(conn, person):
                    conn.execute(statement, names)
            else:
                conn.execute(statement, names)
    except psycopg.Error as error:
        # Refused in this world, as blocking oneself is.
        if error.sqlstate != "AM001":
            raise


def alone_as(conn: psycopg.Connection, person: UUID, after: int) -> list[list[tuple]]:
    with acting(conn, person):
        return [
            conn.execute(
                "select * from public.feed_page(p_after => %s, p_limit => 100)", [after]
            ).fetchall(),
            conn.execute(load("jobs")["list"], {"limit": 20}).fetchall(),
            conn.execute(NEW_MATCHES, [after]).fetchall(),
            conn.execute("select public.feed_position()").fetchall(),
            conn.execute("select public.list_new_matches()").fetchall(),
            conn.execute("select * from public.list_own_cases()").fetchall(),
            conn.execute("select * from public.get_membership()").fetchall(),
            conn.execute("select * from public.match_pool()").fetchall(),
        ]


def many(conn: psycopg.Connection, call: str, *arguments: object) -> list[tuple]:
    return conn.execute(f"select * from public.{call}", arguments).fetchall()


def of(alone: list[list[list[tuple]] | None], part: int) -> list[tuple]:
    return [
        (number, *row)
        for number, parts in enumerate(alone, start=1)
        if parts is not None
        for row in parts[part]
    ]


def test_two_of_these_people_like_each_other(conn):
    people = a_world(conn)
    for deed, who, whom in MUTUAL_LIKE:
        do(conn, deed, people[who], people[whom])

    entries = many(
        conn,
        "read_feeds(%s::jsonb[], '{0}')",
        [json.dumps({"role": "authenticated", "sub": str(people[WOMEN])})],
    )

    assert "@me" in [value for entry in entries for value in entry]


def test_one_of_these_people_reports_another(conn):
    people = a_world(conn)
    do(conn, "report", people[WOMEN], people[0])
    claims = [json.dumps({"role": "authenticated", "sub": str(person)}) for person in people]

    assert [reader for reader, *_ in many(conn, "read_own_cases(%s::jsonb[])", claims)] == [
        WOMEN + 1
    ]
    assert [reader for reader, *_ in many(conn, "read_memberships(%s::jsonb[])", claims)] == [
        *range(1, WOMEN + MEN + 1)
    ]
    assert len(many(conn, "read_match_pools(%s::jsonb[])", claims)) == WOMEN + MEN


def test_only_people_are_read_for(conn):
    people = a_world(conn)
    for role in ("service_role", "anon", "automatch_worker", None):
        claims = json.dumps({"role": role, "sub": str(people[0])})
        for call in ("read_feeds(%s::jsonb[], '{0}')", "read_own_jobs(%s::jsonb[])"):
            assert many(conn, call, [claims]) == []


@pytest.fixture
def pair(database: Address) -> tuple[UUID, UUID]:
    """Give two people who are in each other's feed."""
    with connect(database.owner, autocommit=True) as conn:
        (she, her_face), (he, _) = build.a_pair(conn)
        build.a_match(conn, her_face)
        return she, he


async def test_questions_of_many_are_one_transaction(database: Address, pair, monkeypatch) -> None:
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        reader = FeedReader(db)
        begun = 0
        begin = db.pipelined_transaction

        def counted():
            nonlocal begun
            begun += 1
            return begin()

        monkeypatch.setattr(db, "pipelined_transaction", counted)
        queries = [
            NewsQuery(
                Claims(Role.AUTHENTICATED, subject=person),
                feed_after=0,
                jobs=True,
                participation=True,
                pool=True,
            )
            for person in pair * 20
        ]
        found = await asyncio.gather(*map(reader.read, queries))
        await reader.close()

    assert begun == 1
    assert [[entry.profile_id for entry in news.entries] for news in found] == [
        [other] for other in reversed(pair * 20)
    ]
    assert {(len(news.memberships), len(news.pools), len(news.cases)) for news in found} == {
        (1, 1, 0)
    }


async def test_error_of_one_is_not_the_others(database: Address, pair) -> None:
    she, he = pair
    ended = Claims(Role.AUTHENTICATED, subject=she, session_id=uuid4())
    broken = NewsQuery(Claims(Role.AUTHENTICATED, subject=he), feed_after=2**80)
    fine = NewsQuery(Claims(Role.AUTHENTICATED, subject=he), feed_after=0)
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        reader = FeedReader(db)
        of_ended, of_broken, of_fine = await asyncio.gather(
            *map(reader.read, [NewsQuery(ended, jobs=True), broken, fine]), return_exceptions=True
        )
        await reader.close()

    assert isinstance(of_ended, TokenInvalidError)
    assert isinstance(of_broken, Exception)
    assert [entry.profile_id for entry in of_fine.entries] == [she]


async def test_database_that_is_away_is_told_to_all_who_ask(database: Address, pair) -> None:
    reader = FeedReader(Database(database.api, PoolSettings(), name="never opened"))

    with pytest.raises(DatabaseUnavailableError):
        await reader.read(NewsQuery(Claims(Role.AUTHENTICATED, subject=pair[0]), jobs=True))


def test_sessions_of_many_have_ended_where_each_of_them_has(conn):
    person, other = (
        one(
            conn,
            "insert into auth.users (email, encrypted_password) values (%s, '!') returning id",
            f"{uuid4()}@example.org",
        )
        for _ in range(2)
    )
    session = one(conn, "insert into auth.sessions (user_id) values (%s) returning id", person)
    asked = [
        (at, who, external)
        for at in (session, uuid4(), None)
        for who in (person, other)
        for external in (False, True)
    ]
    ended = {
        number
        for number, (at, who, external) in enumerate(asked, start=1)
        if not one(
            conn,
            "select public.is_session_live(%s::jsonb)",
            json.dumps(
                {"sub": str(who), "external": external} | ({"session_id": str(at)} if at else {})
            ),
        )
    }

    found = conn.execute(
        "select * from public.list_ended_sessions(%s, %s, %s)",
        [*map(list, zip(*asked, strict=True))],
    ).fetchall()

    assert {number for (number,) in found} == ended
    assert 0 < len(ended) < len(asked)
