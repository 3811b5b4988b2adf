"""Errors of authentication: it is not known who is asking."""

from __future__ import annotations

from automatch.errors.base import AutomatchError


class AuthError(AutomatchError):
    """Sign in first."""

    code = "token_invalid"


class TokenMissingError(AuthError):
    """This needs an access token: send `Authorization: Bearer <token>`."""

    code = "token_missing"


class TokenInvalidError(AuthError):
    """The access token is not valid; sign in again."""

    code = "token_invalid"


class TokenExpiredError(AuthError):
    """The access token has expired; refresh it or sign in again."""

    code = "token_expired"


class CredentialsInvalidError(AuthError):
    """The e-mail address or the password is wrong."""

    code = "credentials_invalid"


class IssuerUnavailableError(AuthError):
    """The keys that tell whether a token is genuine are not to be had; try again in a moment."""

    code = "issuer_unavailable"
    transient = True
