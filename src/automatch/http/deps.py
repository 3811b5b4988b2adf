"""Who asks, as the gate found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header
from starlette.requests import HTTPConnection

from automatch.errors.auth import TokenMissingError
from automatch.errors.request import ForbiddenError, InputInvalidError
from automatch.http.services import Services, services_of
from automatch.model.people import Claims, Role

_MAX_ACTOR = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in person."""

    claims: Claims
    id: UUID


def claims_of(request: HTTPConnection) -> Claims:
    """Return the verified claims of a request.

    Raises:
        TokenMissingError: it has none.
    """
    claims: Claims | None = getattr(request.state, "claims", None)
    if claims is None:
        raise TokenMissingError
    return claims


def caller_of(request: HTTPConnection) -> Caller:
    """Return the signed-in person who asks.

    Raises:
        TokenMissingError: nobody is signed in.
        ForbiddenError: a key of the project was sent, which is nobody's.
    """
    return person_of(claims_of(request))


def person_of(claims: Claims) -> Caller:
    """Return the person that *claims* speak for.

    Raises:
        ForbiddenError: they are those of a key of the project, which is nobody's.
    """
    if claims.role is not Role.AUTHENTICATED or claims.subject is None:
        raise ForbiddenError("This needs the access token of a person, not a key of the project.")
    return Caller(claims, claims.subject)


def check_service(claims: Claims) -> None:
    """Let nobody on but the holder of the project's service key.

    Raises:
        ForbiddenError: it is another key, or the token of a person.
    """
    if claims.role is not Role.SERVICE:
        raise ForbiddenError("This needs the service_role key of the project.")


def operator_of(
    request: HTTPConnection,
    x_actor: Annotated[
        str | None,
        Header(description="Who acts, for the audit log: at most 100 printable characters."),
    ] = None,
) -> str:
    """Return the name under which the holder of the service key acts.

    Raises:
        TokenMissingError: no key was sent.
        ForbiddenError: it is not the service key.
        InputInvalidError: `X-Actor` is nothing to put down.
    """
    check_service(claims_of(request))
    try:
        # Bytes of a header are told as Latin-1, and meant as UTF-8.
        person = (x_actor or "").encode("latin-1").decode().strip()
    except UnicodeError as exc:
        raise InputInvalidError("X-Actor is not UTF-8.") from exc
    if len(person) > _MAX_ACTOR or not person.isprintable():
        raise InputInvalidError(f"X-Actor takes at most {_MAX_ACTOR} printable characters.")
    return f"{Role.SERVICE.value}:{person}" if person else Role.SERVICE.value


CallerDep = Annotated[Caller, Depends(caller_of)]
OperatorDep = Annotated[str, Depends(operator_of)]
ServicesDep = Annotated[Services, Depends(services_of)]
