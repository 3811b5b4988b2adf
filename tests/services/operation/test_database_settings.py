"""Settings that live in the database: what the list says of each, and changing one."""

from __future__ import annotations

import pytest

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.model.operators import Operator
from automatch.services.operation.database_settings import SETTINGS, change_setting, list_settings
from tests.support.build import one
from tests.support.operators import Desk

pytestmark = pytest.mark.anyio

ROOT = Operator.of_machine("cli:linh")


async def test_every_setting_of_the_database_is_listed_with_its_default(desk: Desk) -> None:
    for table in ("public.match_settings", "automatch.search_settings", "automatch.queue_settings"):
        desk.conn.execute(f"delete from {table}; insert into {table} default values")
    stored = one(desk.conn, "select public.read_settings()")
    listed = {each.setting.name: each.value for each in await list_settings(desk.db, ROOT)}

    assert listed.keys() == stored.keys() - {"threshold"}
    assert listed == {name: setting.default for name, setting in SETTINGS.items()}


@pytest.mark.parametrize("name", SETTINGS)
async def test_setting_is_changed_and_its_change_recorded(desk: Desk, name: str) -> None:
    setting = SETTINGS[name]
    stored = one(desk.conn, "select public.read_settings() -> %s", name)
    others = setting.choices or ("30" if name == "m" else str((stored or 0) + 1),)
    [value, *_] = [text for text in others if text != setting.show(stored)]
    before = await change_setting(desk.db, ROOT, name, f" {value} ")

    assert before.value == stored
    assert setting.show(one(desk.conn, "select public.read_settings() -> %s", name)) == value
    own = {"match_same_person": "match_same_person", "concurrency": "concurrency"}
    [(actor, action, *_)] = desk.audited()
    assert (actor, action) == ("cli:linh", own.get(name, "change_setting"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("match_count", ""),
        ("match_count", "0"),
        ("match_count", "101"),
        ("match_count", "1.5"),
        ("match_count", "²"),
        ("match_count", "9" * 5000),
        ("match_count", "none"),
        ("hold_another_person", "maybe"),
        ("hold_another_account", "sometimes"),
        # Another setting forbids it.
        ("index_until", "60000"),
        ("ef_construction", "40"),
    ],
)
async def test_value_that_is_none_changes_nothing(desk: Desk, name: str, text: str) -> None:
    with pytest.raises(InputInvalidError):
        await change_setting(desk.db, ROOT, name, text)

    assert one(desk.conn, "select count(*) from automatch.audit_log") == 0


async def test_setting_that_may_be_none_is_set_back(desk: Desk) -> None:
    await change_setting(desk.db, ROOT, "concurrency", "4")
    await change_setting(desk.db, ROOT, "concurrency", "none")

    assert one(desk.conn, "select concurrency from automatch.queue_settings") is None


async def test_unknown_setting_is_said_to_be_none(desk: Desk) -> None:
    with pytest.raises(NotFoundError):
        await change_setting(desk.db, ROOT, "threshold", "0.5")
