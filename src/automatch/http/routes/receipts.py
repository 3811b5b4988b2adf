"""The keys with which anybody checks a receipt of an erasure."""

from __future__ import annotations

from fastapi import APIRouter

from automatch.errors.configuration import SecretsError
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import ServicesDep
from automatch.http.responses.accounts import KeySetResponse

router = APIRouter(tags=["receipts"], route_class=DeclaredRoute)


@router.get("/.well-known/jwks.json", summary="Keys of receipts")
@declare(Access.ANYONE, errors=(SecretsError,))
async def read_keys(services: ServicesDep) -> KeySetResponse:
    """Return the key set (RFC 7517) of the receipts that people get when they are erased."""
    return KeySetResponse.model_validate(services.erasures.receipts.published_keys())
