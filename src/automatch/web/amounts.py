"""How pages write lengths of time, sizes, and what a code means."""

from __future__ import annotations

from markupsafe import Markup, escape

from automatch.errors import AutomatchError

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_GIB = 1024**3
_GAP = "\N{NO-BREAK SPACE}"
"""A number and its unit stay on one line."""
_ONE = {
    "checks": "check",
    "clients": "client",
    "jobs": "job",
    "jobs measured": "job measured",
    "matches": "match",
    "people": "person",
    "photos": "photo",
    "workers hold them": "worker holds them",
    "hold jobs": "holds jobs",
}


def as_duration(seconds: float | None) -> str:
    """Return a length of time with its unit."""
    if seconds is None:
        return "not yet"
    if seconds < 1:
        return f"{seconds * 1000:.0f}{_GAP}ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f}{_GAP}s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f}{_GAP}min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f}{_GAP}h"
    return f"{seconds / _DAY:.0f}{_GAP}days"


def unit_of(unit: str, count: object) -> str:
    """Return a unit in the plural as it is written behind a count."""
    return _ONE.get(unit, unit) if count in (1, "1") else unit


def as_count(count: int, unit: str) -> str:
    """Return a count with its unit, which is given in the plural."""
    return f"{count:,} {unit_of(unit, count)}"


def as_gib(size: int) -> str:
    """Return a number of bytes in GiB."""
    return f"{size / _GIB:.1f}"


def meaning_of(code: str) -> str:
    """Return what an error code says, in one sentence."""
    kinds: list[type[AutomatchError]] = [AutomatchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = next((kind for kind in kinds if kind.code == code), None)
    if found is None or not found.__doc__ or found is AutomatchError:
        return code
    return " ".join(found.__doc__.strip().split("\n\n")[0].split())


def with_code(text: str) -> Markup:
    """Return a text whose parts in backticks are code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )
