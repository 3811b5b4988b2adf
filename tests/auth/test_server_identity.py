from __future__ import annotations

import httpx2
import pytest

from automatch.auth.server_identity import is_server_ours, prove_identity
from tests.http.test_errors import check
from tests.support.system import System

pytestmark = pytest.mark.anyio


async def test_server_proves_the_secret_of_its_installation_and_no_other(server: System) -> None:
    secret = server.secrets.jwt_secret
    async with httpx2.AsyncClient(timeout=60) as http:
        assert await is_server_ours(http, server.url, secret)
        assert not await is_server_ours(http, server.url, secret[::-1])
        # Something else that answers there.
        assert not await is_server_ours(http, f"{server.url}/nothing", secret)


async def test_proof_is_of_one_challenge_and_tells_no_secret(server: System) -> None:
    first, second = "0" * 32, "1" * 32

    assert prove_identity("secret", first) != prove_identity("secret", second)
    assert "secret" not in prove_identity("secret", first)
    for challenge in ("", "0" * 31, "0" * 33, "G" * 32):
        answer = await server.client.get("/api/identity", params={"challenge": challenge})
        check(answer, 422, "input_invalid")
