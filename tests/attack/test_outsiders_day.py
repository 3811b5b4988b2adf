"""A day of somebody who belongs to no school: whatever is asked for tells of nobody there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from fastapi.routing import iter_route_contexts
from PIL import ImageOps
from starlette.routing import Route

from automatch.app import create_app
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.vision import Embedder
from tests.support import build
from tests.support.build import acting, connect, one, refused
from tests.support.photos import astronaut, encode, hopper, portrait
from tests.support.population import add_people
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System, running_server, running_worker

pytestmark = pytest.mark.anyio

SCHOOL = "HCMUS"
NAMES = ("Canary Linh", "Canary Minh")
RELATIONS = """
    select c.oid::regclass::text, string_agg(quote_ident(a.attname), ', ')
    from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
    where c.relkind in ('r', 'p', 'v', 'm') and not a.attisdropped
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
      and has_schema_privilege('authenticated', c.relnamespace, 'usage')
      and has_column_privilege('authenticated', c.oid, a.attnum, 'select')
    group by c.oid
"""
FUNCTIONS = """
    select p.oid::regproc::text,
        array(select format_type(a.t, null)
              from unnest(p.proargtypes::oid[]) with ordinality as a (t, n) order by a.n)
    from pg_proc as p
    where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
      and p.prorettype <> 'trigger'::regtype
      and has_function_privilege('authenticated', p.oid, 'execute')
      and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
"""
ARGUMENTS = {
    "text": SCHOOL,
    "integer": 100,
    "smallint": 1,
    "bigint": 0,
    "boolean": True,
    "double precision": 0.0,
    "date": "2000-02-29",
    "jsonb": "{}",
    "interval": "1 day",
}
"""What functions are called with; ids are those of the people who must stay unseen."""


@dataclass(frozen=True)
class Campus:
    """A school that asks for a proof: two members who match, among others, and an outsider."""

    conn: psycopg.Connection
    member: Person
    outsider: Person
    ids: tuple[str, ...]
    """Of the members, their accounts, photos, jobs and match."""

    def traces(self, text: str, *, known: str = "") -> set[str]:
        """Return what *text* says of the members; not the id that was asked with."""
        sought = {*NAMES, "canary", *self.ids} - {known}
        return {trace for trace in sought if trace.lower() in text.lower()}


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection]:
    with connect(database.owner, autocommit=True) as conn:
        conn.execute("insert into automatch.schools (name) values (%s)", [SCHOOL])
        yield conn


@pytest.fixture
async def campus(system: System, conn: psycopg.Connection) -> Campus:
    with connect(system.database.owner) as other:
        add_people(other, 40, school=SCHOOL)
    linh = await system.sign_up("canary.linh@example.org")
    minh = await system.sign_up("canary.minh@example.org")
    await system.fill_in(linh, "female", school=SCHOOL, name=NAMES[0])
    await system.fill_in(minh, "male", school=SCHOOL, name=NAMES[1])
    conn.execute(
        "insert into automatch.memberships (profile_id, school_id, proof)"
        " select p.id, s.id, 'approval'"
        " from public.profiles as p join automatch.schools as s on s.name = p.school"
    )
    await linh.matched(encode(astronaut()))
    assert (await minh.matched(encode(hopper())))["match_count"] == 1
    outsider = await system.join("male", school=SCHOOL, name="Outsider")
    ids = conn.execute(
        "select p.id from public.profiles as p where p.id = any (%(people)s)"
        " union all select f.id from public.faces as f where f.profile_id = any (%(people)s)"
        " union all select j.id from public.match_jobs as j where j.user_id = any (%(people)s)"
        " union all select m.id from public.matches as m",
        {"people": [UUID(linh.id), UUID(minh.id)]},
    ).fetchall()
    return Campus(conn, minh, outsider, tuple(str(found) for (found,) in ids))


async def ask_everything(
    campus: Campus, person: Person, paths: list[str]
) -> AsyncIterator[tuple[str, set[str]]]:
    """Read every address as somebody, with the members' ids in it; yield what it told of them."""
    headers = person.headers | {"cookie": f"automatch_access={person.token}"}
    for path in paths:
        for known in campus.ids if "{" in path else ("",):
            asked = re.sub(r"{[\w:]+}", known, path)
            answer = await person.client.get(asked, headers=headers)
            told = campus.traces(answer.text, known=known)
            if answer.headers.get("content-type", "").startswith("image/") and known:
                told.add("a photo")
            yield f"GET {path}", told


def call_everything(campus: Campus, person: Person) -> Iterator[tuple[str, set[str]]]:
    """Read every table and call every function as somebody; yield what it told of the members."""
    for relation, columns in campus.conn.execute(RELATIONS).fetchall():
        statement = f"select t::text from (select {columns} from {relation}) as t"
        yield relation, campus.traces(run(campus.conn, person, statement, []))
    embedding = one(campus.conn, "select embedding::text from public.face_embeddings limit 1")
    for function, types in campus.conn.execute(FUNCTIONS).fetchall():
        for known in campus.ids if any("uuid" in each for each in types) else ("",):
            values = [
                [known] if each == "uuid[]" else known if each == "uuid" else ARGUMENTS.get(each)
                for each in types
            ]
            values = [
                embedding if "vector" in each else value
                for each, value in zip(types, values, strict=True)
            ]
            places = ", ".join(f"%s::{each}" for each in types)
            text = run(
                campus.conn, person, f"select t::text from {function}({places}) as t", values
            )
            yield function, campus.traces(text, known=known)


