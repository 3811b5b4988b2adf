"""Which text a reader gets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from automatch.model.notices import Notice, choose_notice


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        (["en", "vi"], ["vi"], "vi"),
        (["en", "vi"], ["fr", "vi", "en"], "vi"),
        (["vi", "en"], ["fr"], "en"),
        (["vi", "fr"], [], "vi"),
        (["en", "pt-BR"], ["pt"], "pt-BR"),
        (["en", "pt"], ["pt-br", "pt"], "pt"),
        (["en", "zh-Hant", "zh-Hans"], ["zh-hans"], "zh-Hans"),
        (["en", "zh-Hant"], ["zh-hans", "zh"], "zh-Hant"),
    ],
)
def test_first_language_that_there_is_else_english_else_any(
    there: list[str], wanted: list[str], chosen: str
) -> None:
    texts = [Notice(tag, tag, "Text", datetime(2026, 1, 1, tzinfo=UTC)) for tag in there]

    assert choose_notice(texts, wanted).language == chosen
