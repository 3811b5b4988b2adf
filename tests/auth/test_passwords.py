"""Which passwords are refused, and which are not."""

from __future__ import annotations

import pytest

from automatch.auth.passwords import check_password
from automatch.errors.request import PasswordCommonError, PasswordWeakError

EMAIL = "linh.nguyen@example.org"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "another long password",
        "mua xuân về trên phố",
        "vP7#qk2!tz",
        "sunshine over hanoi",
        "linh.nguyen likes tea",
        "abcdefg and then a bit more",
        "🐝🌊🍜🚲🎧🧭🪁🐢",
    ],
)
def test_password_that_is_hard_to_guess_is_taken(password: str) -> None:
    check_password(password, EMAIL)


@pytest.mark.parametrize("password", ["", "short", "x" * 201, " " * 12, "\u3000\u200b\t" * 4])
def test_short_endless_and_blank_passwords_are_refused(password: str) -> None:
    with pytest.raises(PasswordWeakError):
        check_password(password, EMAIL)


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "Password123!",
        "P@ssw0rd",
        "passwordpassword",
        "iloveyou2024",
        "!!sunshine!!",
        "MATKHAU123",
        "qwertyuiop",
        "asdfghjkl",
        "1q2w3e4r",
        "12345678",
        "98765432",
        "123412341234",
        "abcd1234",
        "aaaaaaaaaa",
        "abababab",
        "\uff50\uff41ssword",
        EMAIL,
        "linh.nguyen1",
        "LINH.NGUYEN99",
        "automatch2026",
    ],
)
def test_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(PasswordCommonError):
        check_password(password, EMAIL)
