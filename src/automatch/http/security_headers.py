"""The headers that every answer carries, whoever gives it."""

from __future__ import annotations

from automatch.settings import Settings

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; manifest-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
POLICY_OF_FILES = "default-src 'none'; frame-ancestors 'none'"
"""Of what loads nothing; the policy of pages would be most of a small answer."""
POLICY_WITH_PHOTOS = _CONTENT_SECURITY_POLICY.replace("img-src 'self'", "img-src 'self' data:")
"""Of a page that holds photos itself, because they have no address."""
_HEADERS = {
    "content-security-policy": _CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Answers hold tokens, names and photos; those that may be kept set this themselves.
    "cache-control": "no-store",
}
_HSTS = {"strict-transport-security": "max-age=31536000"}
"""For a year; other names of the domain are not ours to decide for."""


def security_headers(settings: Settings) -> dict[str, str]:
    """Return the headers of every answer; an answer may have values of its own."""
    return _HEADERS | (_HSTS if settings.is_public_https else {})
