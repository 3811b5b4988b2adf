"""News to devices: encrypted for them alone, told once, and never sent to other addresses."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import jwt
import psycopg
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from webpush import WebPush

from automatch.postgres.addresses import database_address
from automatch.push.keys import key_pair, public_key
from automatch.push.sender import PushSender, is_push_address
from automatch.settings import Settings
from automatch.settings.notifications import NotificationSettings
from automatch.store.database import Database
from tests.support.certificates import Authority
from tests.support.matches import CONSENT, PERSON, add_matches, add_own_face
from tests.support.postgres import Database as OwnedDatabase
from tests.support.postgres import TestCluster
from tests.support.push_service import Device, PushService, push_service

pytestmark = pytest.mark.anyio

SECRET = "a secret that only this installation has"
HOSTS = NotificationSettings().push_hosts


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[PushService]:
    """Give a push service whose certificate the sender trusts."""
    authority = Authority.make(tmp_path)
    async with push_service(authority.server_context("localhost")) as service:
        service.trust = ssl.create_default_context(cafile=authority.file)
        yield service


@pytest.fixture
async def db(settings: Settings, cluster: TestCluster) -> AsyncIterator[Database]:
    address = database_address(settings, cluster.secrets, "api")
    async with Database(address, settings.pool, name="test") as opened:
        yield opened


def sender(db: Database, service: PushService, hosts: str = "localhost:*") -> PushSender:
    return PushSender(
        db,
        WebPush(*key_pair(SECRET), subscriber="push@match.example.org", ttl=60),
        lambda: httpx2.AsyncClient(verify=service.trust, timeout=60),
        hosts=hosts,
        quiet=timedelta(0),
    )


async def person_with(database: OwnedDatabase, address: str, device: Device) -> UUID:
    """Return a person who has a new look-alike, and is to be told on a device."""
    person = uuid4()
    async with await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn:
        values = {"id": person, "name": "Linh", "school": "UIT"}
        for statement in (PERSON.replace("'male'", "'female'"), CONSENT):
            await conn.execute(statement, values)
        await conn.execute(
            "insert into automatch.push_subscriptions"
            " (profile_id, endpoint, p256dh, auth, language) values (%s, %s, %s, %s, 'en')",
            [person, address, *device.keys.values()],
        )
        await add_matches(database, str(person), await add_own_face(database, str(person)))
        await conn.execute(
            "update automatch.feed_entries set created_at = automatch.now() - interval '1 minute'"
        )
    return person


async def devices(database: OwnedDatabase) -> list[tuple[int, bool]]:
    async with await psycopg.AsyncConnection.connect(database.owner) as conn:
        cursor = await conn.execute(
            "select attempts, run_at > automatch.now() from automatch.push_subscriptions"
        )
        return await cursor.fetchall()


async def test_device_reads_that_there_is_news_and_nothing_of_whom(
    db: Database, database: OwnedDatabase, service: PushService
) -> None:
    device = Device()
    await person_with(database, service.address, device)

    with structlog.testing.capture_logs() as logs:
        assert await sender(db, service).send_some() == 1
        assert await sender(db, service).send_some() == 0

    [(headers, body)] = service.requests
    assert device.read(body) == {
        "title": "Auto-Match",
        "text": "You have a new look-alike.",
        "news": 1,
        "address": "/feed",
    }
    assert headers["content-encoding"] == "aes128gcm"
    token, key = headers["authorization"].removeprefix("vapid t=").split(", k=")
    claims = jwt.decode(
        token,
        load_pem_public_key(key_pair(SECRET)[1]),
        algorithms=["ES256"],
        audience="https://localhost",
    )
    assert (key, claims["sub"]) == (public_key(SECRET), "mailto:push@match.example.org")
    assert service.address not in str(logs)


@pytest.mark.parametrize(
    ("status", "left"),
    [(201, [(0, False)]), (404, []), (410, []), (403, []), (500, [(1, True)]), (307, [(1, True)])],
)
async def test_answer_of_the_push_service_decides(
    db: Database,
    database: OwnedDatabase,
    service: PushService,
    status: int,
    left: list[tuple[int, bool]],
) -> None:
    await person_with(database, service.address, Device())
    service.status = status

    await sender(db, service).send_some()

    assert await devices(database) == left
    assert len(service.requests) == 1


async def test_nothing_is_sent_to_an_address_that_is_no_push_service(
    db: Database, database: OwnedDatabase, service: PushService
) -> None:
    await person_with(database, service.address, Device())

    assert await sender(db, service, HOSTS).send_some() == 1

    assert service.requests == []
    assert await devices(database) == []


async def test_device_that_cannot_be_told_holds_up_no_other(
    db: Database, database: OwnedDatabase
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "bad.example":
            raise httpx2.InvalidURL("a host that no network knows")
        return httpx2.Response(201)

    for host in ("bad.example", "good.example"):
        await person_with(database, f"https://{host}/x", Device())
    pushes = PushSender(
        db,
        WebPush(*key_pair(SECRET), subscriber="push@match.example.org", ttl=60),
        lambda: httpx2.AsyncClient(transport=httpx2.MockTransport(answer)),
        hosts="*.example",
        quiet=timedelta(0),
    )

    assert await pushes.send_some() == 2

    assert sorted(await devices(database)) == [(0, False), (1, True)]


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("https://fcm.googleapis.com/fcm/send/x", True),
        ("https://updates.push.services.mozilla.com/wpush/v2/x", True),
        ("https://web.push.apple.com/x", True),
        ("http://fcm.googleapis.com/x", False),
        ("https://fcm.googleapis.com:8443/x", False),
        ("https://fcm.googleapis.com@127.0.0.1/x", False),
        ("https://user@fcm.googleapis.com/x", False),
        ("https://fcm.googleapis.com.evil.example/x", False),
        ("https://169.254.169.254/latest", False),
        ("https://localhost/x", False),
        ("https://[::1]/x", False),
        ("https://push.apple.com:99999/", False),
        ("https://fcm.googleapis.com/\u0001", False),
        ("https://fcm.googleapis.com/\x7f", False),
        ("https://\u00ad.push.apple.com/", False),
        ("https://127.0.0.1\\.push.apple.com/", False),
    ],
)
def test_push_services_are_known_by_name(address: str, is_one: bool) -> None:
    assert is_push_address(address, HOSTS) is is_one


def test_secret_gives_one_key_and_another_gives_another() -> None:
    assert public_key(SECRET) == public_key(SECRET)
    assert public_key(SECRET) != public_key(SECRET + "!")
