"""Rate limits that routes declare: charged before the body, and told on pages as in the API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from automatch.auth.photo_links import PhotoLinks
from automatch.auth.tokens import Tokens
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.settings.server import UploadSettings
from tests.http.test_errors import check
from tests.support.build import connect, set_clock
from tests.support.photos import astronaut, encode, portrait
from tests.support.postgres import Database, TestCluster
from tests.support.raw_http import traces, upload_head, wire
from tests.support.system import PASSWORD, Person, System, running_server
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


def _limited(settings: Settings, **limits: Any) -> Settings:
    return settings.model_copy(update={"limits": LimitSettings(**limits)})


async def _sign_in(system: System, person: Person) -> None:
    form = {"email": person.email, "password": PASSWORD}
    await system.client.post("/sign-in", data=form, headers={"origin": system.url})


async def test_limits_hold_by_default(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(_limited(settings), cluster.secrets, database) as system:
        person = await system.join()
        # What is charged would come back with time, which stands still.
        with connect(database.owner, autocommit=True) as conn:
            set_clock(conn, datetime.now(UTC))
        form = {"email": person.email, "password": PASSWORD}
        # What asks for no account does not count, so that junk closes the door to nobody.
        junk = [{}, form | {"password": "short"}] * 31
        refused = [await system.client.post("/auth/v1/signup", json=body) for body in junk]
        sign_ups = [await system.client.post("/auth/v1/signup", json=form) for _ in range(61)]
        photos = [portrait(number) for number in range(4)]
        uploads = [await person.upload(photos[number % 4]) for number in range(14)]

    assert {answer.status_code for answer in refused} == {422}
    assert [answer.status_code for answer in sign_ups] == [422] * 60 + [429]
    # The fourth photo is one too many and is not counted; one that is there already is.
    assert [answer.status_code for answer in uploads] == [*[202, 202, 202, 409] * 3, 202, 429]
    check(uploads[3], 409, "photos_full")
    assert uploads[3].json()["error"]["message"] == "You can keep 3 photos. Delete one first."
    assert uploads[-1].json()["error"] == {
        "code": "rate_limited",
        "message": "You've sent many photos. Try again in 6 minutes.",
    }
    assert int(uploads[-1].headers["retry-after"]) == 360
    # As clients of Supabase Auth know it.
    assert sign_ups[-1].json()["error_code"] == "over_request_rate_limit"


async def test_sixth_photo_in_a_day_waits_also_when_the_others_were_deleted(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(
        _limited(settings, photo_searches=2), cluster.secrets, database
    ) as system:
        person = await system.join()
        for number in range(2):
            face = (await person.upload(portrait(number))).json()["face"]["id"]
            await system.client.delete(f"/api/faces/{face}", headers=person.headers)
        refused = await person.upload(portrait(2))

    check(refused, 429, "rate_limited")
    assert refused.json()["error"]["message"] == (
        "You've had 2 photos searched for in 24 hours. You can add another in 24 hours."
    )
    assert 86000 < int(refused.headers["retry-after"]) <= 86400


async def test_refusal_comes_before_the_body_and_leaves_no_trace(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(
        _limited(settings, uploads="1/day"), cluster.secrets, database
    ) as system:
        person = await system.join()
        assert (await person.upload(encode(astronaut()))).status_code == 202
        before = traces(system)
        async with wire(system) as connection:
            await connection.send(upload_head(person.token, "Content-Length: 1000000"))
            answer = await connection.answer()

        assert (answer.status, answer.code) == (429, "rate_limited")
        assert traces(system) == before
        # Another person is not concerned.
        assert (await (await system.join()).upload(encode(astronaut()))).status_code == 202


async def test_api_and_pages_count_together_and_a_page_shows_the_sentence(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    limited = _limited(settings, sign_up="1/hour", searches="1/day", photos="1/hour")
    async with running_server(limited, cluster.secrets, database) as system:
        person = await system.join()
        assert (await person.upload(encode(astronaut()))).status_code == 202
        taken = {"email": person.email, "password": PASSWORD}
        check(await system.client.post("/auth/v1/signup", json=taken), 422, "email_taken")
        page = {"origin": system.url}
        sign_up = await system.client.post("/sign-up", data={}, headers=page)
        await _sign_in(system, person)
        saved = await system.client.post("/onboarding", data={}, headers=page)
        file = {"file": ("photo.jpg", encode(astronaut()))}
        script = page | {"accept": "application/json"}
        sent = await system.client.post("/upload", files=file, headers=script)

    for shown in (sign_up, saved):
        assert shown.status_code == 429
        assert int(shown.headers["retry-after"]) > 1000
        assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "Lots of accounts were made from your network. Try again in " in sign_up.text
    check(sent, 429, "rate_limited")


async def test_photo_by_a_link_counts_for_its_viewer(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    limited = _limited(settings, photos="2/hour")
    async with running_server(limited, cluster.secrets, database) as system:
        person = await system.join()
        face_id = uuid4()
        viewer = Tokens(cluster.secrets.jwt_secret, settings.auth).verify(person.token)
        link = PhotoLinks(cluster.secrets.photo_key).sign(face_id, viewer)
        check(await system.client.get(link), 404, "not_found")
        check(await person.get(f"/api/faces/{face_id}/image"), 404, "not_found")

        check(await system.client.get(link), 429, "rate_limited")


async def test_upload_that_did_not_arrive_does_not_count(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    limited = _limited(settings, uploads="1/day").model_copy(
        update={"upload": UploadSettings(stall_timeout_s=2)}
    )
    async with running_server(limited, cluster.secrets, database) as system:
        for is_cut_off in (False, True):
            person = await system.join()
            async with wire(system) as connection:
                lines = "Content-Length: 1000", "Expect: 100-continue"
                await connection.send(upload_head(person.token, *lines))
                await connection.reader.readuntil(b"\r\n\r\n")
                if not is_cut_off:
                    assert (await connection.answer()).code == "body_timeout"
            async with asyncio.timeout(PATIENCE_S):
                while (answer := await person.upload(encode(astronaut()))).status_code == 429:
                    pass
            assert answer.status_code == 202


async def test_what_the_server_could_not_do_does_not_count(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    limited = _limited(settings, uploads="1/day").model_copy(
        update={"upload": UploadSettings(max_waiting=1)}
    )
    async with running_server(limited, cluster.secrets, database) as system:
        first, second = await system.join(), await system.join()
        assert (await first.upload(encode(astronaut()))).status_code == 202
        for _ in range(3):
            check(await second.upload(encode(astronaut())), 503, "queue_full")
