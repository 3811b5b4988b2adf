"""Who asks, as the gate found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection

from automatch.api.services import Services, services_of
from automatch.errors import ForbiddenError, TokenMissingError
from automatch.model import Claims, Role


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


SignedIn = Annotated[Caller, Depends(caller_of)]
Parts = Annotated[Services, Depends(services_of)]
