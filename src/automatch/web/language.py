"""Texts and formats of pages, for view models and handlers: `from … import gettext as _`."""

from automatch.language.catalogue import (
    gettext,
    gettext_noop,
    ngettext,
    npgettext,
    pgettext,
    text_field,
)
from automatch.language.formats import (
    as_ago,
    as_day,
    as_list,
    as_minute,
    as_number,
    as_percent,
    as_seconds,
    as_wait,
)

__all__ = [
    "as_ago",
    "as_day",
    "as_list",
    "as_minute",
    "as_number",
    "as_percent",
    "as_seconds",
    "as_wait",
    "gettext",
    "gettext_noop",
    "ngettext",
    "npgettext",
    "pgettext",
    "text_field",
]
