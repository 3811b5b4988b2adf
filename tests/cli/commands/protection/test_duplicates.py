"""Accounts that look like the same person: found by workers, decided by operators."""

from __future__ import annotations

import getpass
import json
import subprocess
from uuid import UUID, uuid4

import psycopg
import pytest
from PIL import ImageOps

from automatch.photos.make import make_photos
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database as Pool
from automatch.worker.maintenance import MaintenanceRunner
from tests.http.routes.test_admin import Operator
from tests.http.test_errors import check
from tests.support import build
from tests.support.build import connect
from tests.support.command import call_command
from tests.support.photos import astronaut, encode, hopper
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System

pytestmark = pytest.mark.anyio


async def detect_duplicates(system: System) -> None:
    """Run the maintenance task of the worker now."""
    async with Pool(system.database.worker, system.settings.pool, name="test") as db:
        retention = RetentionSettings(min_free_mb=0)
        photos = make_photos(system.settings)
        maintenance = MaintenanceRunner(db, photos, WorkerSettings(), retention)
        await maintenance.matching.detect_duplicates()


async def two_accounts(system: System) -> tuple[Person, Person]:
    """Return a woman's and a man's account with one face, and leave a stranger beside them."""
    she, he = await system.join(), await system.join("male")
    await she.matched(encode(astronaut()))
    await he.matched(encode(ImageOps.mirror(astronaut())))
    await (await system.join()).matched(encode(hopper()))
    await detect_duplicates(system)
    return she, he


async def sees(viewer: Person, other: Person) -> bool:
    """Whether the other is in the viewer's feed, who may see the stranger too."""
    return other.id in {match["profile"]["id"] for match in await viewer.feed()}


async def test_second_account_of_a_person_is_shown_to_the_operator_only(
    system: System,
) -> None:
    she, he = await two_accounts(system)
    told = await Operator(system).ask_json("GET", "/duplicates")

    assert told["match"] is True
    [pair] = told["duplicates"]
    assert {pair["profile_a_id"], pair["profile_b_id"]} == {she.id, he.id}
    assert pair["u"] < 0.385
    assert (pair["state"], pair["model"], pair["same_gender"]) == ("open", "dlib", False)
    assert len(await she.feed()) == 1
    check(await she.get("/api/admin/duplicates"), 403, "forbidden")
    exported = await she.get("/api/profile")
    assert "duplicate" not in exported.text


async def test_decision_of_the_operator_is_in_the_audit_log(system: System) -> None:
    await two_accounts(system)
    operator = Operator(system)
    [pair] = (await operator.ask_json("GET", "/duplicates?state=open"))["duplicates"]
    answer = await operator.ask(
        "PUT", f"/duplicates/{pair['id']}", {"state": "dismissed"}, x_actor="Linh"
    )
    assert answer.status_code == 204

    [after] = (await operator.ask_json("GET", "/duplicates?state=dismissed&limit=1"))["duplicates"]
    assert after["decided_by"] == "service_role:Linh"
    assert (await operator.ask_json("GET", "/duplicates?state=open"))["duplicates"] == []
    entries = (await operator.ask_json("GET", "/audit"))["entries"]
    [decided] = [entry for entry in entries if entry["action"] != "list_duplicates"]
    assert (decided["action"], decided["details"]["state"]) == ("same_person", "dismissed")
    assert len(entries) == 4


async def test_accounts_of_one_person_can_be_kept_from_matching(system: System) -> None:
    she, he = await two_accounts(system)
    operator = Operator(system)
    async with she.stream() as events:
        assert (await anext(events)).kind == "ready"
        assert await operator.ask_json("PUT", "/duplicates/matching", {"match": False}) == {
            "match": False
        }
        async for event in events:
            if event.kind == "gone":
                break
    assert not await sees(she, he)
    assert not await sees(he, she)
    await operator.ask_json("PUT", "/duplicates/matching", {"match": True})

    assert await sees(she, he)
    assert await sees(he, she)


