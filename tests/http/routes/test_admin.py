"""`/api/admin`: who may, what it answers, and what it puts down."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest

from automatch.auth.tokens import Tokens
from automatch.model.people import Role
from tests.http.test_errors import check
from tests.support.photos import astronaut, encode, hopper
from tests.support.system import Person, System

pytestmark = pytest.mark.anyio

_NOBODY = str(uuid4())
ROUTES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/queue", None),
    ("POST", "/queue/pause", {}),
    ("POST", "/queue/resume", {}),
    ("PUT", "/queue/concurrency", {"jobs": None}),
    ("GET", "/jobs", None),
    ("GET", f"/jobs/{_NOBODY}", None),
    ("POST", "/jobs/retry", {"all": True}),
    ("POST", "/jobs/cancel", {"ids": [_NOBODY]}),
    ("POST", "/jobs/prioritize", {"ids": [_NOBODY]}),
    ("POST", f"/jobs/{_NOBODY}/requeue", {}),
    ("GET", "/audit", None),
    ("GET", "/duplicates", None),
    ("PUT", "/duplicates/matching", {"match": True}),
    ("PUT", f"/duplicates/{_NOBODY}", {"state": "open"}),
    ("POST", "/smoke-tests", None),
    ("DELETE", f"/smoke-tests/{_NOBODY}", None),
]


class Operator:
    """Whoever holds a key of the project."""

    def __init__(self, system: System, role: Role = Role.SERVICE) -> None:
        tokens = Tokens(system.secrets.jwt_secret, system.settings.auth)
        self.headers = {"authorization": f"Bearer {tokens.issue_key(role)}"}
        self._client = system.client

    async def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> httpx2.Response:
        return await self._client.request(
            method,
            f"/api/admin{path}",
            headers=self.headers | {name.replace("_", "-"): headers[name] for name in headers},
            json=body,
        )

    async def ask_json(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        answer = await self.ask(method, path, body, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def _uploaded(server: System, *, school: str = "UIT") -> tuple[Person, str]:
    person = await server.join(school=school)
    answer = await person.upload(encode(astronaut()))
    return person, answer.json()["job"]["id"]


async def _acts(server: System) -> list[tuple[str, str]]:
    async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
        cursor = await conn.execute("select actor, action from automatch.audit_log order by id")
        return await cursor.fetchall()


async def test_list_of_routes_is_complete(server: System) -> None:
    reply = (await server.client.get("/api/openapi.json")).json()
    described = {
        (method.upper(), re.sub(r"{\w+}", _NOBODY, path))
        for path, methods in reply["paths"].items()
        if path.startswith("/api/admin/")
        for method in methods
    }

    assert described == {(method, f"/api/admin{path}") for method, path, _ in ROUTES}


async def test_service_key_opens_these_routes(server: System, subtests: pytest.Subtests) -> None:
    for method, path, body in ROUTES:
        with subtests.test(path, method=method):
            allowed = await Operator(server).ask(method, path, body)
            absent = _NOBODY in path and method != "DELETE"
            assert allowed.status_code == (404 if absent else 200), allowed.text

    assert {actor for actor, _ in await _acts(server)} == {"service_role"}


async def test_queue_is_told_at_a_glance(server: System) -> None:
    await _uploaded(server)

    reply = await Operator(server).ask_json("GET", "/queue")

    assert reply["queue"] | {"oldest_waiting_s": 0} == {
        "paused": False,
        "concurrency": None,
        "paused_schools": [],
        "waiting": 1,
        "scheduled": 0,
        "processing": 0,
        "expired_leases": 0,
        "workers": 0,
        "oldest_waiting_s": 0,
    }
    [status] = reply["statuses"]
    assert (status["status"], status["count"]) == ("pending", 1)


async def test_uploads_to_a_paused_queue_are_taken_and_matched_when_it_goes_on(
    system: System,
) -> None:
    operator = Operator(system)
    assert await operator.ask_json("POST", "/queue/pause", {}, x_actor="Linh") == {"waiting": 0}
    person, job_id = await _uploaded(system)
    paused = await operator.ask_json("GET", f"/jobs/{job_id}")
    assert await operator.ask_json("POST", "/queue/resume", {}, x_actor="Linh") == {"waiting": 1}
    job = await person.ended(job_id)

    assert paused["job"]["status"] == "pending"
    assert job["status"] == "completed"
    assert await _acts(system) == [
        ("service_role:Linh", "pause"),
        ("service_role:Linh", "resume"),
    ]


async def test_school_is_paused_and_resumed_by_name(server: System) -> None:
    operator = Operator(server)
    _, job_id = await _uploaded(server, school="UIT")
    await _uploaded(server, school="HUST")
    assert await operator.ask_json("POST", "/queue/pause", {"school": "uit"}) == {"waiting": 1}

    queue = (await operator.ask_json("GET", "/queue"))["queue"]
    job = (await operator.ask_json("GET", f"/jobs/{job_id}"))["job"]
    [listed] = (await operator.ask_json("GET", "/jobs?school=UIT&status=pending"))["jobs"]

    assert (queue["paused_schools"], queue["waiting"], queue["scheduled"]) == (["UIT"], 1, 1)
    assert (job["scheduled"], job["run_at"], job["error"]) == (True, None, None)
    assert listed == job
    assert await operator.ask_json("POST", "/queue/resume", {"school": "UIT"}) == {"waiting": 1}
    unknown = await operator.ask("POST", "/queue/pause", {"school": "Nowhere"})
    check(unknown, 422, "school_unknown")


async def test_concurrency_is_set_and_left_to_the_settings(server: System) -> None:
    operator = Operator(server)
    for jobs in (3, None):
        assert await operator.ask_json("PUT", "/queue/concurrency", {"jobs": jobs}) == {
            "jobs": jobs
        }
        assert (await operator.ask_json("GET", "/queue"))["queue"]["concurrency"] == jobs


async def test_job_is_cancelled_and_retried(server: System) -> None:
    operator = Operator(server)
    person, job_id = await _uploaded(server)
    assert await operator.ask_json("POST", "/jobs/cancel", {"ids": [job_id]}) == {"count": 1}
    assert await operator.ask_json("POST", "/jobs/cancel", {"ids": [job_id]}) == {"count": 0}

    own = (await person.get(f"/api/jobs/{job_id}")).json()["job"]
    [failed] = (await operator.ask_json("GET", "/jobs?code=job_cancelled"))["jobs"]
    assert own["error"] == failed["error"]
    assert (failed["id"], failed["status"]) == (job_id, "failed")
    for which in ({"ids": [job_id]}, {"code": "job_cancelled"}, {"all": True}):
        assert await operator.ask_json("POST", "/jobs/retry", which) == {"count": 1}
        await operator.ask_json("POST", "/jobs/cancel", {"ids": [job_id]})


async def test_photo_is_searched_for_once_more_with_another_threshold(system: System) -> None:
    operator = Operator(system)
    person, job_id = await _uploaded(system)
    await person.ended(job_id)
    reply = await operator.ask_json("POST", f"/jobs/{job_id}/requeue", {"threshold": 0.4})
    await person.ended(reply["job"]["id"])

    again = (await operator.ask_json("GET", f"/jobs/{reply['job']['id']}"))["job"]
    assert reply["job"]["id"] != job_id
    assert (again["threshold"], again["status"]) == (0.4, "completed")


async def test_priority_is_changed(server: System) -> None:
    operator = Operator(server)
    person, first = await _uploaded(server)
    second = (await person.upload(encode(hopper()))).json()["job"]["id"]

    reply = await operator.ask_json("POST", "/jobs/prioritize", {"ids": [first, second]})

    # The first photo of a person has that priority anyway.
    assert reply == {"count": 1}
    assert (await operator.ask_json("GET", f"/jobs/{second}"))["job"]["priority"] == 1


async def test_no_answer_tells_a_name_an_address_or_a_photo(server: System) -> None:
    operator = Operator(server)
    person = await server.join(name="Canary Nguyen")
    job_id = (await person.upload(encode(astronaut()))).json()["job"]["id"]
    await operator.ask_json("POST", "/jobs/cancel", {"ids": [job_id]})

    for path in ("/queue", "/jobs", f"/jobs/{job_id}", "/audit"):
        reply = (await operator.ask("GET", path)).text
        assert "Canary" not in reply
        assert "example.org" not in reply
        assert "image" not in reply
        assert "embedding" not in reply


async def test_acts_are_put_down_with_who_is_behind_the_key(
    server: System, subtests: pytest.Subtests
) -> None:
    operator = Operator(server)
    for sent, actor in [
        ("Linh", "service_role:Linh"),
        ("", "service_role"),
        ("x" * 100, "service_role:" + "x" * 100),
        ("Ánh", "service_role:Ánh"),
    ]:
        with subtests.test(actor):
            header = {**operator.headers, "x-actor": sent.encode()}
            answer = await server.client.post("/api/admin/queue/resume", headers=header, json={})
            assert answer.status_code == 200
            [entry] = (await operator.ask_json("GET", "/audit?limit=1"))["entries"]
            assert (entry["actor"], entry["action"]) == (actor, "resume")
    for sent in (b"x" * 101, b"\xff", "\u202eevil".encode(), b"a\tb"):
        with subtests.test(repr(sent)[:20]):
            header = {**operator.headers, "x-actor": sent}
            answer = await server.client.post("/api/admin/queue/resume", headers=header, json={})
            check(answer, 422, "input_invalid")
    assert len(await _acts(server)) == 4


async def test_strange_values_change_nothing(server: System, subtests: pytest.Subtests) -> None:
    operator = Operator(server)
    _, job_id = await _uploaded(server)
    one = [job_id]
    for method, path, body in [
        ("POST", "/queue/pause", {"scool": "UIT"}),
        ("POST", "/queue/pause", {"school": ""}),
        ("POST", "/queue/pause", {"school": "a\0b"}),
        ("POST", "/queue/pause", {"school": "x" * 121}),
        ("POST", "/queue/pause", None),
        ("POST", "/queue/resume", []),
        ("PUT", "/queue/concurrency", {}),
        ("PUT", "/queue/concurrency", {"jobs": 0}),
        ("PUT", "/queue/concurrency", {"jobs": "3"}),
        ("PUT", "/queue/concurrency", {"jobs": True}),
        ("PUT", "/queue/concurrency", {"jobs": 10**12}),
        ("POST", "/jobs/retry", {}),
        ("POST", "/jobs/retry", {"all": False}),
        ("POST", "/jobs/retry", {"all": True, "code": "no_face"}),
        ("POST", "/jobs/retry", {"ids": []}),
        ("POST", "/jobs/retry", {"code": "No Face"}),
        ("POST", "/jobs/cancel", {}),
        ("POST", "/jobs/cancel", {"ids": []}),
        ("POST", "/jobs/cancel", {"ids": ["1"]}),
        ("POST", "/jobs/cancel", {"ids": one * 1001}),
        ("POST", "/jobs/prioritize", {"ids": one, "priority": 0}),
        ("POST", "/jobs/prioritize", {"ids": one, "priority": 4}),
        ("POST", f"/jobs/{job_id}/requeue", {"threshold": 0}),
        ("POST", f"/jobs/{job_id}/requeue", {"threshold": 1}),
        ("POST", f"/jobs/{job_id}/requeue", {"threshold": "nan"}),
        ("POST", f"/jobs/{job_id}/requeue", {"limit": 0.4}),
        ("GET", "/jobs?limit=0", None),
        ("GET", "/jobs?limit=501", None),
        ("GET", "/jobs?status=done", None),
        ("GET", "/jobs?school=a%00b", None),
        ("GET", "/audit?limit=1e9", None),
    ]:
        with subtests.test(path, body=str(body)[:40]):
            check(await operator.ask(method, path, body), 422, "input_invalid")

    assert await _acts(server) == []
    assert (await operator.ask_json("GET", f"/jobs/{job_id}"))["job"]["status"] == "pending"


async def test_a_thousand_jobs_fit_one_request(server: System) -> None:
    ids = [str(uuid4()) for _ in range(1000)]

    assert await Operator(server).ask_json("POST", "/jobs/cancel", {"ids": ids}) == {"count": 0}
