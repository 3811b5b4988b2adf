"""Sign-in, sign-up and refresh are limited, whichever door they come through."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import httpx2
import pytest

from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.limits import LimitSettings
from tests.http.test_errors import check
from tests.support.build import connect, one, set_clock
from tests.support.postgres import Database, TestCluster
from tests.support.system import PASSWORD, System, running_server
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

_PASSWORD_GRANT = {"grant_type": "password"}


async def _sign_in(system: System, email: str, password: str) -> httpx2.Response:
    form = {"email": email, "password": password}
    return await system.client.post("/auth/v1/token", params=_PASSWORD_GRANT, json=form)


async def test_wrong_passwords_are_limited_by_default_and_right_ones_are_not(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    limited = settings.model_copy(update={"limits": LimitSettings(refresh="1/day")})
    async with running_server(limited, cluster.secrets, database) as system:
        person = await system.sign_up()
        # A wrong password is forgiven after twelve seconds, which do not pass.
        with connect(database.owner, autocommit=True) as conn:
            set_clock(conn, datetime.now(UTC))
        right = [await _sign_in(system, person.email, PASSWORD) for _ in range(6)]
        wrong = [await _sign_in(system, person.email, "a wrong password") for _ in range(6)]
        page = {"origin": system.url}
        form = {"email": person.email, "password": PASSWORD}
        shown = await system.client.post("/sign-in", data=form, headers=page)
        # Of another account, from the same address.
        form = {"email": (await system.sign_up()).email, "password": PASSWORD}
        signed_in = await system.client.post("/sign-in", data=form, headers=page)
        token = {"refresh_token": right[0].json()["refresh_token"]}
        refreshed = [
            await system.client.post(
                "/auth/v1/token", params={"grant_type": "refresh_token"}, json=token
            )
            for _ in range(2)
        ]
        other = await system.sign_up()
        change = {"password": "a quite unusual word", "current_password": "a wrong one"}
        changes = [
            await system.client.put("/auth/v1/user", headers=other.headers, json=change)
            for _ in range(6)
        ]
        system.client.cookies.delete("automatch_access")
        renewed = await system.client.get("/feed")

    assert [answer.status_code for answer in right] == [200] * 6
    assert [answer.status_code for answer in wrong] == [400] * 5 + [429]
    assert int(wrong[-1].headers["retry-after"]) == 12
    assert shown.status_code == 429
    assert "Too many wrong passwords for this account. Try again in" in shown.text
    assert 'id="password"' in shown.text
    assert signed_in.status_code == 303
    assert refreshed[0].status_code == 200
    check(refreshed[1], 429, "rate_limited")
    assert [answer.status_code for answer in changes] == [400] * 5 + [429]
    assert renewed.status_code == 429
    assert "That was a bit too often." in renewed.text
    assert "set-cookie" not in renewed.headers


async def test_honest_sign_in_gets_through_beside_200_bad_ones(
    settings: Settings, cluster: TestCluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine needs long to send 200 requests to itself, and to answer them.
    monkeypatch.setattr("automatch.cli.runtime.serving.http_protocol._HEAD_S", PATIENCE_S)
    limited = settings.model_copy(
        update={"limits": LimitSettings(), "pool": PoolSettings(timeout_s=PATIENCE_S)}
    )
    async with running_server(limited, cluster.secrets, database) as system:
        person = await system.sign_up()
        bad = [
            asyncio.create_task(_sign_in(system, f"nobody{number}@example.org", "a wrong password"))
            for number in range(200)
        ]
        async with httpx2.AsyncClient(
            base_url=system.url, timeout=PATIENCE_S, verify=False
        ) as client:
            form = {"email": person.email, "password": PASSWORD}
            honest = await client.post("/auth/v1/token", params=_PASSWORD_GRANT, json=form)
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*bad))

    assert honest.status_code == 200
    assert set(statuses) <= {400, 429, 503}
    assert statuses[503] > 0
    assert statuses[400] <= 100


async def test_who_erases_themselves_while_frozen_does_not_come_back_with_the_address(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    async with running_server(settings, cluster.secrets, database) as system:
        frozen, person = await system.sign_up(), await system.sign_up()
        with connect(database.owner, autocommit=True) as conn:
            conn.execute("select public.freeze_person(%s, 'moderation')", [frozen.id])
            conn.execute(
                "insert into automatch.photo_searches values (gen_random_uuid(), %s)", [person.id]
            )
        answers = []
        for each in (frozen, person):
            await system.client.delete("/api/profile", headers=each.headers)
            form = {"email": each.email, "password": PASSWORD}
            answers.append(await system.client.post("/auth/v1/signup", json=form))

    assert [answer.status_code for answer in answers] == [422, 200]
    with connect(database.owner) as conn:
        assert one(conn, "select count(*) from automatch.photo_searches") == 1
