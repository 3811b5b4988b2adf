"""Web apps of other origins: let in by name, and never with a cookie of ours."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from automatch.errors.configuration import SettingsError
from automatch.errors.request import ForbiddenError
from automatch.http.origins import check_websocket_origin
from automatch.settings import Settings, load_settings
from tests.support.postgres import Database, TestCluster
from tests.support.system import running_server

pytestmark = pytest.mark.anyio

APP, OTHER = "https://app.example", "https://other.example"
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "apikey,authorization,content-type,x-client-info",
}


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [("", set()), (f"{APP} https://third.example", {APP}), ("*", {APP, OTHER})],
)
async def test_app_is_let_in_by_its_origin(
    settings: Settings, cluster: TestCluster, database: Database, origins: str, allowed: set[str]
) -> None:
    with_origins = settings.model_copy(update={"web_origins": origins})
    async with running_server(with_origins, cluster.secrets, database) as system:
        for origin in (APP, OTHER):
            asked = {"origin": origin}
            before = await system.client.options("/auth/v1/token", headers=asked | PREFLIGHT)
            answer = await system.client.get("/api/matches", headers=asked)

            # The answer to whoever shows no token is an error, which the app may read too.
            assert answer.status_code == 401
            expected = {None} if origin not in allowed else {origin, "*"}
            for one in (before, answer):
                assert one.headers.get("access-control-allow-origin") in expected
                assert "access-control-allow-credentials" not in one.headers
            assert before.headers["x-content-type-options"] == "nosniff"
            function = "/functions/v1/match-generator"
            open_to_all = await system.client.options(function, headers=asked | PREFLIGHT)
            assert open_to_all.headers["access-control-allow-origin"] == "*"
            if origin in allowed:
                assert (before.status_code, before.content) == (204, b"")
            elif origins:
                assert (before.status_code, before.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/path", "https://*", "* x"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(SettingsError):
        load_settings(web_origins=origins)


@pytest.mark.parametrize(
    ("origins", "refused"),
    [
        ("", {APP, "http://match.example", "https://match.example:8443", "null"}),
        (APP, {OTHER}),
        ("*", set()),
    ],
)
def test_page_that_opens_a_websocket_is_ours_or_let_in(origins: str, refused: set[str]) -> None:
    settings = Settings(public_url="https://match.example", web_origins=origins)
    for origin in {None, "https://match.example", "https://match.example:443", APP, *refused}:
        headers = [] if origin is None else [(b"origin", origin.encode())]
        scope = {"type": "websocket", "scheme": "ws", "headers": headers}
        expected = pytest.raises(ForbiddenError) if origin in refused else nullcontext()
        with expected:
            check_websocket_origin(scope, settings)
