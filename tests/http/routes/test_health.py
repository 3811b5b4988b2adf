from __future__ import annotations

import asyncio

import pytest

from automatch.feed.notifier import FeedNotifier
from automatch.settings import Settings
from tests.http.test_errors import check
from tests.support.postgres import Database, TestCluster
from tests.support.system import running_server

pytestmark = pytest.mark.anyio


async def test_server_whose_feeds_fail_lives_and_is_not_ready(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = asyncio.Event()

    async def fail(_: FeedNotifier) -> None:
        failed.set()
        raise ValueError

    monkeypatch.setattr(FeedNotifier, "run", fail)
    async with running_server(settings, cluster.secrets, database) as system:
        await failed.wait()
        answer = await system.client.get("/readyz")

        check(answer, 503, "not_ready")
        assert "feeds" in answer.json()["error"]["message"]
        assert (await system.client.get("/healthz")).json() == {"status": "ok"}
