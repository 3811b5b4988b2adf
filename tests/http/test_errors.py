"""One shape for every error, whatever the route, and the headers that every answer carries."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from starlette.routing import Route

from automatch.app import create_app
from automatch.auth.tokens import Tokens
from automatch.errors import AutomatchError
from automatch.http.declaration import Access, declare
from automatch.model.people import Role
from automatch.settings import Settings
from tests.support.matches import add_matches, add_own_face
from tests.support.photos import astronaut, encode
from tests.support.postgres import TestCluster
from tests.support.system import Person, System

pytestmark = pytest.mark.anyio

CANARY = "canary-2b1f"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_SECURITY = {
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "cache-control",
}


_FOR_SUPABASE_CLIENTS = {"code", "error_code", "msg", "weak_password"}


def check(answer: httpx2.Response, status: int, code: str) -> None:
    """Check that an answer is an error in the one shape, with the headers of all answers."""
    assert answer.headers["content-type"] == "application/json"
    reply = answer.json()
    assert set(reply) - _FOR_SUPABASE_CLIENTS == {"error"}
    assert (set(reply) >= {"msg", "error_code"}) == answer.url.path.startswith("/auth/v1/")
    assert set(reply["error"]) == {"code", "message"}
    assert (answer.status_code, reply["error"]["code"]) == (status, code)
    message = reply["error"]["message"]
    assert message.endswith(".")
    assert not message.endswith("..")
    assert not re.search(r"Traceback|/src/|\.py|select |psycopg", message)
    # The words of pydantic are for developers.
    assert not re.search(r"should |Field required|Value error|parse|permitted", message)
    check_headers(answer)


def check_headers(answer: httpx2.Response) -> None:
    assert set(answer.headers) >= _SECURITY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def routes_of(system: System) -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and description of every route that the server tells of."""
    reply = (await system.client.get("/api/openapi.json")).json()
    return [
        (method.upper(), path, route)
        for path, methods in reply["paths"].items()
        for method, route in methods.items()
    ]


def headers_for(system: System, person: Person, path: str) -> dict[str, str]:
    """Return the headers of somebody who gets past the first question of a route."""
    if not path.startswith(("/api/admin/", "/functions/", "/ai/")):
        return person.headers
    key = Tokens(system.secrets.jwt_secret, system.settings.auth).issue_key(Role.SERVICE)
    return {"authorization": f"Bearer {key}"}


def filled(path: str, value: str) -> str:
    return re.sub(r"{\w+}", value, path)


async def test_openapi_describes_the_api_and_no_pages(server: System) -> None:
    answer = await server.client.get("/api/openapi.json")

    assert answer.status_code == 200
    check_headers(answer)
    paths = set(answer.json()["paths"])
    assert {"/api/faces", "/api/matches/stream", "/auth/v1/token", "/readyz"} <= paths
    assert not {"/feed", "/sign-in", "/upload"} & paths
    assert (await server.client.get("/docs")).status_code == 404


