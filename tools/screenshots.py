"""Take a picture of every page and state of students, to be looked at one by one.

On a phone and on a desktop, light and dark, in every language, with drawn faces; and a sheet of all
pictures of a kind. `make screenshots` calls it.

    .venv/bin/python -m tools.screenshots [--only WORD] [--view WORD] [--into FOLDER]
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from automatch.language.catalogue import LANGUAGES, speaking
from automatch.model.notices import SiteOperator
from automatch.web.templating import Page, build_templates, render_page
from tests.support import pages
from tests.support.page_server import address_of, serving_pages

_WIDTHS = {"phone": 375, "desktop": 1280}
_HEIGHT = 812
_SHEET_WIDTH = 2000
_ON_A_SHEET = 15
_LOAD_PHOTOS = """Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode().catch(() => {});
}))"""
_OPERATOR = SiteOperator("Students' union of UIT", "look-alikes@example.org", None)


@dataclass(frozen=True)
class View:
    """How a page is looked at."""

    language: str
    device: str
    scheme: str

    def __str__(self) -> str:
        return f"{self.language}-{self.device}-{self.scheme}"


def take(browser: Browser, view: View, only: str, folder: Path) -> Iterator[Path]:
    """Take the pictures of a view; yield the path of each."""
    with speaking(view.language):
        # View models hold texts, in the language they were made in.
        shown: dict[str, Page] = importlib.reload(pages).PAGES
    templates = build_templates()

    def render(name: str) -> str | None:
        with speaking(view.language):
            page = shown.get(name)
            return render_page(templates, page, _OPERATOR) if page else None

    context = browser.new_context(
        viewport={"width": _WIDTHS[view.device], "height": _HEIGHT},
        color_scheme=view.scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    tab = context.new_page()
    with serving_pages(render) as base:
        for name in shown:
            if name.startswith("console") or only not in name:
                continue
            tab.goto(address_of(base, name))
            path = folder / f"{re.sub(r'[^a-z0-9]+', '-', name)}--{view}.png"
            for _ in range(2):
                # What sticks to the bottom of the screen is at the bottom of the picture then;
                # twice, because some spaces grow with the screen.
                height = max(tab.evaluate("document.documentElement.scrollHeight"), _HEIGHT)
                tab.set_viewport_size({"width": _WIDTHS[view.device], "height": height})
            tab.evaluate(_LOAD_PHOTOS)
            tab.screenshot(path=path)
            tab.set_viewport_size({"width": _WIDTHS[view.device], "height": _HEIGHT})
            yield path
    context.close()


def write_sheet(pictures: list[Path], path: Path) -> None:
    """Put pictures of one view on one sheet, each cut off below two screens."""
    small = []
    for picture in pictures:
        image = Image.open(picture).convert("RGB")
        image = image.crop((0, 0, image.width, min(image.height, 2 * _HEIGHT)))
        small.append(image.resize((image.width // 2, image.height // 2)))
    columns = max(1, _SHEET_WIDTH // (small[0].width + 8))
    rows = [small[at : at + columns] for at in range(0, len(small), columns)]
    height = sum(max(image.height for image in row) + 8 for row in rows)
    sheet = Image.new("RGB", (columns * (small[0].width + 8), height), "gray")
    top = 0
    for row in rows:
        for column, image in enumerate(row):
            sheet.paste(image, (column * (image.width + 8), top))
        top += max(image.height for image in row) + 8
    sheet.save(path)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="pages whose name has this word")
    parser.add_argument("--view", default="", help="views with this word, such as vi-phone")
    parser.add_argument("--into", default=os.environ.get("AUTOMATCH_SCREENSHOTS", "screenshots"))
    options = parser.parse_args()
    folder = Path(options.into)
    folder.mkdir(exist_ok=True, parents=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for view in map(View, *zip(*product(LANGUAGES, _WIDTHS, ("light", "dark")), strict=True)):
            if options.view not in str(view):
                continue
            pictures = list(take(browser, view, options.only, folder))
            for at in range(0, len(pictures), _ON_A_SHEET):
                some = pictures[at : at + _ON_A_SHEET]
                write_sheet(some, folder / f"sheet--{view}-{at // _ON_A_SHEET + 1}.png")
            print(f"{view}: {len(pictures)} pictures")
        browser.close()


if __name__ == "__main__":
    main()
