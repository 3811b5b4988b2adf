"""`/auth/v1`: sign-up, sign-in, refresh, user and sign-out, in the form supabase clients speak."""

from __future__ import annotations

import time
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from automatch.api.accounts import Session
from automatch.api.caller import Parts, person_of
from automatch.api.texts import Text
from automatch.api.tokens import bearer_token
from automatch.errors import InputInvalidError
from automatch.model import Claims, User

router = APIRouter(prefix="/auth/v1", tags=["auth"])


class _Body(BaseModel):
    # Clients of other versions send fields of their own; those are no reason to refuse.
    model_config = ConfigDict(extra="ignore")


class SignUp(_Body):
    """Who wants an account."""

    email: Text
    password: Text
    data: dict[str, Any] = Field(default_factory=dict)


class Grant(_Body):
    """Either e-mail and password, or a refresh token."""

    email: Text | None = None
    password: Text | None = None
    refresh_token: Text | None = None


@router.post("/signup", summary="Create an account")
async def sign_up(body: SignUp, services: Parts) -> dict[str, Any]:
    """Create an account and sign in at once."""
    return _told(await services.accounts.sign_up(body.email, body.password, body.data))


@router.post("/token", summary="Sign in, or refresh")
async def token(
    body: Grant, services: Parts, grant_type: Literal["password", "refresh_token"] = "password"
) -> dict[str, Any]:
    """Exchange a password or a refresh token for an access token."""
    if grant_type == "password":
        if body.email is None or body.password is None:
            raise InputInvalidError("Send `email` and `password`.")
        return _told(await services.accounts.sign_in(body.email, body.password))
    if body.refresh_token is None:
        raise InputInvalidError("Send `refresh_token`.")
    return _told(await services.accounts.refresh(body.refresh_token))


@router.get("/user", summary="Who is signed in")
async def user(request: Request, services: Parts) -> dict[str, Any]:
    """Return the account of the access token, while its session lives."""
    return _told_user(await services.accounts.load_user(_bearer(request, services)))


@router.post("/logout", status_code=204, summary="Sign out")
async def sign_out(request: Request, services: Parts) -> Response:
    """End the session of the access token: it can't be refreshed any more."""
    await services.accounts.sign_out(_bearer(request, services))
    return Response(status_code=204)


def _bearer(request: Request, services: Parts) -> Claims:
    return person_of(services.tokens.verify(bearer_token(request.headers))).claims


def _told(session: Session) -> dict[str, Any]:
    return {
        "access_token": session.access_token,
        "token_type": "bearer",
        "expires_in": session.expires_in,
        "expires_at": int(time.time()) + session.expires_in,
        "refresh_token": session.refresh_token,
        "user": _told_user(session.user),
    }


def _told_user(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "aud": "authenticated",
        "role": "authenticated",
        "email": user.email,
        "phone": "",
        "app_metadata": user.app_metadata,
        "user_metadata": user.user_metadata,
        "created_at": user.created_at.isoformat(),
        "last_sign_in_at": user.last_sign_in_at.isoformat() if user.last_sign_in_at else None,
    }
