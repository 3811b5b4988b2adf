"""Who gets what from every route: all routes of the running server, asked by everybody.

The table beside this file is compared with what the server answers. A route that it does not list
fails; `UPDATE_DOCS=1` writes it anew, for a person to read what has changed.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Route

from automatch.app import create_app
from automatch.auth.tokens import Tokens
from automatch.http.declaration import Access, declaration_of
from automatch.model.operators import OperatorRole
from automatch.model.people import Role, User
from automatch.photos.make import make_photos
from automatch.photos.store import photo_path
from tests.support.build import a_face, a_match, connect, like, one, record_consent, unit
from tests.support.system import System

pytestmark = pytest.mark.anyio

_TABLE = Path(__file__).with_name("route_access.txt")
_PEOPLE = ("she", "other", *OperatorRole)
"""Whose things it is about, anybody else, and operators."""
_OUTSIDE_OF_THE_CONSOLE = ("she", "other", OperatorRole.OWNER)


@dataclass(frozen=True)
class AskedRoute:
    """One method of an address."""

    method: str
    path: str
    access: Access

    @property
    def callers(self) -> tuple[str, ...]:
        """Nobody who is signed in, those who may get different answers, and the service key.

        In the console whoever has no role is like anybody else. Outside of it the highest role
        stands for all of them.
        """
        some = ("she", *OperatorRole) if self.access is Access.CONSOLE else _OUTSIDE_OF_THE_CONSOLE
        return ("nobody", *some, "service")


def routes_of(system: System) -> list[AskedRoute]:
    app = create_app(system.settings, system.secrets)
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    return [
        AskedRoute(method, route.path, declaration.access)
        for route in routes
        if isinstance(route, Route) and (declaration := declaration_of(route)) is not None
        for method in sorted(route.methods or ())
    ]


class Cast:
    """People with sessions, and what belongs to one of them: made anew after every change."""

    def __init__(self, conn: psycopg.Connection, number: int, names: tuple[str, ...]) -> None:
        self._conn = conn
        self._number = number
        self.sessions = {name: self._join(name) for name in names}
        for role in self.sessions.keys() & set(OperatorRole):
            conn.execute(
                "insert into automatch.operators values (%s, %s)", [self.sessions[role][0], role]
            )
        she, he = self.sessions["she"][0], self._join("he", "male")[0]
        self.face_id = face = a_face(conn, she, unit(1))
        his = a_face(conn, he, like(unit(1), 0.8))
        a_match(conn, face)
        self._ids = {
            "face_id": face,
            "job_id": one(conn, "select id from public.match_jobs where face_id = %s", face),
            "match_id": one(
                conn, "select id from public.matches where %s in (face_a_id, face_b_id)", his
            ),
            "profile_id": he,
        }

    def path_of(self, route: AskedRoute) -> str:
        return re.sub(
            r"{(\w+)(:\w+)?}", lambda part: str(self._ids.get(part[1], uuid4())), route.path
        )

    def _join(self, name: str, gender: str = "female") -> tuple[UUID, UUID]:
        conn, email = self._conn, f"{name}{self._number}@example.org"
        person = one(conn, "select auth.create_user(%s, '!', '{}')", email)
        conn.execute(
            "update public.profiles set name = 'P', school = %s, gender = %s,"
            " birth_date = '2000-02-29' where id = %s",
            [f"School {self._number}", gender, person],
        )
        record_consent(conn, person, "granted")
        return person, one(conn, "select auth.start_session(%s, %s)", person, person.bytes)


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_REFUSED = re.compile(r"[^=]+nobody=(4\d\d|303/sign-in)( \w+=4\d\d)+")
"""A line that says nobody got what they asked for, so that nothing has changed."""


async def ask(system: System, route: AskedRoute, path: str, token: str | None) -> str:
    """Return the status, and where a page sends to; what a stream goes on with is not read."""
    headers = {"origin": system.url} if route.access.is_page else {}
    if token is not None and route.access.is_page:
        headers["cookie"] = f"automatch_access={token}"
    elif token is not None:
        headers["authorization"] = f"Bearer {token}"
    request = system.client.build_request(route.method, path, headers=headers)
    answer = await system.client.send(request, stream=True)
    try:
        to = answer.headers.get("location", "").partition("?")[0]
        return f"{answer.status_code}{_ID.sub('ID', to)}"
    finally:
        await answer.aclose()


async def make_cast(
    system: System, conn: psycopg.Connection, number: int, names: tuple[str, ...]
) -> Cast:
    cast = Cast(conn, number, names)
    await make_photos(system.settings).put_copies(
        photo_path(cast.face_id), full=b"photo", thumb=b"face"
    )
    return cast


async def ask_everybody(system: System, route: AskedRoute, cast: Cast) -> str:
    """Return the line of the table for a route."""
    path, tokens = cast.path_of(route), Tokens(system.secrets.jwt_secret, system.settings.auth)
    given: dict[str, str | None] = {"nobody": None, "service": tokens.issue_key(Role.SERVICE)}
    for name, (person, session) in cast.sessions.items():
        user = User(person, f"{name}@example.org", {}, {}, datetime.now(UTC), None)
        given[name] = tokens.issue(user, session)
    others = [name for name in route.callers if name != "she"]
    told = await asyncio.gather(*(ask(system, route, path, given[name]) for name in others))
    answers = dict(zip(others, told, strict=True))
    # Whose things they are comes last: she may delete them.
    answers["she"] = await ask(system, route, path, given["she"])
    line = " ".join(f"{name}={answers[name]}" for name in route.callers)
    return f"{route.method} {route.path}: {line}"


async def test_every_route_answers_everybody_as_the_table_says(server: System) -> None:
    found = list[str]()
    with connect(server.database.owner, autocommit=True) as conn:
        readers = await make_cast(server, conn, 0, _PEOPLE)
        changers: Cast | None = None
        for number, route in enumerate(routes_of(server), start=1):
            # Forms of the console name people and photos that there are not.
            changes = route.method != "GET" and route.access is not Access.CONSOLE
            if changes:
                some = _OUTSIDE_OF_THE_CONSOLE
                cast = changers = changers or await make_cast(server, conn, number, some)
            else:
                cast = readers
            found.append(await ask_everybody(server, route, cast))
            if changes and not _REFUSED.fullmatch(found[-1]):
                changers = None

    if "UPDATE_DOCS" in os.environ:
        _TABLE.write_text("\n".join(found) + "\n")
    assert found == _TABLE.read_text().splitlines()
