"""Who runs this is read every few seconds; changes of it and of the texts are recorded."""

from __future__ import annotations

import pytest

from automatch.errors.request import InputInvalidError
from automatch.model.notices import NoticeKind, SiteOperator
from automatch.model.operators import Operator, OperatorRole
from automatch.services.operators.site_operator import (
    READ_EVERY_S,
    SiteOperatorCache,
    publish_notice,
    set_site_operator,
)
from automatch.settings.database import PoolSettings
from automatch.store.database import Database as Pool
from tests.support.build import connect
from tests.support.operators import Desk
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio


async def test_change_is_seen_after_some_seconds_and_kept_in_an_outage(database: Database) -> None:
    now = 0.0
    async with Pool(database.api, PoolSettings(), name="test") as db:
        site = SiteOperatorCache(db, lambda: now)
        assert await site.load() == SiteOperator()
        with connect(database.owner) as conn:
            conn.execute("select public.set_site_operator('UIT Union', null, null)")

        assert await site.load() == SiteOperator()
        now += READ_EVERY_S
        assert await site.load() == SiteOperator("UIT Union")

    # The pool is closed.
    now += READ_EVERY_S
    assert await site.load() == SiteOperator("UIT Union")
    assert await SiteOperatorCache(db).load() is None


async def test_changes_are_recorded_without_the_values(desk: Desk) -> None:
    owner = desk.operator(OperatorRole.OWNER)
    await set_site_operator(desk.db, owner, name="UIT Union", email="a@uit.example", url=None)
    version = await publish_notice(
        desk.db, owner, NoticeKind.CONSENT, language="en", body="Text", asks_again=True
    )

    assert desk.conn.execute(
        "select actor, action, details from automatch.audit_log order by id"
    ).fetchall() == [
        (owner.actor, "set_site_operator", {"changed": ["name", "email"]}),
        (
            owner.actor,
            "publish_notice",
            {"kind": "consent", "version": version, "asks_again": True},
        ),
    ]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"email": "somebody"}, "you@example.org"),
        ({"url": "example.org"}, "https://example.org"),
        ({"name": "two\nlines"}, "one line"),
    ],
    ids=["email", "url", "name"],
)
async def test_what_is_no_contact_is_told_what_to_give(
    desk: Desk, values: dict[str, str], advice: str
) -> None:
    given: dict[str, str | None] = {"name": None, "email": None, "url": None, **values}
    with pytest.raises(InputInvalidError, match=advice):
        await set_site_operator(desk.db, Operator.of_machine("cli:linh"), **given)


async def test_what_is_no_language_is_told_what_to_give(desk: Desk) -> None:
    with pytest.raises(InputInvalidError, match="such as en or vi"):
        await publish_notice(
            desk.db,
            Operator.of_machine("cli:linh"),
            NoticeKind.PRIVACY,
            language="Tiếng Việt",
            body="Text",
        )


@pytest.mark.parametrize("char", ["\x1b[2J", "\r", "\u202e"])
async def test_text_that_would_steer_a_terminal_is_not_published(desk: Desk, char: str) -> None:
    with pytest.raises(InputInvalidError):
        await publish_notice(
            desk.db,
            desk.operator(OperatorRole.OWNER),
            NoticeKind.PRIVACY,
            language="en",
            body=f"Two\nlines {char}.",
        )