async def test_invalid_decisions_are_refused(server: System, subtests: pytest.Subtests) -> None:
    operator = Operator(server)
    for path, body in [
        (f"/duplicates/{uuid4()}", {"state": "maybe"}),
        (f"/duplicates/{uuid4()}", {}),
        (f"/duplicates/{uuid4()}", {"state": "open", "u": 0}),
        ("/duplicates/matching", {"match": "no"}),
        ("/duplicates/matching", {"match": None}),
    ]:
        with subtests.test(path, body=body):
            check(await operator.ask("PUT", path, body), 422, "input_invalid")
    for query in ("state=maybe", "limit=0", "limit=501"):
        with subtests.test(query):
            check(await operator.ask("GET", f"/duplicates?{query}"), 422, "input_invalid")
    with subtests.test("nobody"):
        answer = await operator.ask("PUT", f"/duplicates/{uuid4()}", {"state": "confirmed"})
        check(answer, 404, "not_found")


def run(cluster: TestCluster, database: Database, *arguments: str) -> subprocess.CompletedProcess:
    return call_command(
        cluster.settings.home, "duplicates", *arguments, DATABASE_URL=database.owner
    )


def output_of(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return str(done.stdout)


def a_pair(conn: psycopg.Connection) -> UUID:
    for gender in ("female", "male"):
        build.a_face(conn, build.a_profile(conn, gender=gender), build.unit(0))
    conn.execute("select public.detect_duplicates()")
    conn.commit()
    return build.one(conn, "select id from automatch.suspected_duplicates")


def test_command_lists_pairs_decides_and_switches_matching(
    cluster: TestCluster, database: Database
) -> None:
    with connect(database.owner) as conn:
        pair = str(a_pair(conn))
    listed = run(cluster, database, "list")
    assert pair in listed.stdout
    assert "match like any two people" in listed.stderr
    assert output_of(run(cluster, database, "confirm", pair)) == "The pair is confirmed.\n"
    assert "No such pair." in run(cluster, database, "list").stderr
    [shown] = json.loads(output_of(run(cluster, database, "list", "--state", "all", "--json")))[
        "duplicates"
    ]
    assert (shown["id"], shown["decided_by"]) == (pair, f"cli:{getpass.getuser()}")
    output_of(run(cluster, database, "dismiss", pair))
    output_of(run(cluster, database, "reopen", pair))
    assert "do not match" in output_of(run(cluster, database, "matching", "off"))
    assert json.loads(output_of(run(cluster, database, "matching", "--json"))) == {"match": False}


def test_command_shows_the_photos_that_wait_for_a_decision_until_it_is_made(
    cluster: TestCluster, database: Database
) -> None:
    with connect(database.owner) as conn:
        pair = str(a_pair(conn))
        face = build.one(conn, "select id from public.faces order by id limit 1")
        conn.execute("select automatch.hold_face(%s, 'another_account')", [face])
    shown = run(cluster, database, "show", pair)
    assert f"waiting photo  {face}" in shown.stdout
    assert "lets it be found" in shown.stderr
    assert json.loads(run(cluster, database, "show", pair, "--json").stdout)["held_face_ids"] == [
        str(face)
    ]
    output_of(run(cluster, database, "dismiss", pair))

    assert "waiting" not in output_of(run(cluster, database, "show", pair))
    unknown = run(cluster, database, "show", str(uuid4()))
    assert (unknown.returncode, "There is no such pair" in unknown.stderr) == (1, True)


def test_command_refuses_an_unknown_pair_and_a_wrong_switch(
    cluster: TestCluster, database: Database
) -> None:
    unknown = run(cluster, database, "dismiss", str(uuid4()))
    misspelt = run(cluster, database, "matching", "maybe")

    assert (unknown.returncode, misspelt.returncode) == (1, 2)
    assert unknown.stderr.strip().endswith("one of the two may have left.")
