"""Who asks, found out on the headers alone: one function for each `Access` that needs one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr
from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from automatch.auth.keys import AiKeys, FunctionKeys, check_metrics_token
from automatch.auth.tokens import Tokens, bearer_token
from automatch.errors.auth import TokenMissingError
from automatch.http.declaration import Access
from automatch.http.deps import check_service, person_of
from automatch.model.people import Claims


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    claims: Claims | None
    """None for somebody who is not signed in, where the route allows that."""
    set_cookies: Sequence[str] = ()
    """Cookies that the answer must carry, whatever it is."""


Authenticate = Callable[[Scope], Awaitable[Identity]]
"""Returns who asks, or raises an `AuthError` or a `ForbiddenError`."""


class PageSessions(Protocol):
    """How pages know who asks."""

    async def identify(self, scope: Scope) -> Identity:
        """Return who asks, by the headers alone."""
        ...


def ai_authenticators(
    ai_keys: AiKeys, metrics_token: SecretStr | None
) -> dict[Access, Authenticate]:
    """Return how the AI service alone finds out who asks."""

    async def by_ai_key(scope: Scope) -> Identity:
        claims = await ai_keys.identify(bearer_token(Headers(scope=scope)))
        check_service(claims)
        return Identity(claims)

    async def by_metrics_token(scope: Scope) -> Identity:
        check_metrics_token(metrics_token, Headers(scope=scope))
        return Identity(None)

    async def by_nothing(_: Scope) -> Identity:
        # There are no pages, and an unknown address is answered to anybody.
        return Identity(None)

    return {
        Access.AI_KEY: by_ai_key,
        Access.METRICS_KEY: by_metrics_token,
        Access.PAGE_COOKIE: by_nothing,
    }


def server_authenticators(
    *,
    tokens: Tokens,
    ai_keys: AiKeys,
    function_keys: FunctionKeys,
    pages: PageSessions,
    metrics_token: SecretStr | None,
) -> Mapping[Access, Authenticate]:
    """Return how the whole server finds out who asks."""

    async def by_person(scope: Scope) -> Identity:
        claims = await tokens.identify(bearer_token(Headers(scope=scope)))
        person_of(claims)
        return Identity(claims)

    async def by_person_or_link(scope: Scope) -> Identity:
        try:
            return await by_person(scope)
        except TokenMissingError:
            # The handler checks the signed link, which it alone can.
            if "token" in QueryParams(scope["query_string"]):
                return Identity(None)
            raise

    async def by_service_key(scope: Scope) -> Identity:
        claims = await tokens.identify(bearer_token(Headers(scope=scope)))
        check_service(claims)
        return Identity(claims)

    async def by_function_key(scope: Scope) -> Identity:
        return Identity(await function_keys.identify(Headers(scope=scope)))

    async def by_public_key(scope: Scope) -> Identity:
        key = QueryParams(scope["query_string"]).get("apikey")
        if not key:
            raise TokenMissingError("Send the anon key of the project as `apikey`.")
        return Identity(await tokens.identify(key))

    return {
        **ai_authenticators(ai_keys, metrics_token),
        Access.PERSON: by_person,
        Access.PERSON_OR_LINK: by_person_or_link,
        Access.SERVICE_KEY: by_service_key,
        Access.FUNCTION_KEY: by_function_key,
        Access.PUBLIC_KEY: by_public_key,
        Access.PAGE_COOKIE: pages.identify,
        Access.CONSOLE: pages.identify,
    }
