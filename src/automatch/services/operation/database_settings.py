"""The settings that live in the database: what each means, and changing one.

Those of the environment are read when a server starts, and no page can change them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from automatch.errors.request import InputInvalidError, NotFoundError
from automatch.model.operators import Operator
from automatch.services.operators.acts import Act, authorized, looking_at_system
from automatch.services.protection.duplicates import set_duplicate_matching
from automatch.services.queue.queue import set_concurrency
from automatch.store.database import Database
from automatch.store.operation import database_settings as store

_YES = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting, its bounds, and what a change does."""

    name: str
    group: str
    title: str
    default: Any
    effect: str
    """What happens when it is changed."""
    unit: str = ""
    least: int | None = None
    """Of a number; None of a choice."""
    most: int | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    """What may be chosen, and what that means."""

    def show(self, value: Any) -> str:
        """Return a value as it is typed."""
        if value is None:
            return "none"
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

    @property
    def range(self) -> str:
        """What is accepted, in words."""
        if self.choices:
            return ", ".join(self.choices)
        return f"{self.least} to {self.most}" + (", or none" if self.default is None else "")

    def parse(self, text: str) -> Any:
        """Return the value of what was typed.

        Raises:
            InputInvalidError: it is none of this setting.
        """
        text = text.strip().lower()
        if self.choices:
            if text in self.choices:
                return _YES.get(text, text)
            raise InputInvalidError(f"{self.title}: choose {self.range}.")
        assert self.least is not None
        assert self.most is not None
        if self.default is None and text in {"", "none"}:
            return None
        # Not more digits than any limit has.
        if not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
            raise InputInvalidError(f"{self.title}: give a whole number, {self.range}.")
        if not self.least <= int(text) <= self.most:
            raise InputInvalidError(f"{self.title}: {self.range}.")
        return int(text)


_MAX_DIGITS = 10
_BILLION = 1_000_000_000
_YES_NO = {"yes": "Yes", "no": "No"}

SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "match_count",
            "Matches",
            "Most matches of one search",
            20,
            "Searches from now on keep at most so many people. Matches that exist stay.",
            "people",
            1,
            100,
        ),
        Setting(
            "match_same_person",
            "Matches",
            "Accounts that look like one person match",
            True,
            "With no, their matches leave both feeds at once, except of pairs that were decided to "
            "be two people; with yes, they come back.",
            choices=_YES_NO,
        ),
        Setting(
            "hold_another_person",
            "Photos that wait",
            "Hold a photo of somebody else",
            True,
            "With yes, a photo that shows another person than the first one of its account waits "
            "for a decision. Photos that wait already go on waiting.",
            choices=_YES_NO,
        ),
        Setting(
            "hold_another_account",
            "Photos that wait",
            "Hold a first photo that looks like another account's person",
            "proven",
            "It counts for photos from now on. Photos that wait already go on waiting.",
            choices={
                "never": "Never",
                "proven": "In schools that ask for a proof",
                "always": "In every school",
            },
        ),
        Setting(
            "concurrency",
            "Queue",
            "Most jobs that a worker holds at once",
            None,
            "Each worker follows from its next claim on; none leaves it to the worker's settings.",
            "jobs",
            1,
            100_000,
        ),
        Setting(
            "audit_one_in",
            "Large groups",
            "Searches of which one is checked",
            1000,
            "One search in so many is repeated without an index, to measure what is missed.",
            "searches",
            1,
            _BILLION,
        ),
        Setting(
            "index_from",
            "Large groups",
            "Faces from which a group gets an index",
            50_000,
            "It is built by the next `automatch tune --build`.",
            "faces",
            1,
            _BILLION,
        ),
        Setting(
            "index_until",
            "Large groups",
            "Faces below which a group loses its index",
            35_000,
            "It is dropped by the next `automatch tune --build`.",
            "faces",
            1,
            _BILLION,
        ),
        Setting(
            "most_indexes",
            "Large groups",
            "Most groups that have an index",
            20,
            "More are not built; each takes memory and makes uploads of its group slower.",
            "indexes",
            0,
            10_000,
        ),
        Setting(
            "m",
            "Large groups",
            "Links of a face in an index (m)",
            24,
            "It counts for indexes built from now on: more find more, and take more memory.",
            "links",
            2,
            100,
        ),
        Setting(
            "ef_construction",
            "Large groups",
            "Faces compared while an index is built (ef_construction)",
            128,
            "It counts for indexes built from now on; at least twice m.",
            "faces",
            4,
            1000,
        ),
        Setting(
            "ef_search",
            "Large groups",
            "Faces that a search of an index collects (ef_search)",
            400,
            "The next search follows: more find more, and take longer.",
            "faces",
            100,
            1000,
        ),
    )
}
"""All of them but the threshold, which is tried before it is set."""


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A setting as it is now."""

    setting: Setting
    value: Any

    @property
    def shown(self) -> str:
        """The value as it is typed."""
        return self.setting.show(self.value)


def find_setting(name: str) -> Setting:
    """Return the setting of a name.

    Raises:
        NotFoundError: there is none.
    """
    if name not in SETTINGS:
        raise NotFoundError("There is no such setting; `automatch settings list` shows all.")
    return SETTINGS[name]


async def list_settings(db: Database, operator: Operator) -> list[SettingValue]:
    """Return all settings with their values.

    Raises:
        ForbiddenError: see `looking_at_system`.
    """
    async with looking_at_system(db, operator) as conn:
        values = await store.read_settings(conn)
    return [SettingValue(setting, values[name]) for name, setting in SETTINGS.items()]


async def change_setting(db: Database, operator: Operator, name: str, text: str) -> SettingValue:
    """Change a setting to what was typed; return what it was before.

    Raises:
        NotFoundError: there is no such setting.
        InputInvalidError: the value is none of it, or another setting forbids it.
        ForbiddenError: see `authorized`.
    """
    setting = find_setting(name)
    value = setting.parse(text)
    async with looking_at_system(db, operator) as conn:
        before = (await store.read_settings(conn))[name]
    if name == "match_same_person":
        await set_duplicate_matching(db, operator, value)
    elif name == "concurrency":
        await set_concurrency(db, operator, value)
    else:
        details = {"setting": name, "value": value, "before": before}
        async with authorized(db, operator, Act.CHANGE_SETTING, details=details) as conn:
            await store.change_setting(conn, name, value)
    return SettingValue(setting, before)
