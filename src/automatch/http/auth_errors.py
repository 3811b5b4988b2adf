"""Errors of `/auth/v1` as supabase clients read them, beside the one shape of ours.

Those clients look for `msg` and `error_code` at the top of the body, and treat some codes in a way
of their own: a password that is weak, for one.
"""

from __future__ import annotations

from typing import Any

PATH = "/auth/v1/"

_CODES = {
    "credentials_invalid": "invalid_credentials",
    "email_taken": "user_already_exists",
    "password_weak": "weak_password",
    "token_missing": "no_authorization",
    "token_invalid": "bad_jwt",
    "token_expired": "bad_jwt",
    "forbidden": "no_authorization",
    "input_invalid": "validation_failed",
    "body_malformed": "bad_json",
    "internal": "unexpected_failure",
}
"""By our code; where there is none, ours goes out itself."""


def auth_fields(code: str, message: str, status: int) -> dict[str, Any]:
    """Return what the body of an error says besides `error`."""
    fields: dict[str, Any] = {"code": status, "error_code": _CODES.get(code, code), "msg": message}
    if code == "password_weak":
        fields["weak_password"] = {"reasons": ["length"]}
    return fields
