"""Gives templates the texts, in the language of whoever they are rendered for."""

from __future__ import annotations

from jinja2 import Environment

from automatch.language.catalogue import current_language, current_texts


def install_texts(templates: Environment) -> None:
    """Let `{% trans %}` and `_()` of an environment, which has `jinja2.ext.i18n`, find the texts.

    White space at the ends of lines is no part of a text. `language()` is the tag, for `lang`.
    """
    templates.policies["ext.i18n.trimmed"] = True
    # Jinja fills in the values by itself, and escapes them.
    templates.install_gettext_callables(  # type: ignore[attr-defined]
        lambda message: current_texts().gettext(message),
        lambda one, other, count: current_texts().ngettext(one, other, count),
        newstyle=True,
        pgettext=lambda context, message: current_texts().pgettext(context, message),
        npgettext=lambda context, one, other, count: current_texts().npgettext(
            context, one, other, count
        ),
    )
    templates.globals["language"] = current_language
