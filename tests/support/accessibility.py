"""What axe finds in a page that a browser shows."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import BrowserContext, Page

_AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
_RUN = """async (only) => {
    const options = { resultTypes: ["violations"], preload: false };
    if (only) options.runOnly = { type: "rule", values: only };
    const { violations } = await axe.run(document, options);
    const shown = ({ html, failureSummary }) => `${html.slice(0, 150)} (${failureSummary})`;
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(shown).join("; ")}`);
}"""


def load_axe(context: BrowserContext) -> None:
    """Have axe on every page of a context: it is as large as all else, and is sent once."""
    context.add_init_script(path=_AXE)


def findings(page: Page, *, only: tuple[str, ...] = ()) -> list[str]:
    """Return what axe finds in a page of such a context, by all rules or by a few."""
    return list(page.evaluate(_RUN, list(only) or None))


def findings_in_light_and_dark(page: Page) -> list[str]:
    """Return what axe finds in both, first in that which is on: they differ in colours alone."""
    found = findings(page)
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    page.emulate_media(color_scheme="light" if is_dark else "dark")
    return found + findings(page, only=("color-contrast",))
