"""The profile: one list of subjects, and a page for each."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import ConsentOutdatedError, InputInvalidError, RequestError
from automatch.http.declaration import Access, declare
from automatch.http.deps import Caller, CallerDep, LanguagesDep, Services, ServicesDep
from automatch.model.matches import Share
from automatch.services.accounts.rate_limits import Limit
from automatch.services.operators.roles import is_operator
from automatch.services.people.profiles import load_share, load_shown, record_consent, save_share
from automatch.store.people import profiles
from automatch.web.language import gettext as _
from automatch.web.language import gettext_noop
from automatch.web.pages import PageRoute, go_to, read_form, show, text_of
from automatch.web.people.profile_views import (
    CardPreviewPage,
    ConsentPage,
    HiddenPeoplePage,
    LanguagePage,
    PhotoViewsPage,
    ProfilePage,
    SharePage,
    VisibilityPage,
)
from automatch.web.templating import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_NOTICES = {
    "saved": gettext_noop("Saved."),
    "answered": gettext_noop("Your answers are saved. To add a photo, agree below."),
    "paused": gettext_noop("You're hidden until you turn this back on."),
    "resumed": gettext_noop("Others can find you again."),
    "withdrawn": gettext_noop(
        "You've withdrawn your consent. Your photos and matches have been deleted."
    ),
}


@router.get("/profile")
@declare(Access.PAGE_COOKIE)
async def profile(caller: CallerDep, services: ServicesDep, done: str = "") -> Response:
    """Show all that a person can look at and change about themselves."""
    leads_to_console = await is_operator(services.db, caller.claims)
    return await _show(ProfilePage, caller, services, done, leads_to_console=leads_to_console)


@router.get("/profile/card")
@declare(Access.PAGE_COOKIE)
async def card(caller: CallerDep, services: ServicesDep) -> Response:
    """Show what others see of the person."""
    return await _show(CardPreviewPage, caller, services)


@router.get("/profile/visibility")
@declare(Access.PAGE_COOKIE)
async def visibility(caller: CallerDep, services: ServicesDep, done: str = "") -> Response:
    """Show whether others find the person."""
    return await _show(VisibilityPage, caller, services, done)


@router.get("/profile/hidden")
@declare(Access.PAGE_COOKIE)
async def hidden(caller: CallerDep, services: ServicesDep) -> Response:
    """Show whom the person hides."""
    return await _show(HiddenPeoplePage, caller, services)


@router.get("/profile/views")
@declare(Access.PAGE_COOKIE)
async def views(caller: CallerDep, services: ServicesDep) -> Response:
    """Show how many people saw the person's photos."""
    return await _show(PhotoViewsPage, caller, services)


@router.get("/profile/language")
@declare(Access.PAGE_COOKIE)
async def language(caller: CallerDep, services: ServicesDep) -> Response:
    """Show the language of the person's pages and mails."""
    return await _show(LanguagePage, caller, services)


@router.get("/profile/consent")
@declare(Access.PAGE_COOKIE)
async def consent(
    caller: CallerDep, services: ServicesDep, languages: LanguagesDep, done: str = ""
) -> Response:
    """Show what the person agreed to."""
    return await _show_consent(caller, services, languages, done)


@router.post("/profile/consent")
@declare(Access.PAGE_COOKIE, limits=(Limit.SEARCHES,))
async def agree(
    request: Request, caller: CallerDep, services: ServicesDep, languages: LanguagesDep
) -> Response:
    """Record that the person agrees to the text they read."""
    version = text_of(await read_form(request), "consent")
    try:
        if not version:
            return await _show_consent(caller, services, languages, refused=InputInvalidError())
        await record_consent(services.db, caller.claims, granted=True, version=version)
    except ConsentOutdatedError as exc:
        return await _show_consent(caller, services, languages, refused=exc)
    return go_to("/feed")


@router.get("/profile/share")
@declare(Access.PAGE_COOKIE)
async def share(caller: CallerDep, services: ServicesDep, done: str = "") -> Response:
    """Show what the person shares, to change it."""
    own = await load_share(services.db, caller.claims)
    return show(
        SharePage(
            person_id=caller.id,
            sentence=own.sentence or "",
            handle=own.handle or "",
            notice=_notice(done),
        )
    )


@router.post("/profile/share")
@declare(Access.PAGE_COOKIE)
async def change_share(request: Request, caller: CallerDep, services: ServicesDep) -> Response:
    """Change what the person shares."""
    form = await read_form(request)
    own = Share(text_of(form, "sentence"), text_of(form, "handle"))
    try:
        await save_share(services.db, caller.claims, own)
    except InputInvalidError as exc:
        page = SharePage(
            person_id=caller.id,
            sentence=own.sentence or "",
            handle=own.handle or "",
            problem=Problem.of(exc, "sentence"),
        )
        return show(page, exc)
    return go_to("/profile/share?done=saved")


@router.post("/pause")
@declare(Access.PAGE_COOKIE)
async def pause(caller: CallerDep, services: ServicesDep) -> Response:
    """Hide from the feeds of others, without deleting anything."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.set_discoverable(conn, False)
    return go_to("/profile/visibility?done=paused")


@router.post("/resume")
@declare(Access.PAGE_COOKIE, limits=(Limit.SEARCHES,))
async def resume(caller: CallerDep, services: ServicesDep) -> Response:
    """Appear in the feeds of others again."""
    async with services.db.as_user(caller.claims) as conn:
        await profiles.set_discoverable(conn, True)
    return go_to("/profile/visibility?done=resumed")


async def _show_consent(
    caller: Caller,
    services: Services,
    languages: Sequence[str],
    done: str = "",
    refused: RequestError | None = None,
) -> Response:
    return await _show(ConsentPage, caller, services, done, languages=languages, refused=refused)


async def _show(
    kind: type[ProfilePage],
    caller: Caller,
    services: Services,
    done: str = "",
    *,
    languages: Sequence[str] = (),
    refused: RequestError | None = None,
    leads_to_console: bool = False,
) -> Response:
    shown = await load_shown(services.db, caller.claims, kind.shows, languages)
    if not shown.profile.is_complete:
        return go_to("/onboarding")
    page = kind(
        person_id=caller.id,
        uploads_allowed=shown.consent.is_current,
        shown=shown,
        is_operator=leads_to_console,
        notice=_notice(done),
        problem=_problem_of(refused) if refused else None,
    )
    return show(page, refused)


def _problem_of(refused: RequestError) -> Problem:
    if isinstance(refused, InputInvalidError):
        return Problem(refused.code, _("Tick the box if you agree."), "consent")
    return Problem.of(refused, "consent")


def _notice(done: str) -> str | None:
    return _(_NOTICES[done]) if done in _NOTICES else None
