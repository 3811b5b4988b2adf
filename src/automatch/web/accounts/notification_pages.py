"""Notifications: what a person is told, on which device, and by mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import CallerDep, ServicesDep
from automatch.services.accounts.notifications import Device, NotificationChoices
from automatch.web.language import gettext as _
from automatch.web.language import text_field
from automatch.web.pages import PageRoute, go_to, is_signed_in, read_form, show, text_of
from automatch.web.templating import Page

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsPage(Page):
    """The choices of a person."""

    template: ClassVar[str] = "notifications.html"
    section: ClassVar[str] = "profile"
    title: str = text_field("Notifications")
    signed_in: bool = True
    notifications: NotificationChoices


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribePage(Page):
    """What the link in a mail leads to: one question, or that it is done."""

    template: ClassVar[str] = "unsubscribe.html"
    title: str = text_field("Stop e-mails about look-alikes")
    token: str = ""
    """Empty once it is done."""


@router.get("/notifications")
@declare(Access.PAGE_COOKIE)
async def choices(caller: CallerDep, services: ServicesDep, done: str = "") -> Response:
    """Show what the person is told, and how."""
    notice = _("Saved.") if done else None
    found = await services.notifications.load(caller.claims)
    return show(NotificationsPage(notifications=found, notice=notice, person_id=caller.id))


@router.post("/notifications/digest")
@declare(Access.PAGE_COOKIE)
async def set_digest(request: Request, caller: CallerDep, services: ServicesDep) -> Response:
    """Save how often the person gets mail."""
    await services.notifications.set_digest(
        caller.claims, text_of(await read_form(request), "digest")
    )
    return go_to("/notifications?done=saved")


@router.post("/notifications/devices")
@declare(Access.PAGE_COOKIE)
async def add_device(request: Request, caller: CallerDep, services: ServicesDep) -> Response:
    """Tell the person on this device; sent by a script."""
    await services.notifications.add_device(caller.claims, await _read_device(request))
    return Response(status_code=204)


@router.post("/notifications/devices/forget")
@declare(Access.PAGE_COOKIE)
async def forget_device(request: Request, caller: CallerDep, services: ServicesDep) -> Response:
    """Tell the person on this device no more; sent by a script."""
    device = await _read_device(request)
    await services.notifications.remove_device(caller.claims, device.endpoint)
    return Response(status_code=204)


@router.get("/notifications/unsubscribe")
@declare(Access.PAGE_COOKIE)
async def ask_to_unsubscribe(request: Request, token: str = "") -> Response:
    """Ask once more: programs that check the links of a mail open them, too."""
    return show(UnsubscribePage(token=token, signed_in=is_signed_in(request)))


@router.post("/notifications/unsubscribe")
@declare(Access.PAGE_COOKIE)
async def unsubscribe(request: Request, services: ServicesDep, token: str = "") -> Response:
    """End the mails of a person, by the button of a mail program or of the page (RFC 8058)."""
    await services.notifications.end_digest(token)
    return show(UnsubscribePage(signed_in=is_signed_in(request)))


async def _read_device(request: Request) -> Device:
    try:
        return Device.model_validate_json(await request.body())
    except ValidationError as exc:
        raise InputInvalidError("Notifications of this browser are not supported here.") from exc
