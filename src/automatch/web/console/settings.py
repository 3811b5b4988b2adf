"""The console's page of the settings that live in the database, and of those that do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import Services, ServicesDep
from automatch.model.operators import Operator
from automatch.services.operation.database_settings import (
    SettingValue,
    change_setting,
    find_setting,
    list_settings,
)
from automatch.services.operators.acts import Act
from automatch.web.console.frame import ConsolePage, ConsoleRoute, MeDep, show
from automatch.web.pages import read_form, text_of
from automatch.web.templating import Problem

router = APIRouter(prefix="/admin/settings", route_class=ConsoleRoute, include_in_schema=False)

_FIXED = {"retention": "How long things are kept", "limits": "How much one person may do"}


@dataclass(frozen=True, slots=True)
class FixedSetting:
    """A setting of the environment, which a page cannot change."""

    variable: str
    description: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsPage(ConsolePage):
    """All settings with their values."""

    template: ClassVar[str] = "console/settings.html"
    section: ClassVar[str] = "settings"
    title: str = "Settings"
    values: Sequence[SettingValue]
    fixed: Sequence[tuple[str, Sequence[FixedSetting]]]
    typed: str = ""
    """What was typed for the setting that *problem* names."""

    @property
    def groups(self) -> list[tuple[str, list[SettingValue]]]:
        """The settings of the database, in groups."""
        return [
            (group, list(values))
            for group, values in groupby(self.values, lambda each: each.setting.group)
        ]


@router.get("")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def show_settings(me: MeDep, services: ServicesDep) -> Response:
    """Show all settings."""
    return show(await _page(me, services))


@router.post("/{name}")
@declare(Access.CONSOLE, act=Act.CHANGE_SETTING)
async def set_value(name: str, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Change one, and say what happens."""
    typed = text_of(await read_form(request), "value")[:40]
    setting = find_setting(name)
    try:
        before = await change_setting(services.db, me, name, typed)
    except InputInvalidError as exc:
        problem = Problem(exc.code, exc.message, name)
        return show(replace(await _page(me, services), problem=problem, typed=typed), exc)
    now = setting.show(setting.parse(typed))
    notice = f"“{setting.title}” is {now}; it was {before.shown}."
    return show(replace(await _page(me, services), notice=notice))


async def _page(me: Operator, services: Services) -> SettingsPage:
    return SettingsPage(
        me=me,
        values=await list_settings(services.db, me),
        fixed=[(title, _fixed(services, group)) for group, title in _FIXED.items()],
    )


def _fixed(services: Services, group: str) -> list[FixedSetting]:
    settings = getattr(services.settings, group)
    return [
        FixedSetting(
            f"AUTOMATCH_{group}__{name}".upper(),
            field.description or "",
            str(getattr(settings, name)),
        )
        for name, field in type(settings).model_fields.items()
    ]
