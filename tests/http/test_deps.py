"""What is read from the head of a request."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from automatch.http.deps import languages_of


@pytest.mark.parametrize(
    ("header", "languages"),
    [
        ("", []),
        ("vi", ["vi", "vi"]),
        ("en;q=0.5, vi-VN", ["vi-vn", "vi", "en", "en"]),
        ("en;q=0, *;q=0.1, vi;q=much", ["*", "*"]),
        ("vi;q=nan", []),
        (",".join(["x"] * 1000), ["x"] * 20),
    ],
)
def test_languages_in_the_order_of_preference(header: str, languages: list[str]) -> None:
    scope = {"type": "http", "headers": [(b"accept-language", header.encode())]}

    assert languages_of(Request(scope)) == languages
