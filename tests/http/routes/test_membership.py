"""Over HTTP: the list of schools, and how somebody becomes a member of theirs."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import psycopg
import pytest

from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from tests.http.test_errors import check
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System, running_server

pytestmark = pytest.mark.anyio

CODE = "K7QM-2X9D-4HTR"


def a_closed_school(database: Database, name: str = "Closed") -> None:
    with psycopg.connect(database.owner, autocommit=True) as conn:
        conn.execute("select public.add_school(%s)", [name])
        conn.execute("select public.invite_to_school(%s, %s, 1, '1 day')", [name, CODE])


async def put(person: Person, path: str, body: dict[str, Any]) -> httpx2.Response:
    return await person.client.put(f"/api/profile{path}", headers=person.headers, json=body)


async def test_who_has_no_proof_uploads_and_is_searched_for_once_they_are_a_member(
    system: System,
) -> None:
    a_closed_school(system.database)
    person = await system.sign_up()
    listed = (await person.get("/api/profile/schools")).json()
    assert listed == {"schools": ["Closed", "UIT"]}
    check(await person.get("/api/profile/membership"), 403, "profile_incomplete")
    with psycopg.connect(system.database.owner, autocommit=True) as conn:
        conn.execute("drop trigger a_school_is_open on public.profiles")
    await system.fill_in(person, school="Closed")
    assert (await person.matched(encode(astronaut())))["match_count"] == 0
    told = (await person.get("/api/profile/membership")).json()
    assert (told["school"], told["is_open"], told["proof"], told["admitted"]) == (
        *("Closed", False, None, False),
    )

    signed_in = {"cookie": f"automatch_access={person.token}"}
    page = await person.client.get("/feed", headers=signed_in)
    assert "Show that you belong to Closed" in page.text
    assert "No look-alikes yet" not in page.text

    async def waits_for() -> str:
        async with person.client.stream("GET", "/feed/stream", headers=signed_in) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and "waiting" in (told := json.loads(line[6:])):
                    return str(told["waiting"])
        raise AssertionError("the stream ended")

    assert await waits_for() == "proof"
    asked = (await put(person, "/membership/request", {"message": "Class K18."})).json()
    assert await waits_for() == "answer"
    assert (asked["message"], asked["refused_at"]) == ("Class K18.", None)
    joined = (await put(person, "/membership/code", {"code": CODE.lower()})).json()
    assert (joined["proof"], joined["admitted"], joined["message"]) == ("invitation", True, None)
    assert (await person.get("/api/profile")).json()["admitted"] is True
    assert await waits_for() == ""
    left = await person.client.delete("/api/profile/membership", headers=person.headers)
    assert left.status_code == 204
    check(await person.get("/api/profile/membership"), 403, "profile_incomplete")


async def test_codes_that_do_not_work_are_limited_by_address_and_good_ones_are_not_counted(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    a_closed_school(database)
    limited = settings.model_copy(update={"limits": LimitSettings(join_codes="2/hour")})
    async with running_server(limited, cluster.secrets, database) as system:
        for _ in range(3):
            page = await system.client.get(f"/join/{CODE}")
            assert page.status_code == 200
        person = await system.join(school="Closed")
        check(await put(person, "/membership/code", {"code": "AAAA"}), 422, "code_invalid")
        assert (await system.client.get("/join/AAAA-BBBB-CCCC")).status_code == 404
        check(await put(person, "/membership/code", {"code": CODE}), 429, "rate_limited")


async def test_unknown_school_and_a_third_change_are_refused(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    limited = settings.model_copy(update={"limits": LimitSettings(changes_a_year=1)})
    async with running_server(limited, cluster.secrets, database) as system:
        person = await system.join()
        await person.upload(encode(astronaut()))
        profile = {"name": "P", "school": "UIT", "gender": "female", "birth_date": "2000-02-29"}
        check(await put(person, "", profile | {"school": "Nowhere"}), 422, "school_unknown")
        changed = await put(person, "", profile | {"gender": "male"})
        assert (changed.json()["gender"], changed.json()["admitted"]) == ("male", False)
        check(await put(person, "", profile), 409, "changes_used")
