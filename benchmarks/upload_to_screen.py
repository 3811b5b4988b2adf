"""Time from the 202 of an upload to the card on both screens, in real browsers.

Starts `automatch up` on an empty data folder, fills the school with simulated people, and lets one
person after the other upload a photo that looks like that of a person who watches. The clock
starts when the uploader's browser has the 202 and stops at the frame after the card is in the
page; all pages run on one machine and so on one clock. A second table has what the jobs tell of
the same way: how long each stage took, until the match was written to the open page.

    .venv/bin/python -m benchmarks.upload_to_screen [--uploads 10] [--people 400]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import skimage.data
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, sync_playwright

from automatch.model.history import Stage, StageTimes
from automatch.ops.bench.usage import describe_machine
from automatch.postgres.addresses import database_address
from automatch.services.operation.overview import merge_stages
from automatch.settings.database import PoolSettings
from automatch.settings.secrets import read
from automatch.settings.settings import Settings
from automatch.store.database import Database
from automatch.store.operation.history import load_history
from tests.support.command import run_command, running_up
from tests.support.postgres import remove_home

_SCHOOL = "UIT"
"""That of a new installation, which everybody may choose."""
_OBSERVE = """
    const open = XMLHttpRequest.prototype.open;
    XMLHttpRequest.prototype.open = function (...args) {
        this.addEventListener("loadend", () => {
            if (this.status === 202) window.accepted = performance.timeOrigin + performance.now();
        });
        return open.apply(this, args);
    };
    window.shown = {};
    const note = (card) => requestAnimationFrame(() => setTimeout(() => {
        const name = card.querySelector("h3, .name")?.textContent ?? card.textContent;
        window.shown[name.trim()] = performance.timeOrigin + performance.now();
    }));
    addEventListener("DOMContentLoaded", () => {
        const cards = document.getElementById("cards");
        if (cards) new MutationObserver((changes) => {
            for (const change of changes) for (const node of change.addedNodes)
                if (node.nodeType === 1 && node.matches(".card")) note(node);
        }).observe(cards, { childList: true });
    });
"""
"""Runs in each page before its own scripts: an empty feed is loaded anew when a photo is done."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=10)
    parser.add_argument("--people", type=int, default=400, help="simulated people in the school")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("This needs chromium: install Debian's package `chromium`.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder) / "data"
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            report(*measure(browser, home, Path(folder), options.uploads, options.people))
        finally:
            browser.close()
            remove_home(home)


def measure(
    browser: Browser, home: Path, folder: Path, uploads: int, people: int
) -> tuple[dict[str, list[float]], Mapping[Stage, StageTimes]]:
    """Return milliseconds on the watcher's and on the uploader's screen, one of each an upload.

    And the stages of all jobs.
    """
    portrait = Image.fromarray(skimage.data.astronaut())
    print(f"filling the school with {people} simulated people", file=sys.stderr)
    run_command(home, "demo", "--people", str(people), "--school", _SCHOOL)
    times: dict[str, list[float]] = {"watcher": [], "uploader": []}
    with running_up(home, settings={"LIMITS__ENABLED": "false"}) as up:
        watcher = join(browser, up.url, "Watcher", "Female")
        # In the mirrored one the default detector looks twice, as in one of five hundred photos.
        upload(watcher, save(folder, "watcher", ImageOps.mirror(portrait)))
        watcher.locator("#jobs [data-announce]:not([data-announce=''])").wait_for()
        for number in range(uploads):
            name = f"Uploader{number}"
            page = join(browser, up.url, name, "Male")
            # Another file each time, as from another camera; the pixels are nearly the same.
            photo = portrait.resize((512 + number, 512 + number))
            upload(page, save(folder, name, photo))
            watcher.wait_for_function(
                "name => Object.keys(window.shown).some(key => key.includes(name))", arg=name
            )
            page.wait_for_function("() => Object.keys(window.shown).length > 0")
            accepted = page.evaluate("window.accepted")
            arrived = watcher.evaluate(
                "name => Object.entries(window.shown).find(([key]) => key.includes(name))[1]", name
            )
            own = page.evaluate("Math.min(...Object.values(window.shown))")
            times["watcher"].append(arrived - accepted)
            times["uploader"].append(own - accepted)
            print(f"upload {number + 1} of {uploads}: {arrived - accepted:.0f} ms", file=sys.stderr)
            page.context.close()
        # Playwright's own loop runs in this thread.
        with ThreadPoolExecutor(1) as thread:
            stages = thread.submit(asyncio.run, read_stages(home)).result()
    return times, stages


async def read_stages(home: Path) -> Mapping[Stage, StageTimes]:
    """Return how long each stage of the jobs took that have ended."""
    address = database_address(Settings(home=home), read(home), "api")
    # What was written to pages is recorded once a second.
    await asyncio.sleep(2)
    async with Database(address, PoolSettings(), name="benchmark") as db, db.connection() as conn:
        return merge_stages(await load_history(conn, 1))


def join(browser: Browser, url: str, name: str, gender: str) -> Page:
    """Create an account through the pages and observe its feed."""
    page = browser.new_context().new_page()
    page.add_init_script(_OBSERVE)
    page.goto(f"{url}/sign-up")
    page.locator("[name=email]").fill(f"{name.lower()}@example.org")
    page.locator("[name=password]").fill("correct horse battery")
    page.locator("main button").click()
    page.locator("[name=name]").fill(name)
    page.locator("[name=school]").select_option(_SCHOOL)
    page.get_by_label(gender, exact=True).check()
    page.locator("[name=birth_date]").fill("2000-02-29")
    page.locator("[name=consent]").check()
    page.get_by_role("button", name="Continue").click()
    page.locator("#live[data-state=live]").wait_for()
    return page


def save(folder: Path, name: str, photo: Image.Image) -> Path:
    """Write a photo as a phone would send it."""
    path = folder / f"{name}.jpg"
    photo.save(path, quality=92)
    return path


def upload(page: Page, photo: Path) -> None:
    """Upload a photo through the page."""
    page.locator("#choose-photo").set_input_files(photo)
    page.get_by_role("button", name="Find my look-alikes").click()


def report(times: dict[str, list[float]], stages: Mapping[Stage, StageTimes]) -> None:
    """Print a table for the README, and one of the stages."""
    print(f"\n{describe_machine()}\n")
    print("| screen | uploads | min | median | max |")
    print("|---|---|---|---|---|")
    for screen, values in times.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"| {screen}'s | {len(values)} | {low:.0f} ms | {middle:.0f} ms | {high:.0f} ms |")
    print("\n| stage | jobs | mean | p50 | p95 |")
    print("|---|---|---|---|---|")
    for stage, each in stages.items():
        found = (each.mean_ms, each.percentile_ms(0.5), each.percentile_ms(0.95))
        cells = " | ".join(f"{value or 0:.1f} ms" for value in found)
        print(f"| {stage} | {each.jobs} | {cells} |")


if __name__ == "__main__":
    main()
