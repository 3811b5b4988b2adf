"""Draw the icons of the installed app from `mark.svg`: `python -m tools.icons`."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

_STATIC = Path("src/automatch/web/static")
_PAPER = "#fcfafa"
# Of a maskable icon only a circle of 80 % is sure to be seen; iOS makes what is transparent black.
_ICONS = {
    "192": (192, 1.0, "transparent"),
    "512": (512, 1.0, "transparent"),
    "maskable": (512, 0.66, _PAPER),
    "apple-touch": (180, 0.76, _PAPER),
}


def draw() -> None:
    """Write each icon as a PNG."""
    mark = (_STATIC / "mark.svg").read_text()
    (_STATIC / "icons").mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, (side, share, ground) in _ICONS.items():
            page = browser.new_page(viewport={"width": side, "height": side})
            page.set_content(
                f"<style>body {{ margin: 0; height: 100vh; display: grid; place-items: center; "
                f"background: {ground} }} svg {{ width: {share * 100}vw }}</style>{mark}"
            )
            path = _STATIC / "icons" / f"{name}.png"
            page.screenshot(path=path, omit_background=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    draw()
