"""The first page for strangers, and the style guide, on a machine of one's own and in public."""

from __future__ import annotations

import psycopg
import pytest

from automatch.model.operators import OperatorRole
from automatch.settings import Settings
from automatch.store.operators import operators
from tests.support.postgres import Database, TestCluster
from tests.support.system import System, running_server

pytestmark = pytest.mark.anyio


async def test_stranger_sees_what_this_is_and_someone_at_the_machine_what_to_do_next(
    server: System,
) -> None:
    start = await server.client.get("/")
    guide = await server.client.get("/styleguide")
    by_proxy = [
        await server.client.get("/styleguide", headers=headers)
        for headers in ({"host": "match.example.org"}, {"x-forwarded-for": "198.51.100.7"})
    ]
    person = await server.sign_up()
    async with await psycopg.AsyncConnection.connect(server.database.owner) as conn:
        await operators.set_role(conn, person.id, OperatorRole.OWNER)
    later = await server.client.get("/")

    assert start.status_code == 200
    assert 'href="/sign-up"' in start.text
    assert "automatch school add" in start.text
    # It ends the password of an account that is there, so none is to be made before.
    assert "Create your account" not in start.text
    assert guide.status_code == 200
    assert [answer.status_code for answer in by_proxy] == [404, 404]
    assert "automatch school add" not in later.text


async def test_public_installation_shows_neither_first_steps_nor_style_guide(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    public = settings.model_copy(update={"public_url": "https://match.example.org"})
    async with running_server(public, cluster.secrets, database) as system:
        start = await system.client.get("/")
        guide = await system.client.get("/styleguide")

    assert start.status_code == 200
    assert "automatch school add" not in start.text
    assert guide.status_code == 404
