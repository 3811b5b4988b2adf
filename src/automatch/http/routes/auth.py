"""`/auth/v1`: sign-up, sign-in, refresh, user and sign-out, in the form supabase clients speak."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from automatch.errors.auth import CredentialsInvalidError, TokenInvalidError
from automatch.errors.request import (
    EmailTakenError,
    InputInvalidError,
    LinkExpiredError,
    PasswordCommonError,
    PasswordsBusyError,
    PasswordWeakError,
    RateLimitedError,
    ReauthenticationNeededError,
    SignInElsewhereError,
)
from automatch.errors.store import DatabaseUnavailableError
from automatch.http.declaration import Access, DeclaredRoute, declare
from automatch.http.deps import AddressDep, CallerDep, ServicesDep
from automatch.http.responses.accounts import (
    AuthHealthResponse,
    AuthSettingsResponse,
    EmailChangeResponse,
    EmptyResponse,
    SessionResponse,
    UserResponse,
)
from automatch.mail.message import MailKind
from automatch.services.accounts.accounts import SignOutScope
from automatch.services.accounts.rate_limits import Limit
from automatch.services.validators import StorableText

router = APIRouter(prefix="/auth/v1", tags=["auth"], route_class=DeclaredRoute)

_ERRORS = (DatabaseUnavailableError, SignInElsewhereError)
_PASSWORD_ERRORS = (PasswordWeakError, PasswordCommonError, PasswordsBusyError)


class _Form(BaseModel):
    # Clients of other versions send fields of their own, which are no reason to refuse.
    model_config = ConfigDict(extra="ignore")


class SignUpForm(_Form):
    """Who wants an account."""

    email: StorableText
    password: StorableText
    data: dict[str, Any] = Field(default_factory=dict)


class GrantForm(_Form):
    """Either e-mail and password, or a refresh token."""

    email: StorableText | None = None
    password: StorableText | None = None
    refresh_token: StorableText | None = None


class LinkForm(_Form):
    """Who wants a link mailed."""

    email: StorableText


class ResendForm(LinkForm):
    """Which link is to be mailed again."""

    type: Literal["signup", "email_change"]


class VerifyForm(_Form):
    """The token of a mailed link."""

    type: Literal["signup", "invite", "recovery", "magiclink", "email_change", "email"]
    token_hash: StorableText


_KINDS = {
    "signup": [MailKind.SIGN_UP],
    "invite": [MailKind.INVITE],
    "recovery": [MailKind.RECOVERY],
    "magiclink": [MailKind.SIGN_IN],
    "email": [MailKind.SIGN_IN, MailKind.SIGN_UP],
}
"""Of the links that each type of a verification may be of."""


class UserForm(_Form):
    """What is to change about the account."""

    email: StorableText | None = None
    phone: StorableText | None = None
    password: StorableText | None = None
    current_password: StorableText | None = None
    data: dict[str, Any] | None = None


@router.post("/signup", summary="Create an account")
@declare(
    Access.ANYONE,
    limits=(Limit.SIGN_UP,),
    errors=(
        *_ERRORS,
        InputInvalidError,
        EmailTakenError,
        RateLimitedError,
        *_PASSWORD_ERRORS,
    ),
)
async def sign_up(
    form: SignUpForm, address: AddressDep, services: ServicesDep
) -> SessionResponse | UserResponse:
    """Create an account, which a mailed link signs in to; without a mail server, sign in at once.

    Where mail is sent, the answer is the same for an address that has an account.
    """
    if services.mailed_links.sends_mail:
        user = await services.mailed_links.sign_up(
            form.email, form.password, form.data, address=address
        )
        return UserResponse.from_user(user)
    session = await services.accounts.sign_up(form.email, form.password, form.data, address=address)
    return SessionResponse.from_session(session)


@router.post("/token", summary="Sign in, or refresh")
@declare(
    Access.ANYONE,
    errors=(
        *_ERRORS,
        InputInvalidError,
        CredentialsInvalidError,
        TokenInvalidError,
        RateLimitedError,
        PasswordsBusyError,
    ),
)
async def token(
    form: GrantForm,
    address: AddressDep,
    services: ServicesDep,
    grant_type: Literal["password", "refresh_token"] = "password",
) -> SessionResponse:
    """Exchange a password or a refresh token for an access token."""
    if grant_type == "password":
        if form.email is None or form.password is None:
            raise InputInvalidError("Send `email` and `password`.")
        session = await services.accounts.sign_in(form.email, form.password, address=address)
    elif form.refresh_token is None:
        raise InputInvalidError("Send `refresh_token`.")
    else:
        session = await services.accounts.refresh(form.refresh_token, address=address)
    return SessionResponse.from_session(session)


@router.post("/recover", summary="Forgot the password")
@declare(
    Access.ANYONE,
    limits=(Limit.MAILED_LINKS,),
    errors=(*_ERRORS, InputInvalidError, RateLimitedError),
)
async def recover(form: LinkForm, services: ServicesDep) -> EmptyResponse:
    """Mail a link to the address; the answer is the same whether it has an account or not."""
    await services.mailed_links.request(MailKind.RECOVERY, form.email)
    return EmptyResponse()


@router.post("/magiclink", summary="Sign in by mail")
@router.post("/otp", summary="Sign in by mail")
@declare(
    Access.ANYONE,
    limits=(Limit.MAILED_LINKS,),
    errors=(*_ERRORS, InputInvalidError, RateLimitedError),
)
async def mail_sign_in_link(form: LinkForm, services: ServicesDep) -> EmptyResponse:
    """Mail a link to sign in by; no account is made, and the answer is the same without one."""
    await services.mailed_links.request(MailKind.SIGN_IN, form.email)
    return EmptyResponse()


@router.post("/resend", summary="Mail a link again")
@declare(
    Access.ANYONE,
    limits=(Limit.MAILED_LINKS,),
    errors=(*_ERRORS, InputInvalidError, RateLimitedError),
)
async def resend(form: ResendForm, services: ServicesDep) -> EmptyResponse:
    """Mail the link of a new account, or those of a change of its address, to whoever waits."""
    if form.type == "signup":
        await services.mailed_links.request(MailKind.SIGN_UP, form.email)
    else:
        await services.mailed_links.resend_email_change(form.email)
    return EmptyResponse()


@router.post("/verify", summary="Sign in by a mailed link")
@declare(
    Access.ANYONE,
    limits=(Limit.MAILED_LINKS,),
    errors=(*_ERRORS, InputInvalidError, LinkExpiredError),
)
async def verify(form: VerifyForm, services: ServicesDep) -> SessionResponse | EmailChangeResponse:
    """Exchange the `token` of a mailed link, once, for a session that may set a new password.

    It confirms the address. The first of two links for a new one says that the other is left.
    """
    links = services.mailed_links
    if form.type == "email_change":
        session = await links.sign_in_by_email_change(form.token_hash)
        return SessionResponse.from_session(session) if session else EmailChangeResponse()
    return SessionResponse.from_session(await links.sign_in(form.token_hash, *_KINDS[form.type]))


@router.get("/user", summary="Who is signed in")
@declare(Access.PERSON, errors=_ERRORS)
async def read_user(caller: CallerDep, services: ServicesDep) -> UserResponse:
    """Return the account of the access token, as long as its session has not ended."""
    return UserResponse.from_user(await services.accounts.load_user(caller.claims))


@router.put("/user", summary="Change password, e-mail or metadata")
@declare(
    Access.PERSON,
    errors=(
        *_ERRORS,
        InputInvalidError,
        *_PASSWORD_ERRORS,
        ReauthenticationNeededError,
        CredentialsInvalidError,
        RateLimitedError,
    ),
)
async def write_user(
    form: UserForm, caller: CallerDep, address: AddressDep, services: ServicesDep
) -> UserResponse:
    """Change the password, which signs out everywhere else, or merge `data` into the metadata.

    A new `email` is asked about by mail, at both addresses, and nothing else changes with it. Both
    need a sign-in of the last minutes, or `current_password`.
    """
    if form.phone is not None:
        raise InputInvalidError("There are no phone numbers here.")
    if form.email is not None:
        if form.password is not None or form.data is not None:
            raise InputInvalidError("Change `email` in a request of its own.")
        await services.mailed_links.request_email_change(
            caller.claims, form.email, form.current_password, address=address
        )
        return UserResponse.from_user(await services.accounts.load_user(caller.claims))
    user = await services.accounts.update(
        caller.claims,
        password=form.password,
        current_password=form.current_password,
        address=address,
        data=form.data,
    )
    return UserResponse.from_user(user)


@router.post("/logout", status_code=204, summary="Sign out")
@declare(Access.PERSON, errors=(*_ERRORS, InputInvalidError))
async def sign_out(caller: CallerDep, services: ServicesDep, scope: SignOutScope = "local") -> None:
    """End this session, those of all `others`, or both (`global`)."""
    await services.accounts.sign_out(caller.claims, scope)


@router.get("/settings", summary="What sign-in offers")
@declare(Access.ANYONE)
async def read_settings(services: ServicesDep) -> AuthSettingsResponse:
    """Tell clients that there are passwords, and whether a new address is confirmed by mail."""
    return AuthSettingsResponse(mailer_autoconfirm=not services.mailed_links.sends_mail)


@router.get("/health", summary="Whether sign-in answers")
@declare(Access.ANYONE)
async def read_health() -> AuthHealthResponse:
    """Name what answers here."""
    return AuthHealthResponse()