def run(conn: psycopg.Connection, person: Person, statement: str, values: list[Any]) -> str:
    """Return all that a statement says to somebody, its error too; nothing of it stays."""
    try:
        with conn.transaction(force_rollback=True), acting(conn, UUID(person.id)):
            return repr(conn.execute(statement.encode(), values).fetchall())
    except psycopg.Error as exc:
        return str(exc)


async def test_nobody_is_told_of_to_whoever_is_no_member(
    campus: Campus, settings: Settings, cluster: TestCluster
) -> None:
    paths = [
        route.path
        for route in (
            context.original_route
            for context in iter_route_contexts(create_app(settings, cluster.secrets).routes)
        )
        # A stream does not end; it tells what the feed tells.
        if isinstance(route, Route) and "GET" in route.methods and "stream" not in route.path
    ]
    for person, is_told in ((campus.outsider, False), (campus.member, True)):
        told = [each async for each in ask_everything(campus, person, paths)]
        told += call_everything(campus, person)

        # What is told to a member shows that the same questions can be answered.
        answered = {what for what, traces in told if traces}
        assert bool(answered) == is_told, answered
    assert {"GET /api/matches", "GET /feed", "matches", "matches_after"} <= answered, answered
    pools = [
        run(campus.conn, person, "select school, other_gender, findable from match_pool()", [])
        for person in (campus.outsider, campus.member)
    ]
    assert pools[0] == "[(0, 0, 0)]" != pools[1]


async def test_photo_of_a_member_tells_an_outsider_nothing_and_waits_for_a_member(
    campus: Campus,
) -> None:
    stolen = encode(ImageOps.mirror(astronaut()))
    members = one(campus.conn, "select count(*) from automatch.suspected_duplicates")
    job = await campus.outsider.matched(stolen)
    feed = await campus.outsider.feed()
    # As one of somebody who is not there.
    assert (job["status"], job["match_count"], job["error"], feed) == ("completed", 0, None, [])
    assert one(campus.conn, "select count(*) from automatch.suspected_duplicates") == members

    # Then he gets in.
    campus.conn.execute(
        "insert into automatch.memberships (profile_id, school_id, proof)"
        " select %s, s.id, 'approval' from automatch.schools as s where s.name = %s",
        [campus.outsider.id, SCHOOL],
    )
    page = await campus.outsider.get(f"/api/jobs/{job['id']}")

    assert page.json()["job"]["error"]["code"] == "photo_in_review"
    assert await campus.outsider.feed() == []
    assert len(await campus.member.feed()) == 1
    assert one(campus.conn, "select count(*) from automatch.suspected_duplicates") == members + 1


async def test_hundred_photos_are_five_searches(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    # Each upload is deleted again, so that there is room for the next one.
    limited = settings.model_copy(update={"limits": LimitSettings(uploads="1000/day")})
    async with running_server(limited, cluster.secrets, database) as system:
        person = await system.join()
        answers = []
        for number in range(100):
            answer = await person.upload(portrait(number))
            answers.append(answer.status_code)
            if answer.status_code == 202:
                face = answer.json()["face"]["id"]
                await person.client.delete(f"/api/faces/{face}", headers=person.headers)

    assert answers == [202] * 5 + [429] * 95


async def test_eight_changes_of_ones_own_school_search_among_nobody(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    conn: psycopg.Connection,
    embedder: Embedder,
) -> None:
    limited = settings.model_copy(update={"limits": LimitSettings()})
    async with (
        running_server(limited, cluster.secrets, database) as system,
        running_worker(limited, cluster.secrets, embedder),
    ):
        outsider = await system.join("male")
        assert (await outsider.matched(encode(astronaut())))["status"] == "completed"
        embedding = one(conn, "select embedding from public.face_embeddings")
        schools = [f"School {number}" for number in range(8)]
        for school in schools:
            await system.open_school(school)
            build.a_face(conn, build.a_profile(conn, school=school), embedding)
        answers = []
        for school in schools:
            profile = {"name": "O", "school": school, "gender": "male", "birth_date": "2000-02-29"}
            answer = await system.client.put("/api/profile", headers=outsider.headers, json=profile)
            answers.append(answer.status_code)
        # As a supabase client would call it.
        with refused("changes_used"), conn.transaction(), acting(conn, UUID(outsider.id)):
            conn.execute("select save_profile('O', %s, 'male', '2000-02-29')", [schools[3]])

        assert answers == [200] * 2 + [409] * 6
        jobs = "select count(*) from public.match_jobs where user_id = %s"
        assert one(conn, jobs, outsider.id) == 1
        assert await outsider.feed() == []
        # What settles is searched for, in one school.
        conn.execute("update automatch.settling_profiles set settles_at = now()")
        conn.execute("select public.settle_changes()")
        async with outsider.stream(after=0) as events:
            async for event in events:
                if event.kind == "match":
                    break
        assert one(conn, jobs, outsider.id) == 2
        assert len(await outsider.feed()) == 1
