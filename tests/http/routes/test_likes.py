"""Likes over HTTP: what the other person, a stranger and a script are told, and undoing it all."""

from __future__ import annotations

import re
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.http.routes.test_match_changes import send
from tests.http.routes.test_matches import read
from tests.support.matches import add_own_face, match_faces
from tests.support.system import Person, System
from tests.web.protection.test_report_pages import sign_in
from tests.web.test_pages import browser, text_of

pytestmark = pytest.mark.anyio

HERS = {"sentence": "See you at the library", "handle": "@linh"}
HIS = {"sentence": "The one with the bike", "handle": None}


async def a_pair(system: System) -> tuple[Person, Person]:
    """Give two people who see each other and have something to share."""
    she, he = await system.join(name="Linh"), await system.join("male", name="Minh")
    faces = [await add_own_face(system.database, person.id) for person in (she, he)]
    await match_faces(system.database, *faces)
    for person, texts in ((she, HERS), (he, HIS)):
        body = {name: text or "" for name, text in texts.items()}
        saved = await system.client.put("/api/profile/share", headers=person.headers, json=body)
        assert saved.json() == texts
    return she, he


async def like(person: Person, other: Person) -> bool:
    path = f"/api/profiles/{other.id}/like"
    answer = await person.client.put(path, headers=person.headers)
    assert answer.json()["liked"], answer.text
    return bool(answer.json()["mutual"])


async def last_event(person: Person) -> str:
    async with person.stream() as events:
        return (await anext(events)).id


async def test_both_are_told_on_the_stream_and_nothing_comes_before_that(server: System) -> None:
    she, he = await a_pair(server)
    before = (await he.get("/api/matches")).json()
    assert await like(she, he) is False
    after = (await he.get("/api/matches")).json()
    for page in (before, after):
        page["matches"][0]["face"].pop("image_url")
    assert after == before
    [mine] = await she.feed()
    assert (mine["liked"], mine["mutual"], mine["shared"]) == (True, False, None)
    seen = before["last_event_id"]

    assert await like(he, she) is True
    for person, texts in ((he, HERS), (she, HIS)):
        [event] = await read(person, 1, after=seen)
        assert (event.kind, event.data["mutual"], event.data["shared"]) == ("match", True, texts)
        [match] = await person.feed()
        assert match["shared"] == texts
    told = (await he.get("/api/matches")).json()["last_event_id"]
    assert await send(she, "DELETE", f"/api/profiles/{he.id}/like") == 204
    [gone] = await read(he, 1, after=told)
    assert (gone.data["liked"], gone.data["mutual"], gone.data["shared"]) == (True, False, None)


async def test_who_hides_cannot_like_and_a_report_can_be_taken_back(server: System) -> None:
    she, he = await a_pair(server)
    report = {"profile_id": he.id, "reason": "fake"}
    made = await server.client.post("/api/reports", headers=she.headers, json=report)
    assert await he.feed() == []
    assert await send(he, "DELETE", f"/api/reports/{made.json()['id']}") == 404
    assert await send(she, "DELETE", f"/api/reports/{made.json()['id']}") == 204
    assert len(await he.feed()) == 1

    hidden = {"discoverable": False}
    await server.client.put("/api/profile/discoverable", headers=she.headers, json=hidden)
    answer = await server.client.put(f"/api/profiles/{he.id}/like", headers=she.headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


async def test_what_cannot_be_shared_is_refused(server: System) -> None:
    she = await server.join()
    for texts in ({"sentence": "x" * 201}, {"handle": "\u202egnp"}, {"age": "3"}):
        answer = await server.client.put("/api/profile/share", headers=she.headers, json=texts)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "input_invalid")
    assert (await she.get("/api/profile/share")).json() == {"sentence": None, "handle": None}


def undo_of(page: httpx2.Response) -> str:
    [toasts] = re.findall(r'id="toasts".*?<template>', page.text, re.S)
    return "".join(re.findall(r'action="([^"]+)"', toasts))


async def test_each_act_is_told_with_a_way_back_to_browsers_without_scripts(
    server: System,
) -> None:
    she, he = await a_pair(server)
    async with browser(server) as client:
        feed = await sign_in(client, she)
        assert 'action="/people' in feed.text
        [dismiss] = re.findall(r'action="(/matches/[^"]+/dismiss)"', feed.text)
        for act, words, again in (
            (dismiss, "Not a look-alike. You won't see each other.", f'action="{dismiss}"'),
            (f"/people/{he.id}/block", "Blocked. They aren't told.", f'action="{dismiss}"'),
            (f"/people/{he.id}/like", "They'll only know if they like you, too.", "/like"),
        ):
            done = await client.post(act)
            assert words in text_of(done)
            undone = await client.post(undo_of(done))
            assert again in undone.text
            later = await client.get("/feed")
            assert undo_of(await client.get("/feed")) == "", "told once"
            assert words not in text_of(later)
        report = f"/people/{he.id}/report?to=/feed%3Fshow%3Dliked"
        assert f'action="{report.replace("=/feed", "=%2Ffeed")}"' in (await client.get(report)).text
        reported = await client.post(report, data={"reason": "fake"})
        assert "Photo of Minh" not in reported.text
        assert reported.url.raw_path == b"/feed?show=liked", "leads on to where the form says"
        assert "Photo of Minh" in (await client.post(undo_of(reported))).text


async def test_script_is_told_what_was_done_and_where_to_undo_it(server: System) -> None:
    she, he = await a_pair(server)
    await like(he, she)
    async with browser(server) as client:
        await sign_in(client, she)
        client.headers["accept"] = "application/json"
        liked = await client.post(f"/people/{he.id}/like")
        assert liked.json() == {
            "act": "both_like",
            "message": "You like each other!",
            "undo": f"/people/{he.id}/unlike",
        }
        card = await client.get("/feed", headers={"accept": "text/html"})
        assert "The one with the bike" in text_of(card)
        unliked = await client.post(liked.json()["undo"])
        assert unliked.json()["undo"] == f"/people/{he.id}/like"
        card = await client.get("/feed", headers={"accept": "text/html"})
        assert "The one with the bike" not in text_of(card)
        for act in ("like", "unlike", "block", "show-again"):
            nobody = await client.post(f"/people/{uuid4()}/{act}")
            assert (nobody.status_code, nobody.json()["error"]["code"]) == (404, "not_found")


async def test_page_of_one_person_does_nothing_for_another(server: System) -> None:
    she, he = await a_pair(server)
    async with browser(server) as client:
        feed = await sign_in(client, she)
        client.headers["accept"] = "application/json"
        acts = set(re.findall(r'action="(/(?:people|matches)/[^"]+)"', feed.text))
        for act in (*acts, f"/people/{he.id}/unlike", f"/people/{he.id}/show-again"):
            other = await client.post(f"{act}?person={he.id}")
            assert (other.status_code, other.json()["error"]["code"]) == (403, "forbidden"), act
        for act in (f"/people/{he.id}/report", f"/reports/{uuid4()}/withdraw"):
            other = await client.post(f"{act}?person={he.id}", data={"reason": "fake"})
            assert other.status_code == 403, act
        own = await client.post(f"/people/{he.id}/like?person={she.id}")
        assert own.json()["act"] == "liked"


async def test_cookie_of_somebody_elses_making_tells_nothing(server: System) -> None:
    she = await server.join()
    async with browser(server) as client:
        await sign_in(client, she)
        for cookie in ("liked", "liked.1", "evil.<b>", f"hacked.{UUID(int=1)}", "."):
            client.cookies.set("automatch_done", cookie)
            assert undo_of(await client.get("/feed")) == ""
