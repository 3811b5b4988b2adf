"""The choice of a language, for somebody who is signed in and for everybody else."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep, claims_of
from automatch.language.catalogue import LANGUAGES
from automatch.store.people import profiles
from automatch.web.pages import PageRoute, go_to, is_signed_in, read_form, text_of
from automatch.web.session import CookieSession

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_OWN_ADDRESS = re.compile(r"/(?![/\\])[!-\[\]-~]*")


@router.post("/language")
@declare(Access.PAGE_COOKIE)
async def choose_language(request: Request, services: ServicesDep) -> Response:
    """Keep a language in this browser and in the profile; none follows the browser again."""
    form = await read_form(request)
    language = text_of(form, "language") or None
    if language not in {None, *LANGUAGES}:
        raise InputInvalidError("There is no such language.")
    claims = claims_of(request) if is_signed_in(request) else None
    if claims is not None and claims.subject is not None:
        async with services.db.as_user(claims) as conn:
            await profiles.set_language(conn, language)
    to = text_of(form, "to")
    response = go_to(to if _OWN_ADDRESS.fullmatch(to) else "/")
    response.headers.append("set-cookie", CookieSession(services).choose_language(language))
    return response
