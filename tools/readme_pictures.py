"""Make the README's pictures and its recorded terminal: `make pictures`.

Starts an installation of its own with the people of the demo, joins it in a browser with a drawn
portrait, and takes the pictures when the cards have arrived. Everybody in them is drawn.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console
from rich.text import Text

from automatch.demo.portraits import read_portrait
from automatch.model.people import Gender

IMAGES = Path(__file__).parents[1] / "docs" / "images"

_OWN_PORTRAIT = 93
"""In which the detectors find a face without doubt."""
_COLUMNS = 100
_PATIENCE_MS = 120_000
_ENDED_S = 60
_PHONE = {"width": 375, "height": 812}
_DESKTOP = {"width": 1280, "height": 800}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Terminal:
    """Commands with what they print, in an installation of its own."""

    home: Path
    recorded: list[str] = field(default_factory=list)

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"AUTOMATCH_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "100"}

    def run(self, shown: str, *arguments: str) -> None:
        """Run `automatch` to its end, and record it as the command *shown*."""
        done = subprocess.run(
            [sys.executable, "-m", "automatch", *arguments],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        )
        self._record(shown, done.stdout)

    @contextmanager
    def running(self, shown: str, *arguments: str) -> Iterator[str]:
        """Run `automatch` during the block; give the address that it prints last."""
        process = subprocess.Popen(
            [sys.executable, "-m", "automatch", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            printed = ""
            for line in process.stdout:
                printed += line
                if found := re.search(r"ready: (http://\S+)", line):
                    self._record(shown, printed)
                    yield found[1]
                    break
            else:
                sys.exit(f"it did not start:\n{printed}")
        finally:
            process.terminate()
            process.communicate(timeout=_ENDED_S)

    def write(self, path: Path) -> None:
        """Write all that was recorded as a picture of a terminal."""
        console = Console(record=True, width=_COLUMNS, file=io.StringIO())
        for line in self.recorded:
            console.print(Text(line, style="bold" if line.startswith("$ ") else ""))
        console.save_svg(str(path), title="Auto-Match")

    def _record(self, shown: str, printed: str) -> None:
        lines = (_COLOURS.sub("", line).rstrip() for line in printed.splitlines())
        told = [line for line in lines if line and not re.match(r"\d{4}-\d\d-\d\d", line)]
        home = str(self.home)
        self.recorded += [f"$ {shown}", *(line.replace(home, "~/automatch") for line in told), ""]


def join(browser: Browser, url: str, folder: Path) -> Page:
    """Sign up as a student and add a photo; return the feed once it has look-alikes."""
    page = browser.new_context(viewport=_PHONE, device_scale_factor=2).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    page.goto(f"{url}/sign-up")
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill("linh@example.org")
    page.get_by_label(re.compile("password", re.IGNORECASE)).fill("a drawn portrait 93")
    page.get_by_role("button", name=re.compile("create", re.IGNORECASE)).click()
    page.get_by_label("Name", exact=True).fill("Linh")
    page.get_by_role("combobox", name="School").select_option("UIT")
    page.get_by_label("Female", exact=True).check()
    page.get_by_label("Birth date").fill("2004-02-29")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Continue").click()
    photo = folder / "photo.jpg"
    photo.write_bytes(read_portrait(Gender.FEMALE, _OWN_PORTRAIT))
    page.locator("#choose-photo").set_input_files(photo)
    page.get_by_role("button", name="Find my look-alikes").click()
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
        terminal = Terminal(Path(folder) / "home")
        with terminal.running("make run", "up", "--port", "0") as url:
            terminal.run("make demo", "demo", "--join-every", "0.1")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            take(join(browser, url, Path(folder)), url)
            browser.close()
        terminal.write(IMAGES / "terminal.svg")


if __name__ == "__main__":
    main()
