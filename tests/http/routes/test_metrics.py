"""`/metrics` of a server: who gets it, and what is told while the database is away."""

from __future__ import annotations

import pytest

from automatch.cli.runtime.serving.sockets import WORKER_PORT, open_metrics_socket
from automatch.settings import Settings
from automatch.settings.telemetry import MetricsSettings
from tests.http.routes.test_faces import away
from tests.http.test_errors import check
from tests.support.ai import running_ai
from tests.support.embedder import FakeEmbedder
from tests.support.metrics import TOKEN, WITH_TOKEN, parse, served_metrics, value
from tests.support.postgres import Database, TestCluster
from tests.support.system import System, running_server

pytestmark = pytest.mark.anyio


async def test_without_a_token_there_are_no_metrics_on_the_port_of_people(server: System) -> None:
    check(await server.client.get("/metrics", headers=WITH_TOKEN), 404, "not_found")


async def test_token_opens_the_metrics_and_nothing_else(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    open_settings = settings.model_copy(update={"metrics": MetricsSettings(token=TOKEN)})
    async with running_server(open_settings, cluster.secrets, database) as system:
        check(await system.client.get("/metrics"), 401, "token_missing")
        wrong = {"authorization": f"Bearer {TOKEN[::-1]}"}
        check(await system.client.get("/metrics", headers=wrong), 401, "token_invalid")
        check(await system.client.get("/api/admin/queue", headers=WITH_TOKEN), 401, "token_invalid")

        told = parse(await system.client.get("/metrics", headers=WITH_TOKEN))

        refused = {"access": "metrics_key", "status": "4xx"}
        assert value(told, "automatch_http_request_seconds_count", **refused) == 2


async def test_metrics_of_the_process_are_told_while_the_database_is_away(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    open_settings = settings.model_copy(update={"metrics": MetricsSettings(token=TOKEN)})
    async with running_server(open_settings, cluster.secrets, database) as system:
        async with away(cluster, database):
            told = parse(await system.client.get("/metrics", headers=WITH_TOKEN))

        assert value(told, "automatch_database_up") == 0
        assert value(told, "automatch_database_pool_max_connections") == 5
        assert told["automatch_queue_jobs"].samples == []


async def test_ai_service_alone_tells_of_its_requests() -> None:
    settings = Settings(metrics=MetricsSettings(token=TOKEN))
    async with running_ai(settings, FakeEmbedder()) as client:
        await client.get("/healthz", headers=WITH_TOKEN)
        told = parse(await client.get("/metrics", headers=WITH_TOKEN))

    answered = {"access": "anyone", "status": "2xx"}
    assert value(told, "automatch_http_request_seconds_count", **answered) == 1
    assert "automatch_database_up" not in told


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_port_of_its_own_asks_for_the_token_where_one_is_set(token: str | None) -> None:
    async def read() -> bytes:
        return b"# EOF\n"

    settings = Settings(host="127.0.0.9", metrics=MetricsSettings(token=token))
    with open_metrics_socket(settings, 0, setting=WORKER_PORT) as listener:
        assert listener.getsockname()[0] == ("127.0.0.1" if token is None else "127.0.0.9")

    async with served_metrics(read, Settings(metrics=MetricsSettings(token=token))) as client:
        answers = [await client.get("/metrics", headers=sent) for sent in ({}, WITH_TOKEN)]

    assert [answer.status_code for answer in answers] == [200 if token is None else 401, 200]
