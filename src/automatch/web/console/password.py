"""Where operators enter their password again, before what cannot be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.auth import CredentialsInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import AddressDep, ServicesDep, claims_of
from automatch.web.console.frame import ConsolePage, ConsoleRoute, MeDep, back_of, own_address, show
from automatch.web.pages import go_to, read_form, text_of
from automatch.web.templating import Problem

router = APIRouter(prefix="/admin/password", route_class=ConsoleRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPage(ConsolePage):
    """Asks for the password, and goes on to where it was needed."""

    template: ClassVar[str] = "console/password.html"
    title: str = "Enter your password"
    to: str


@router.get("")
@declare(Access.CONSOLE)
async def password_form(request: Request, me: MeDep, to: str = "") -> Response:
    """Ask for the password, to go on at an address or where the link stands."""
    return show(PasswordPage(me=me, to=own_address(to) if to else back_of(request)))


@router.post("")
@declare(Access.CONSOLE)
async def enter_password(
    request: Request, me: MeDep, address: AddressDep, services: ServicesDep
) -> Response:
    """Note that the password was entered, and go on."""
    form = await read_form(request)
    to = own_address(text_of(form, "to"))
    try:
        await services.accounts.enter_password(
            claims_of(request), text_of(form, "password"), address=address
        )
    except CredentialsInvalidError as exc:
        problem = Problem(exc.code, "That isn't your password.", "password")
        return show(PasswordPage(me=me, to=to, problem=problem), exc)
    return go_to(to)
