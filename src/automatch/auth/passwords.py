"""Which passwords are refused: short, blank, common, patterned, or made of one's own address.

As NIST SP 800-63B-4, section 3.1.1.2, asks: a new password is compared with those that are commonly
used or expected, and no rule says which kinds of characters it must have.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files
from itertools import pairwise

from automatch.errors.request import PasswordCommonError, PasswordWeakError

_MIN_CHARS = 8
MAX_CHARS = 200
"""Hashing costs time per byte."""
_MIN_BESIDE_ADDRESS = 6
"""Characters that a password has to have besides one's own address or the name of the service."""
_SERVICE = ("automatch", "auto-match")
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_LOOK_ALIKES = str.maketrans("013457@$!", "oleastasi")
_EDGES = re.compile(r"^[^a-z]+|[^a-z]+$")


def check_password(password: str, email: str) -> None:
    """Return when a person with this address may choose a password.

    Raises:
        PasswordWeakError: it is too short or too long, or nothing but spaces.
        PasswordCommonError: it is easy to guess.
    """
    if not _MIN_CHARS <= len(password) <= MAX_CHARS:
        raise PasswordWeakError
    text = unicodedata.normalize("NFKC", password).casefold()
    if all(unicodedata.category(char)[0] in "ZC" for char in text):
        raise PasswordWeakError("A password cannot be only spaces.", case="spaces")
    unit = _repeated_unit(text)
    if len(unit) < _MIN_CHARS or _is_sequence(unit):
        raise PasswordCommonError(
            "This password repeats or counts up. Choose one that is harder to guess.",
            case="pattern",
        )
    if any(word in _common_words() for word in _readings(unit)):
        raise PasswordCommonError
    address = email.casefold()
    for own in (address, address.partition("@")[0], *_SERVICE):
        if len(own) > 2 and own in text and len(text.replace(own, "")) < _MIN_BESIDE_ADDRESS:
            raise PasswordCommonError(
                "Choose a password that is not made of your e-mail address or our name.",
                case="own_words",
            )


@cache
def _common_words() -> frozenset[str]:
    return frozenset(files(__package__).joinpath("common_passwords.txt").read_text().split())


def _readings(text: str) -> set[str]:
    """Return what a password may stand for: `P@ssw0rd!1` for `password`."""
    inner = _EDGES.sub("", text)
    read = {each.translate(_LOOK_ALIKES) for each in (text, inner)}
    return {text, inner, *read, *(_EDGES.sub("", each) for each in read)}


def _repeated_unit(text: str) -> str:
    """Return the shortest text that gives *text* when it is repeated, the last time cut off."""
    periods = range(1, len(text) // 2 + 1)
    return text[: next((each for each in periods if text[each:] == text[:-each]), len(text))]


def _is_sequence(text: str) -> bool:
    """Tell whether most characters repeat the one before, or are its neighbours in a row."""
    pairs = list(pairwise(text))
    near = sum(a == b or any(a + b in row or b + a in row for row in _ROWS) for a, b in pairs)
    return near >= 0.75 * len(pairs)
