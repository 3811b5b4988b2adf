"""What people may type: text that can be stored and shown, e-mail addresses, profiles."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated

import idna
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

from automatch.errors.request import InputInvalidError
from automatch.model.people import Gender

ADULT_AGE = 18
_ATOM = r"[^\s()<>\[\]:;@\\,\".]+"
_LABEL = r"[^\W_]((?:[^\W_]|-){0,61}[^\W_])?"
_EMAIL = re.compile(rf"(?=.{{1,64}}@){_ATOM}(\.{_ATOM})*@({_LABEL}\.)+{_LABEL}")
"""Without quotes, comments and lists, which would let one text name other mailboxes (RFC 5322)."""
_MAX_EMAIL = 254
_JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian, Hindi and emoji are written."""


def _check_storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise PydanticCustomError("text", "Some characters are not allowed")
    return text


def has_controls(text: str) -> bool:
    """Return whether it has line ends, other control characters, or such as turn its direction."""
    return any(
        unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for char in text
        if char not in _JOINERS
    )


def _check_displayable(text: str) -> str:
    categories = {unicodedata.category(char) for char in text if char not in _JOINERS}
    if has_controls(text):
        raise PydanticCustomError("text", "Some characters are not allowed")
    if not any(category[0] not in "CZ" for category in categories):
        raise PydanticCustomError("text", "Nothing in it can be seen")
    return text


def _check_iso_date(value: object) -> object:
    # Left alone, pydantic takes any number for a count of seconds.
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise PydanticCustomError("date", "Write a date as YYYY-MM-DD")
    return value


StorableText = Annotated[str, AfterValidator(_check_storable)]
PersonName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
    AfterValidator(_check_displayable),
]
SchoolName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=120),
    AfterValidator(_check_displayable),
]
IsoDate = Annotated[date, BeforeValidator(_check_iso_date)]


class ProfileFields(BaseModel):
    """All that a search needs to know about a person."""

    model_config = ConfigDict(extra="forbid")

    name: PersonName
    school: SchoolName
    gender: Gender
    birth_date: IsoDate


def normalize_email(email: str) -> str | None:
    """Return an e-mail address in the one spelling we keep, or None when it is not an address.

    Letters are composed (NFC), and a domain is written with its letters and not as `xn--…`
    (UTS 46), so that two spellings of an address are not two accounts.
    """
    address = unicodedata.normalize("NFC", email.strip()).lower()
    if not (len(address) <= _MAX_EMAIL and _EMAIL.fullmatch(address) and address.isprintable()):
        return None
    # An encoded word stands for other characters in the head of a mail (RFC 2047).
    if "=?" in address:
        return None
    local, _, domain = address.rpartition("@")
    if not domain.isascii() or "xn--" in domain:
        try:
            domain = idna.decode(idna.encode(domain, uts46=True).decode("ascii"))
        except (idna.IDNAError, UnicodeError):
            return None
    return f"{local}@{domain}"


def require_email(email: str) -> str:
    """Return an e-mail address as `normalize_email` does.

    Raises:
        InputInvalidError: it is none.
    """
    address = normalize_email(email)
    if address is None:
        raise InputInvalidError("Give a valid e-mail address.", case="email")
    return address


def is_adult(birth_date: date) -> bool:
    """Tell whether somebody born on this day is 18 years old today, in UTC."""
    return birth_date <= latest_adult_birth_date()


def latest_adult_birth_date() -> date:
    """Return the birth date of somebody who turns 18 today, in UTC."""
    today = datetime.now(UTC).date()
    is_leap_day = (today.month, today.day) == (2, 29)
    return today.replace(year=today.year - ADULT_AGE, day=28 if is_leap_day else today.day)
