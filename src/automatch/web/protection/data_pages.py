"""Pages about one's own data: seeing it, taking it along, withdrawing, and leaving."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from automatch.errors import AutomatchError
from automatch.errors.auth import CredentialsInvalidError, TokenInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import AddressDep, CallerDep, ServicesDep
from automatch.http.export import send_export
from automatch.services.accounts.rate_limits import Limit
from automatch.store.people import profiles
from automatch.web.language import gettext as _
from automatch.web.pages import PageRoute, go_to, read_form, show, text_of
from automatch.web.protection.data_views import (
    AccountDeletedPage,
    DeleteAccountPage,
    WithdrawConsentPage,
    YourDataPage,
    list_retention,
)
from automatch.web.refusals import describe
from automatch.web.session import CookieSession
from automatch.web.templating import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_DELETE = "delete account"


@router.get("/account/data")
@declare(Access.PAGE_COOKIE)
async def your_data(caller: CallerDep, services: ServicesDep) -> Response:
    """Show what is kept about the person and how long, and offer a copy."""
    del caller
    settings = services.settings
    return show(
        YourDataPage(
            retention=list_retention(settings.retention, settings.auth.refresh_token_s),
        )
    )


@router.get("/account/export")
@declare(Access.PAGE_COOKIE, limits=(Limit.EXPORTS,))
async def export(caller: CallerDep, services: ServicesDep) -> Response:
    """Send everything that is kept about the person."""
    return await send_export(caller, services)


@router.get("/consent/withdraw")
@declare(Access.PAGE_COOKIE)
async def ask_to_withdraw(caller: CallerDep) -> Response:
    """Say what goes with the consent, and offer a copy."""
    del caller
    return show(WithdrawConsentPage())


@router.post("/consent/withdraw")
@declare(Access.PAGE_COOKIE)
async def withdraw_consent(caller: CallerDep, services: ServicesDep) -> Response:
    """Withdraw the consent, which deletes photos and matches."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.record_consent(conn, granted=False, version=None)
    return go_to("/profile/consent?done=withdrawn")


@router.get("/account/delete")
@declare(Access.PAGE_COOKIE)
async def ask_to_delete(caller: CallerDep, services: ServicesDep) -> Response:
    """Say what goes with the account, offer a copy, and ask for the password."""
    user = await services.accounts.load_user(caller.claims)
    return show(DeleteAccountPage(email=user.email))


@router.post("/account/delete")
@declare(Access.PAGE_COOKIE)
async def check_before_deleting(
    request: Request, caller: CallerDep, address: AddressDep, services: ServicesDep
) -> Response:
    """Check the password and ask once more."""
    form = await read_form(request)
    user = await services.accounts.load_user(caller.claims)
    try:
        await services.accounts.check_fresh(user, text_of(form, "password"), address)
    except AutomatchError as exc:
        if isinstance(exc, TokenInvalidError):
            raise
        is_wrong = isinstance(exc, CredentialsInvalidError)
        message = _("That isn't your password.") if is_wrong else describe(exc)
        problem = Problem(exc.code, message, "password")
        return show(DeleteAccountPage(email=user.email, problem=problem), exc)
    confirmation = services.confirmations.sign(_DELETE, caller.claims)
    return show(DeleteAccountPage(email=user.email, confirmation=confirmation))


@router.post("/account/delete/confirm")
@declare(Access.PAGE_COOKIE)
async def delete_account(request: Request, caller: CallerDep, services: ServicesDep) -> Response:
    """Delete the account with all its data, and show the receipt."""
    form = await read_form(request)
    if not services.confirmations.is_valid(text_of(form, "confirmation"), _DELETE, caller.claims):
        return go_to("/account/delete")
    receipt = await services.erasures.erase_own(caller.claims)
    page = AccountDeletedPage(
        receipt=receipt or "", is_mailed=receipt is not None and services.erasures.mails_receipts
    )
    return CookieSession(services).clear(show(page))


@router.post("/account/receipt")
@declare(Access.PAGE_COOKIE)
async def download_receipt(request: Request, services: ServicesDep) -> Response:
    """Send a receipt of ours back as a file: the page that shows it is the only place it is."""
    receipt = text_of(await read_form(request), "receipt").strip()
    services.erasures.receipts.verify(receipt)
    return Response(
        receipt + "\n",
        media_type="application/jose",
        headers={"content-disposition": 'attachment; filename="erasure-receipt.jws"'},
    )
