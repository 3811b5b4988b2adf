"""Reports from end to end: the card, the inbox of operators, both feeds, the answer, the appeal."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from automatch.auth.receipts import Receipts
from automatch.photos.make import make_photos
from automatch.settings import Settings
from automatch.settings.mail import MailSettings
from tests.http.test_errors import check
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.matches import add_own_face, match_faces
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.smtp import MailBox, link_in, mail_server
from tests.support.smtp import text_of as mail_text
from tests.support.system import PASSWORD, Person, System, running_server
from tests.web.test_pages import browser, text_of

pytestmark = pytest.mark.anyio

CLAIMANT = "mai@example.org"


@pytest.fixture
def box() -> Any:
    with mail_server() as box:
        yield box


@pytest.fixture
async def server(
    settings: Settings, cluster: TestCluster, database: Database, box: MailBox
) -> AsyncIterator[System]:
    """Give a server that sends mail, and whose secrets lie where commands look for them."""
    write_secrets(settings.home, cluster.secrets)
    mail = MailSettings(smtp_url=box.url, sender="no-reply@uit.example")
    async with running_server(
        settings.model_copy(update={"mail": mail}), cluster.secrets, database
    ) as system:
        yield system


async def operator(
    system: System, *words: object, user: str = "mai"
) -> subprocess.CompletedProcess[str]:
    """Run `automatch case`, as an operator of that name."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("automatch.cli.runtime.db_session.audit_actor", lambda: f"cli:{user}")
        return await asyncio.to_thread(
            call_command, system.settings.home, "case", *words, DATABASE_URL=system.database.owner
        )


async def inbox(system: System) -> list[dict[str, Any]]:
    done = await operator(system, "list", "--json")
    return list(json.loads(done.stdout))


async def a_pair(system: System) -> tuple[Person, Person, str]:
    """Give two people who see each other, and his photo, which has a file."""
    she, he = await system.join(name="Linh"), await system.join("male", name="Minh")
    hers, his = [await add_own_face(system.database, person.id) for person in (she, he)]
    await match_faces(system.database, hers, his)
    photos = make_photos(system.settings)
    path = f"{str(his)[:2]}/{his}"
    await photos.put_copies(path, full=encode(astronaut()), thumb=encode(astronaut()))
    return she, he, str(his)


def path_in(mail: EmailMessage) -> str:
    """Return where the link of a mail leads to, on whatever port."""
    return str(httpx2.URL(link_in(mail)).raw_path.decode())


async def sign_in(client: httpx2.AsyncClient, person: Person) -> httpx2.Response:
    return await client.post("/sign-in", data={"email": person.email, "password": PASSWORD})


async def test_report_is_looked_at_decided_answered_and_appealed(
    server: System, box: MailBox, tmp_path: Path
) -> None:
    she, he, _ = await a_pair(server)
    async with browser(server) as her, browser(server) as him:
        feed = await sign_in(her, she)
        [address] = re.findall(r'href="(/people/[^"]+/report)"', feed.text)
        form = await her.get(address)
        assert "Report Minh" in text_of(form)
        sent = await her.post(address, data={"reason": "harassment", "statement": "He shouts."})
        assert (sent.url.path, "Reported. We'll look at it" in text_of(sent)) == ("/feed", True)
        assert await she.feed() == await he.feed() == []

        [case] = await inbox(server)
        assert (case["reason"], case["state"], case["hides"]) == ("harassment", "open", False)
        shown = await operator(server, "show", case["id"])
        assert "He shouts." in shown.stdout
        assert "Minh" in shown.stdout
        no_reason = await operator(
            server, "photo", case["id"], "--out", tmp_path / "p.jpg", "--reason", " "
        )
        assert (no_reason.returncode, (tmp_path / "p.jpg").exists()) == (1, False)
        await operator(
            server, "photo", case["id"], "--out", tmp_path / "p.jpg", "--reason", "Is it him?"
        )
        assert (tmp_path / "p.jpg").read_bytes() == encode(astronaut())
        assert (tmp_path / "p.jpg").stat().st_mode & 0o077 == 0

        done = await operator(server, "hide", case["id"])
        assert done.returncode == 0, done.stderr
        mails = [await box.take() for _ in range(2)]
        assert {mail["To"] for mail in mails} == {she.email, he.email}
        for mail in mails:
            assert not re.search("Minh|Linh|UIT|photo", mail_text(mail))

        feed = await sign_in(him, he)
        assert "One of your photos is hidden from others." in text_of(feed)
        reports = await him.get("/reports")
        assert "We've hidden a photo of yours." in text_of(reports)
        assert not re.search("Linh|He shouts", reports.text)
        assert "We've hidden the photo." in text_of(await her.get("/reports"))
        [appeal] = re.findall(r'action="(/reports/[^"]+)"', reports.text)
        assert (await him.post(appeal, data={"text": "That is me."})).url.path == "/reports"

        same = await operator(server, "unhide", case["id"])
        assert "somebody else should look" in same.stderr
        await operator(
            server, "answer", case["id"], "You were right.", "--to", "reported", user="hoa"
        )
        other = await operator(server, "unhide", case["id"], user="hoa")
        assert other.returncode == 0, other.stderr
        page = text_of(await him.get("/reports"))
        assert "Everything is as before." in page
        assert "You were right." in page
        assert "hidden from others" not in text_of(await him.get("/feed"))
    told = json.loads((await operator(server, "show", case["id"], "--json")).stdout)
    acts = [(act["action"], act["details"].get("decision")) for act in told["acts"]]
    assert acts == [
        ("show_case", None),
        ("see_photo", None),
        ("decide_case", "hide"),
        ("write_in_case", None),
        ("decide_case", "unhide"),
    ]
    assert told["acts"][1]["reason"] == "Is it him?"
    assert told["viewers"][0]["profile_id"] == she.id
    assert await inbox(server) == []


