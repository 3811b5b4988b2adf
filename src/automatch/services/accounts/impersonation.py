"""Signing in as somebody else, to help: off by default, and told to the person."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from automatch.errors.request import ForbiddenError, NotFoundError, SignInElsewhereError
from automatch.model.operators import Impersonation, Operator
from automatch.services.operators.acts import Act, authorized
from automatch.store.accounts import accounts, mails
from automatch.store.database import Database
from automatch.store.operators import operators

if TYPE_CHECKING:
    from automatch.auth.tokens import Tokens

_MAIL = "impersonation"


async def impersonate(
    db: Database,
    operator: Operator,
    person_id: UUID,
    reason: str | None,
    *,
    tokens: Tokens,
    is_allowed: bool,
) -> str:
    """Return an access token of somebody, who is told of it.

    It cannot be refreshed, and changes neither password nor address without the current password.

    Raises:
        SignInElsewhereError: people sign in elsewhere.
        ForbiddenError: it is not allowed here, or not to this operator.
        NotFoundError: there is no such person.
        InputInvalidError, ReauthenticationNeededError: see `authorized`.
    """
    if tokens.issuer is not None:
        raise SignInElsewhereError
    if not is_allowed:
        raise ForbiddenError(
            "Nobody signs in as somebody else here. AUTOMATCH_AUTH__ALLOW_IMPERSONATION=true "
            "allows it."
        )
    async with authorized(db, operator, Act.IMPERSONATE, person_id, reason=reason) as conn:
        session_id = await accounts.start_operator_session(conn, person_id)
        user = await accounts.load_session_user(conn, session_id) if session_id else None
        if user is None or session_id is None:
            raise NotFoundError("There is no such account.")
        await mails.enqueue(conn, _MAIL, user.email, person_id)
        return tokens.issue(user, session_id)


async def list_own_impersonations(db: Database, person_id: UUID) -> list[Impersonation]:
    """Return when an operator signed in as the person who asks, and why; newest first."""
    async with db.transaction() as conn:
        return await operators.list_impersonations(conn, person_id)
