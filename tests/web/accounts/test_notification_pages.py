"""What people choose to be told, as browsers and mail programs send it."""

from __future__ import annotations

from uuid import uuid4

import httpx2
import psycopg
import pytest

from automatch.settings import Settings
from automatch.settings.mail import MailSettings
from tests.support.postgres import Database, TestCluster
from tests.support.push_service import Device
from tests.support.system import System, running_server
from tests.web.test_pages import browser, sign_up

pytestmark = pytest.mark.anyio

FCM = "https://fcm.googleapis.com/fcm/send/a"


async def rows(database: Database, statement: str, *values: object) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(database.owner) as conn:
        return await (await conn.execute(statement.encode(), values)).fetchall()


async def test_device_is_kept_with_the_session_that_asked_for_it(
    server: System, database: Database
) -> None:
    device = {"endpoint": FCM, "expirationTime": None, "keys": Device().keys}
    async with browser(server) as client:
        await sign_up(client)
        page = await client.get("/notifications")
        answer = await client.post("/notifications/devices", json=device)

        assert answer.status_code == 204
        assert 'id="push"' in page.text
        assert await rows(
            database,
            "select endpoint, language from automatch.push_subscriptions"
            " where session_id in (select id from auth.sessions)",
        ) == [(FCM, "en")]

        await client.post("/notifications/devices/forget", json=device)
        assert await rows(database, "select from automatch.push_subscriptions") == []


async def test_server_is_sent_to_no_other_address(
    server: System, subtests: pytest.Subtests
) -> None:
    keys = Device().keys
    refused = {
        "the metadata of a cloud": {"endpoint": "https://169.254.169.254/latest", "keys": keys},
        "no TLS": {"endpoint": FCM.replace("https", "http"), "keys": keys},
        "no keys": {"endpoint": FCM},
        "no object": [],
    }
    async with browser(server) as client:
        await sign_up(client)
        for name, device in refused.items():
            with subtests.test(name):
                answer = await client.post(
                    "/notifications/devices", json=device, headers={"accept": "application/json"}
                )
                assert answer.status_code == 422
    stranger = await server.client.post(
        "/notifications/devices", json={"endpoint": FCM, "keys": keys}
    )
    assert stranger.headers["location"] == "/sign-in"


async def test_mail_is_offered_where_it_is_sent_and_ended_by_its_button(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    mail = MailSettings.model_validate(
        {"smtp_url": "smtp://localhost:1", "sender": "a@uit.example"}
    )
    async with running_server(
        settings.model_copy(update={"mail": mail}), cluster.secrets, database
    ) as system:
        async with browser(system) as client:
            client.cookies.set("automatch_access", (await system.join()).token)
            saved = await client.post("/notifications/digest", data={"digest": "weekly"})
            assert 'value="weekly" checked' in saved.text
            [(token,)] = await rows(database, "select token from automatch.digests")
            asked = await client.get(f"/notifications/unsubscribe?token={token}")
            assert f"/notifications/unsubscribe?token={token}" in asked.text

        async with httpx2.AsyncClient(base_url=system.url) as program:
            for sent in (uuid4(), "nothing", token):
                assert len(await rows(database, "select from automatch.digests")) == 1
                answer = await program.post(
                    f"/notifications/unsubscribe?token={sent}",
                    data={"List-Unsubscribe": "One-Click"},
                )
                assert answer.status_code == 200
        assert await rows(database, "select from automatch.digests") == []


async def test_mail_is_not_offered_where_none_is_sent(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        assert "digest" not in (await client.get("/notifications")).text