async def test_every_route_names_its_methods_and_refuses_others(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.sign_up()
    methods: dict[str, set[str]] = {}
    for method, path, _ in await routes_of(server):
        methods.setdefault(path, set()).add(method)
    # One for each route, in turns: which of those that are refused it is makes no difference.
    for number, (path, known) in enumerate(methods.items()):
        others = [method for method in _METHODS if method not in known]
        method = others[number % len(others)]
        with subtests.test(path, method=method):
            answer = await server.client.request(
                method, filled(path, str(uuid4())), headers=headers_for(server, person, path)
            )
            check(answer, 405, "method_not_allowed")
            assert set(answer.headers["allow"].split(", ")) == known


async def test_escaped_slash_is_part_of_a_name(server: System) -> None:
    person = await server.sign_up()
    for path in ("/api%2Fprofile", "/api%2fprofile", "/static/..%2F..%2Fapi/profile"):
        answer = await server.client.get(path, headers=person.headers)
        assert answer.status_code == 404, path
    path = f"/api/jobs/{uuid4()}%2Fface"
    answer = await server.client.post(path, headers=person.headers, json={"index": 0})
    check(answer, 405, "method_not_allowed")


async def test_every_id_that_is_none_is_an_invalid_input(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.sign_up()
    for method, path, _ in await routes_of(server):
        if "{" in path:
            for bad in ("1", "x" * 300, "%00", "' or 1=1 --", "..%2Fprofile"):
                with subtests.test(path, method=method, id=bad[:12]):
                    answer = await server.client.request(
                        method, filled(path, bad), headers=headers_for(server, person, path)
                    )
                    assert answer.status_code in {404, 405, 422}
                    check(answer, answer.status_code, answer.json()["error"]["code"])


async def test_every_id_of_somebody_else_is_an_id_of_nothing(
    server: System, subtests: pytest.Subtests
) -> None:
    person, other = await server.join(), await server.join()
    face_id = (await other.upload(encode(astronaut()))).json()["face"]["id"]
    own = await add_own_face(server.database, other.id)
    await add_matches(server.database, other.id, own, 2)
    reported = (await other.feed())[1]["profile"]["id"]
    report = await server.client.post(
        "/api/reports", headers=other.headers, json={"profile_id": reported, "reason": "fake"}
    )
    job_id = (await other.get("/api/jobs")).json()["jobs"][0]["id"]
    bodies = {"/api/jobs/{job_id}/face": {"index": 0}}
    ids = {
        "/api/faces/{face_id}": face_id,
        "/api/faces/{face_id}/image": face_id,
        "/api/jobs/{job_id}": job_id,
        "/api/jobs/{job_id}/face": job_id,
        "/api/matches/{match_id}/dismiss": (await other.feed())[0]["id"],
        "/api/profiles/{profile_id}/block": other.id,
        "/api/profiles/{profile_id}/like": other.id,
        "/api/reports/{case_id}": report.json()["id"],
        "/api/profiles/{profile_id}/dismissal": other.id,
    }
    seen = set()
    for method, path, _ in await routes_of(server):
        # What the operator asks for is nobody's own: tests/http/routes/test_admin.py.
        if "{" not in path or path.startswith("/api/admin/"):
            continue
        seen.add(path)
        with subtests.test(path, method=method):
            theirs, nothing = [
                await server.client.request(
                    method, filled(path, one), headers=person.headers, json=bodies.get(path)
                )
                for one in (ids[path], str(uuid4()))
            ]
            check(theirs, 404, "not_found")
            assert theirs.content == nothing.content

    assert seen == set(ids)
    assert len(await other.feed()) == 1
    assert len((await other.get("/api/faces")).json()["faces"]) == 2


async def test_unknown_addresses_of_the_api_are_told_in_json(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.sign_up()
    for path in (
        *("/api/nothing", "/api/", "/auth/v1/nothing", "/api/faces/", "/healthz/x"),
        *("/ai/v1/nothing", "/ai/", "/ai/v1/faces/x"),
        *("/api/admin", "/api/admin/", "/api/admin/nothing", "/api/admin/jobs/retry/x"),
        *("/functions/v1/", "/functions/v1/nothing", "/functions/v1/match-generator/"),
        *("/rest/v1/profiles", "/nothing", "/api%2fmatches"),
    ):
        for method in ("GET", "POST", "DELETE"):
            with subtests.test(path, method=method):
                answer = await server.client.request(
                    method, path, headers=headers_for(server, person, path)
                )
                check(answer, 404, "not_found")


async def test_strange_values_are_invalid_inputs_everywhere(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.join()
    good = {"name": "Linh", "school": "UIT", "gender": "female", "birth_date": "2000-02-29"}
    huge = "9" * 30
    for path in (
        f"/api/matches?cursor={huge}",
        f"/api/matches?cursor={2**63}",
        "/api/matches?cursor=0",
        "/api/matches?cursor=-1",
        "/api/matches?cursor=NaN",
        "/api/matches?limit=0",
        "/api/matches?limit=101",
        "/api/matches?limit=1e9",
        f"/api/matches?limit={'9' * 5000}",
        "/api/matches/stream?after=-1",
        "/api/matches/stream?after=x",
        "/api/jobs?limit=0",
        "/api/jobs?limit=101",
    ):
        with subtests.test(path[:60]):
            check(await person.get(path), 422, "input_invalid")
    for name, change in [
        ("name with NUL", {"name": "a\0b"}),
        ("name with half a character", {"name": "\ud800"}),
        ("name of two lines", {"name": "a\nb"}),
        ("name that turns the text", {"name": "\u202eevil"}),
        ("name that nobody sees", {"name": "\u200b"}),
        ("name of joiners", {"name": "\u200d"}),
        ("blank name", {"name": "  "}),
        ("long name", {"name": "x" * 81}),
        ("school with NUL", {"school": "a\0b"}),
        ("long school", {"school": "x" * 121}),
        ("gender in capitals", {"gender": "FEMALE"}),
        ("no gender", {"gender": None}),
        ("date as a number", {"birth_date": 946684800}),
        ("date as a number in words", {"birth_date": "946684800"}),
        ("date with a time", {"birth_date": "2000-02-29T00:00:00"}),
        ("date that was not", {"birth_date": "2001-02-29"}),
        ("date long ago", {"birth_date": "0001-01-01"}),
        ("another field", {"profile_type": "celebrity"}),
        ("a field with a long name", {"x" * 10_000: 1}),
    ]:
        with subtests.test(name):
            answer = await server.client.put(
                "/api/profile",
                headers={**person.headers, "content-type": "application/json"},
                content=json.dumps(good | change),
            )
            check(answer, 422, "input_invalid")
            assert len(answer.content) < 500
    for name, content in [("broken", "{"), ("a list", "[]"), ("a word", '"x"'), ("empty", "")]:
        with subtests.test(f"JSON, {name}"):
            answer = await server.client.put(
                "/api/profile",
                headers={**person.headers, "content-type": "application/json"},
                content=content,
            )
            check(answer, 422, "input_invalid")


async def test_json_of_any_depth_breaks_nothing(server: System, subtests: pytest.Subtests) -> None:
    person = await server.sign_up()
    headers = {**person.headers, "content-type": "application/json"}
    for depth in (100, 300, 450, 900, 990, 1000, 3000, 30_000):
        for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth):
            for method, path in [
                ("PUT", "/api/profile"),
                ("PUT", "/auth/v1/user"),
                ("POST", "/auth/v1/signup"),
                ("POST", "/functions/v1/match-generator"),
            ]:
                with subtests.test(path, depth=depth, deep=deep[-6:]):
                    # Metadata of an account may be deep, if it is short.
                    answer = await server.client.request(
                        method,
                        path,
                        headers=headers,
                        content=f'{{"email": [], "name": {deep}, "data": {{"a": {deep}}}}}',
                    )
                    assert answer.status_code in {400, 403, 413, 422}
                    check(answer, answer.status_code, answer.json()["error"]["code"])
        with subtests.test("metadata", depth=depth):
            answer = await server.client.put(
                "/auth/v1/user",
                headers=headers,
                content=f'{{"data": {{"a": {"[" * depth + "]" * depth}}}}}',
            )
            assert answer.status_code in {200, 400, 413, 422}
            assert (await server.sign_in(person.email)).id == person.id


async def test_what_was_sent_is_not_repeated(server: System) -> None:
    answer = await server.client.post(
        "/auth/v1/signup", json={"email": [CANARY], "password": {CANARY: 1}}
    )

    assert answer.status_code == 422
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("birth_date", "expected_status"),
    [("2000-02-29", 200), ("2500-01-01", 403), ("2015-06-01", 403)],
)
async def test_profile_is_for_grown_ups(
    server: System, birth_date: str, expected_status: int
) -> None:
    person = await server.sign_up()

    answer = await server.client.put(
        "/api/profile",
        headers=person.headers,
        json={"name": "Linh", "school": "UIT", "gender": "female", "birth_date": birth_date},
    )

    assert answer.status_code == expected_status
    if expected_status == 403:
        check(answer, 403, "age_not_allowed")


async def test_names_in_other_writing_are_kept_as_they_are(server: System) -> None:
    person = await server.sign_up()
    for name in ("Nguyễn Thị Ánh", "می‌خواهم", "👩‍🚀 Mae", "O'Neill", "<b>", "{{ 7*7 }}"):
        answer = await server.client.put(
            "/api/profile",
            headers=person.headers,
            json={"name": name, "school": "UIT", "gender": "female", "birth_date": "2000-02-29"},
        )
        assert answer.json()["name"] == name


@pytest.fixture
def broken(settings: Settings, cluster: TestCluster) -> FastAPI:
    """Give an application with two routes of which one breaks, and one breaks half-way."""
    app = create_app(settings, cluster.secrets)

    @declare(Access.ANYONE)
    async def breaks(_: Any) -> Any:
        raise RuntimeError(CANARY)

    @declare(Access.ANYONE)
    async def breaks_ours(_: Any) -> Any:
        raise AutomatchError

    app.router.routes[:0] = [
        Route("/broken", breaks),
        Route("/auth/v1/broken/{word}", breaks),
        Route("/auth/v1/ours", breaks_ours),
    ]
    return app


async def test_crash_is_told_without_details_and_logged_without_data(
    broken: FastAPI, subtests: pytest.Subtests
) -> None:
    transport = httpx2.ASGITransport(app=broken)
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
        for path in ("/broken", f"/auth/v1/broken/{CANARY}"):
            with subtests.test(path), structlog.testing.capture_logs() as logs:
                answer = await client.get(path, headers={"cookie": f"a={CANARY}"})
                check(answer, 500, "internal")
                assert CANARY not in answer.text
                [entry] = [log for log in logs if log["log_level"] == "error"]
                assert (entry["event"], entry["error"]) == ("request crashed", "RuntimeError")
                assert CANARY not in repr(logs)
        check(await client.get("/auth/v1/ours"), 500, "internal")
