"""Make the README's pictures and its recorded terminal: `make pictures`.

Starts an installation of its own with the people of the demo, joins it in a browser with a drawn
portrait, and takes the pictures when the cards have arrived. Everybody in them is drawn.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console
from rich.text import Text

from automatch.demo.portraits import read_portrait
from automatch.model.people import Gender
from tests.support.browser import sign_up, upload
from tests.support.command import run_command, running_up

IMAGES = Path(__file__).parents[1] / "docs" / "images"

_OWN_PORTRAIT = 93
"""In which the detectors find a face without doubt."""
_COLUMNS = 100
_PATIENCE_MS = 120_000
_PHONE = {"width": 375, "height": 812}
_DESKTOP = {"width": 1280, "height": 800}
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass
class Terminal:
    """Commands with what they printed, as a terminal shows them."""

    home: Path
    lines: list[str] = field(default_factory=list)

    def record(self, command: str, printed: str) -> None:
        """Note a command and what it printed, without its log."""
        told = [line for line in printed.splitlines() if line and not _LOGGED.match(line)]
        self.lines += [f"$ {command}", *told, ""]

    def write(self, path: Path) -> None:
        """Write all of it as a picture."""
        console = Console(record=True, width=_COLUMNS, file=io.StringIO())
        for line in self.lines:
            shown = line.replace(str(self.home), "~/automatch")
            console.print(Text(shown, style="bold" if line.startswith("$ ") else ""))
        console.save_svg(str(path), title="Auto-Match")


def join(browser: Browser, url: str, folder: Path) -> Page:
    """Sign up as a student and add a photo; return the feed once it has look-alikes."""
    page = browser.new_context(viewport=_PHONE, device_scale_factor=2).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    sign_up(page, url, email="linh@example.org", name="Linh", gender="Female", school="UIT")
    photo = folder / "photo.jpg"
    photo.write_bytes(read_portrait(Gender.FEMALE, _OWN_PORTRAIT))
    upload(page, photo)
    expect(page.locator("#cards li").nth(5)).to_be_visible()
    return page


def shoot(page: Page, name: str) -> None:
    """Take a picture of the screen, in few colours so that it stays small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def take(page: Page, url: str) -> None:
    """Take the pictures of the feed and of a comparison."""
    page.goto(f"{url}/feed?sort=best")
    page.wait_for_load_state("networkidle")
    shoot(page, "feed-phone.png")
    page.locator("#cards li a").first.click()
    page.wait_for_load_state("networkidle")
    shoot(page, "match-phone.png")
    page.set_viewport_size(_DESKTOP)  # type: ignore[arg-type]
    page.goto(f"{url}/feed?sort=best")
    page.wait_for_load_state("networkidle")
    shoot(page, "feed.png")


def main() -> None:
    """Make all pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder) / "home"
        terminal = Terminal(home)
        with running_up(home) as up:
            terminal.record("make run", "".join(up.lines))
            filled = run_command(home, "demo", "--join-every", "0.1")
            terminal.record("make demo", filled.stdout)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            take(join(browser, up.url, Path(folder)), up.url)
            browser.close()
        terminal.write(IMAGES / "terminal.svg")


if __name__ == "__main__":
    main()
