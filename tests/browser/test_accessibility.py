"""Every page and state of a student, on a phone: axe finds nothing, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from jinja2 import Environment
from playwright.sync_api import Browser, Page, expect

from automatch.web.templating import build_templates, render_page
from tests.support.accessibility import findings_in_light_and_dark, load_axe
from tests.support.browser import PATIENCE_MS
from tests.support.page_server import address_of, serving_pages
from tests.support.pages import PAGES

STUDENTS = [name for name in PAGES if not name.startswith("console")]
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OVERFLOW_OF_LARGE_TEXT = f"""() => {{
    document.documentElement.style.fontSize = "200%";
    return {OVERFLOW};
}}"""
FRAME = ["app_shell.js", "drop.js", "menus.js", "toast.js"]
"""Scripts that only listen: what a page shows is the same before and after them."""
_SHOW = """async ([address, frame]) => {
    const html = await (await fetch(address)).text();
    const shown = new DOMParser().parseFromString(html, "text/html");
    const scripts = [...shown.querySelectorAll("script[src]")].map(({ src }) => src);
    if (!scripts.every((src) => frame.includes(src.split("/").pop()))) return false;
    document.documentElement.replaceWith(document.adoptNode(shown.documentElement));
    const loads = (style) => style.sheet || new Promise((loaded) => { style.onload = loaded; });
    await Promise.all([...document.querySelectorAll("link[rel=stylesheet]")].map(loads));
    await Promise.all([...document.querySelectorAll("img:not([loading=lazy])")].map(
        (picture) => picture.decode()));
    return true;
}"""


@dataclass(frozen=True)
class Phone:
    page: Page
    base: str

    def open(self, name: str) -> Page:
        self.page.goto(address_of(self.base, name))
        return self.page

    def show(self, name: str) -> Page:
        """Put a page in the place of the last one, unless it has scripts of its own.

        To load a page, and axe with it, takes longer than all that axe looks for.
        """
        if self.page.evaluate(_SHOW, [address_of(self.base, name), FRAME]):
            return self.page
        return self.open(name)


@pytest.fixture(scope="module")
def phone(browsers: Callable[[str], Browser]) -> Iterator[Phone]:
    """Give a browser that is shown pages without a server or a database."""
    templates = build_templates()
    context = browsers("chromium").new_context(
        viewport={"width": 375, "height": 812}, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    load_axe(context)
    with serving_pages(lambda name: _render(templates, name)) as base, context:
        phone = Phone(context.new_page(), base)
        phone.open(STUDENTS[0])
        yield phone


def test_axe_finds_nothing_and_nothing_is_cut_off(phone: Phone, subtests: pytest.Subtests) -> None:
    for name in STUDENTS:
        with subtests.test(name):
            page = phone.show(name)
            found = findings_in_light_and_dark(page)
            page.set_viewport_size({"width": 320, "height": 640})
            on_a_small_phone = page.evaluate(OVERFLOW)
            page.set_viewport_size({"width": 375, "height": 812})
            with_large_text = page.evaluate(OVERFLOW_OF_LARGE_TEXT)

            assert found == []
            assert with_large_text <= 0
            assert on_a_small_phone <= 0


def test_escape_closes_what_is_open_and_focus_returns(phone: Phone) -> None:
    page = phone.open("style guide")
    options = page.locator("summary.dots")
    options.press("Enter")
    block = page.get_by_role("button", name="Block Linh")
    expect(block).to_be_visible()
    block.focus()
    page.keyboard.press("Escape")
    expect(block).to_be_hidden()
    expect(options).to_be_focused()

    opener = page.get_by_role("button", name="Open the dialog")
    opener.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(opener).to_be_focused()


def _render(templates: Environment, name: str) -> str | None:
    page = PAGES.get(name)
    return render_page(templates, page) if page else None
