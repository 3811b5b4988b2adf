"""The Jinja templates, the static files, and what every page passes to its template.

Every page's template gets `page`, `operator`, `done` and `address`; the partials that a page shares
with its stream get one `card`, `job` or `empty`. Texts are in the templates and the view models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from automatch.language.catalogue import LANGUAGES
from automatch.language.formats import (
    as_ago,
    as_alternatives,
    as_day,
    as_minute,
    as_number,
    as_percent,
    as_second,
    as_wait,
)
from automatch.language.templates import install_texts
from automatch.web.amounts import as_count, as_duration, as_gib, meaning_of, unit_of, with_code
from automatch.web.language import gettext
from automatch.web.refusals import describe

if TYPE_CHECKING:
    from uuid import UUID

    from automatch.errors import AutomatchError
    from automatch.model.notices import SiteOperator
    from automatch.web.undo import Done

STATIC_FOLDER = Path(__file__).parent / "static"
_TEMPLATE_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a form was refused, shown at the field to correct."""

    code: str
    message: str
    field: str | None = None
    """Name of the form field at fault; None shows the message above the form."""

    @classmethod
    def of(cls, error: AutomatchError, field: str | None = None) -> Self:
        """Return what a form says of an error."""
        return cls(error.code, describe(error), field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the base template needs of every page."""

    template: ClassVar[str]
    section: ClassVar[str] = ""
    """The current entry of the navigation."""
    title: str
    signed_in: bool = False
    """Whether the header offers the feed, the profile and signing out."""
    person_id: UUID | None = None
    """Whose page it is: a photo that the browser keeps is for this person alone."""
    uploads_allowed: bool = False
    """Whether profile and consent allow the person to add photos."""
    new_count: int = 0
    """How many look-alikes the person has not seen yet, as far as this page knows."""
    problem: Problem | None = None
    notice: str | None = None
    """What was just done, shown at the top of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage(Page):
    """An error that belongs to no form."""

    template: ClassVar[str] = "error.html"
    status: int | None
    """The HTTP status; None where it says nothing to a person, as for a link that is too old."""
    message: str
    """What happened and what to do, in one or two sentences."""
    link: tuple[str, str] = field(default_factory=lambda: ("/", gettext("Go to the start page")))
    """Where to go on, as (address, text)."""


def photo_address(face_id: UUID, size: str = "thumb") -> str:
    """Return the address of a face's photo; *size* is `thumb` or `full`."""
    return f"/photos/{face_id}?size={size}"


@cache
def list_drawings(folder: str) -> tuple[str, ...]:
    """Return the names of the pictures that templates include, of `drawings` or `icons`."""
    return tuple(sorted(path.stem for path in (_TEMPLATE_FOLDER / folder).glob("*.svg")))


@cache
def static_version() -> str:
    """Return a hash of all static files, which is part of their addresses."""
    digest = hashlib.sha256()
    for path in sorted(path for path in STATIC_FOLDER.rglob("*") if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def static_address(path: str) -> str:
    """Return the address of a static file; it changes with the content of any of them."""
    return f"/static/{static_version()}/{path}"


def script_texts(texts: Mapping[str, str | Mapping[str, str]]) -> Markup:
    """Return the block out of which `texts.js` takes the texts of a page's scripts.

    A value is a text with `{names}`, or its forms by count: `{"one": …, "other": …}`.
    """
    json_text = json.dumps(texts, ensure_ascii=False).replace("<", "\\u003c")
    return Markup('<script type="application/json" class="texts">{}</script>').format(
        Markup(json_text)  # noqa: S704  nothing in it ends the element
    )


def build_templates() -> Environment:
    """Return the environment of the templates: text is escaped, and an unknown name is an error.

    It has `static(path)` and `photo(face_id)`, which return addresses, the texts of the
    reader's language, and filters for times and numbers.
    """
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    install_texts(templates)
    templates.globals["static"] = static_address
    templates.globals["photo"] = photo_address
    templates.globals["languages"] = LANGUAGES
    templates.globals["script_texts"] = script_texts
    templates.filters["day"] = as_day
    templates.filters["minute"] = as_minute
    templates.filters["second"] = as_second
    templates.filters["percent"] = as_percent
    templates.filters["number"] = as_number
    templates.filters["either"] = as_alternatives
    templates.filters["ago"] = as_ago
    templates.filters["wait"] = as_wait
    templates.filters["duration"] = as_duration
    templates.filters["count"] = as_count
    templates.filters["unit_for"] = unit_of
    templates.filters["gib"] = as_gib
    templates.filters["meaning"] = meaning_of
    templates.filters["with_code"] = with_code
    # So that a block of the console that is rendered alone has them too.
    templates.globals["ui"] = templates.get_template("console/_ui.html").module
    return templates


def render_page(
    templates: Environment,
    page: Page,
    operator: SiteOperator | None = None,
    done: Done | None = None,
    address: str = "/",
) -> str:
    """Return the whole document of a page.

    Args:
        templates: all of them.
        page: what it shows.
        operator: who runs the installation, if that is known.
        done: what the page before has done.
        address: where it can be opened again, in another language for one.
    """
    template = templates.get_template(page.template)
    return template.render(page=page, operator=operator, done=done, address=address)


def render_block(templates: Environment, page: Page, block: str) -> str:
    """Return one block of a page, for a page that is shown and refreshes it."""
    template = templates.get_template(page.template)
    write = template.blocks.get(block)
    values = {"page": page, "operator": None, "done": None, "address": "/"}
    return "".join(write(template.new_context(values))) if write else ""
