"""`/auth/v1`: sign-up, sign-in, refresh, user and sign-out, in the form supabase clients speak."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from automatch import __version__
from automatch.auth.tokens import bearer_token
from automatch.errors.request import InputInvalidError
from automatch.http.deps import ServicesDep, person_of
from automatch.http.validators import Text
from automatch.model.people import Claims, User
from automatch.services.accounts import Session, SignOutScope

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


class Attributes(_Body):
    """What is to change about the account."""

    email: Text | None = None
    phone: Text | None = None
    password: Text | None = None
    data: dict[str, Any] | None = None


def _bearer(request: Request, services: ServicesDep) -> Claims:
    return person_of(services.tokens.verify(bearer_token(request.headers))).claims


Bearer = Annotated[Claims, Depends(_bearer)]
"""Claims of the person whose token was sent; asked for before what a body says."""


@router.post("/signup", summary="Create an account")
async def sign_up(body: SignUp, services: ServicesDep) -> dict[str, Any]:
    """Create an account and sign in at once."""
    return _told(await services.accounts.sign_up(body.email, body.password, body.data))


@router.post("/token", summary="Sign in, or refresh")
async def token(
    body: Grant,
    services: ServicesDep,
    grant_type: Literal["password", "refresh_token"] = "password",
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
async def user(claims: Bearer, services: ServicesDep) -> dict[str, Any]:
    """Return the account of the access token, while its session lives."""
    return _told_user(await services.accounts.load_user(claims))


@router.put("/user", summary="Change password or metadata")
async def change_user(body: Attributes, claims: Bearer, services: ServicesDep) -> dict[str, Any]:
    """Change the password, which signs out everywhere else, or merge `data` into the metadata."""
    if body.email is not None or body.phone is not None:
        raise InputInvalidError("An e-mail address or phone number cannot be changed here.")
    changed = await services.accounts.update(claims, password=body.password, data=body.data)
    return _told_user(changed)


@router.post("/logout", status_code=204, summary="Sign out")
async def sign_out(
    claims: Bearer, services: ServicesDep, scope: SignOutScope = "local"
) -> Response:
    """End this session, those of all `others`, or both (`global`)."""
    await services.accounts.sign_out(claims, scope)
    return Response(status_code=204)


@router.get("/settings", summary="What sign-in offers")
async def settings() -> dict[str, Any]:
    """Tell clients that there are passwords, and no confirmation by mail."""
    return {
        "external": {"email": True, "phone": False, "anonymous_users": False},
        "disable_signup": False,
        "mailer_autoconfirm": True,
        "phone_autoconfirm": False,
        "saml_enabled": False,
    }


@router.get("/health", summary="Whether sign-in answers")
async def health() -> dict[str, str]:
    """Tell what answers here."""
    return {"name": "Auto-Match", "version": __version__, "description": "Sign-in of Auto-Match"}


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
    created = user.created_at.isoformat()
    signed_in = user.last_sign_in_at.isoformat() if user.last_sign_in_at else None
    return {
        "id": str(user.id),
        "aud": "authenticated",
        "role": "authenticated",
        "email": user.email,
        "email_confirmed_at": created,
        "phone": "",
        "app_metadata": user.app_metadata,
        "user_metadata": user.user_metadata,
        # Clients take an account without any for one that was there already.
        "identities": [
            {
                "id": str(user.id),
                "identity_id": str(user.id),
                "user_id": str(user.id),
                "identity_data": {"sub": str(user.id), "email": user.email},
                "provider": "email",
                "created_at": created,
                "last_sign_in_at": signed_in,
            }
        ],
        "is_anonymous": False,
        "created_at": created,
        "last_sign_in_at": signed_in,
    }