async def test_api_reports_only_what_was_shown(server: System) -> None:
    she, he, his_face = await a_pair(server)
    stranger = await server.join("male")

    def report(**form: object) -> Any:
        return server.client.post("/api/reports", headers=she.headers, json=form)

    for form in ({"profile_id": stranger.id}, {"profile_id": he.id, "face_id": she.id}):
        check(await report(reason="fake", **form), 404, "not_found")
    check(await report(reason="other", profile_id=he.id), 422, "input_invalid")
    check(await report(reason="rude", profile_id=he.id), 422, "input_invalid")
    made = await report(reason="not_their_photo", profile_id=he.id, face_id=his_face)

    assert made.status_code == 201
    [case] = await inbox(server)
    assert (case["id"], case["face_id"], case["hides"]) == (made.json()["id"], his_face, True)


async def test_take_down_without_an_account_is_proven_by_mail_and_hides_at_once(
    server: System, box: MailBox
) -> None:
    she, _, his_face = await a_pair(server)
    request = {"email": CLAIMANT, "reason": "not_their_photo", "statement": "It is me."}
    async with browser(server) as outside:
        assert "/report" in (await outside.get("/sign-in")).text
        for field, wrong in (("reason", "none"), ("email", "none"), ("photo", "x" * 1001)):
            refused = await outside.post("/report", data=request | {"photo": "?", field: wrong})
            assert f'id="{field}-error"' in refused.text
        answers = [
            await outside.post("/report", data=request | {"photo": photo})
            for photo in (f"{server.url}/photos/{his_face}?size=full", "somewhere")
        ]
        links = [path_in(await box.take()) for _ in answers]
        # Nobody learns whether anything was found.
        assert text_of(answers[0]) == text_of(answers[1])
        assert len(await she.feed()) == 1

        for _ in range(2):
            assert "If that's what you asked for" in text_of(await outside.get(links[0]))
        token = links[0].partition("token=")[2]
        page = await outside.post("/report/link", data={"token": token})
        assert "We're looking at it." in text_of(page)
        assert await she.feed() == []

        [case] = await inbox(server)
        assert (case["kind"], case["face_id"], case["hides"]) == ("take_down", his_face, True)
        await operator(server, "dismiss", case["id"])
        news = path_in(await box.take())
        token = news.partition("token=")[2]
        assert "found no reason to act" in text_of(await outside.get(news))
        appealed = await outside.post("/report/link", data={"token": token, "text": "It is!"})
        assert "We're looking at it." in text_of(appealed)
        dead = await outside.get(links[0])
        assert dead.status_code == 403
        assert '<a class="button primary" href="/report">' in dead.text
    [case] = await inbox(server)
    assert case["appealed_at"] is not None
    async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
        stored = await (
            await conn.execute("select c::text from automatch.case_contacts c")
        ).fetchall()
    assert CLAIMANT not in str(stored)


async def test_ban_survives_erasure_and_is_told_as_a_taken_address(
    server: System, tmp_path: Path
) -> None:
    she, he, _ = await a_pair(server)
    form = {"profile_id": he.id, "reason": "fake"}
    await server.client.post("/api/reports", headers=she.headers, json=form)
    [case] = await inbox(server)
    banned = await operator(server, "ban", case["id"], "--yes")
    assert banned.returncode == 0, banned.stderr
    file = tmp_path / "receipt.jws"
    await operator(server, "erase", case["id"], "--person", "--yes", "--receipt", file)
    assert Receipts(server.settings.home).verify(file.read_text())["act"] == "operator"
    local, _, domain = he.email.partition("@")

    async def sign_up(email: str) -> tuple[int, list[str], bool]:
        answer = await server.client.post(
            "/auth/v1/signup", json={"email": email, "password": PASSWORD}
        )
        async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
            found = await conn.execute("select from auth.users where email = %s", [email])
            return answer.status_code, sorted(answer.json()), await found.fetchone() is not None

    taken = await sign_up(she.email)
    for email in (he.email, f"{local}+new@{domain}"):
        assert await sign_up(email) == (*taken[:2], False)

    lifted = await operator(server, "unban", "--email", he.email)
    assert lifted.returncode == 0, lifted.stderr
    assert await sign_up(he.email) == (*taken[:2], True)
