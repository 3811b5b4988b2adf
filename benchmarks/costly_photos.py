"""How long an honest first photo waits behind ten accounts with files that cost much to decode.

Starts `automatch up` on an empty data folder. In each round ten new people upload a file of one
kind each, then one more person a first photo of 12 megapixels; all go to the same school. Printed
is the time from that person's 202 to the end of their job.

    .venv/bin/python -m benchmarks.costly_photos [--rounds 3] [--accounts 10]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2
from PIL import Image

from benchmarks.joining import join
from tests.support.command import running_up
from tests.support.photos import astronaut, encode, png_chunk, with_scans
from tests.support.postgres import remove_home
from tests.support.tiled_heic import tiled_heic

_POLL_S = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind of file")
    parser.add_argument("--accounts", type=int, default=10, help="people who are there before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        try:
            with running_up(home, settings={"LIMITS__ENABLED": "false"}) as up:
                asyncio.run(measure(up.url, options.rounds, options.accounts))
        finally:
            remove_home(home)


def kinds() -> dict[str, bytes | None]:
    """Return a file of each kind; None for nobody before."""
    wide = Image.new("RGB", (8160, 6144), "grey")
    png = encode(astronaut(), "PNG")
    return {
        "nobody": None,
        "photos of 12 megapixels": honest_photo(),
        "HEIC of 49 megapixels": tiled_heic(512, 14, (7000, 7000)),
        "HEIC of tiles that overlap": tiled_heic(2048, 4, (500, 500)),
        "JPEG of 14 scans, 50 megapixels": with_scans(wide, 4),
        "PNG of 50 megapixels": encode(wide, "PNG"),
        "JPEG of 48 scans, 50 megapixels": with_scans(wide, 38),
        "HEIC of 400 tiles that overlap": tiled_heic(2048, 20, (500, 500)),
        "PNG of 500,000 chunks": png[:33] + png_chunk(b"tEXt", b"a\0b") * 500_000 + png[33:],
    }


async def measure(url: str, rounds: int, accounts: int) -> None:
    """Print the waits of each kind, and how they compare with those behind honest photos."""
    async with httpx2.AsyncClient(base_url=url, timeout=120) as client:
        await wait_behind(client, None, 1)
        honest = 0.0
        for name, file in kinds().items():
            found = [await wait_behind(client, file, accounts) for _ in range(rounds)]
            outcomes = sum((outcome for _, outcome in found), Counter[str]())
            median = statistics.median(wait for wait, _ in found)
            if name == "photos of 12 megapixels":
                honest = median
            waits = ", ".join(f"{wait:.2f}" for wait, _ in found)
            ratio = f", {median / honest:.1f} times as long" if honest else ""
            print(f"behind {name}: {waits} s{ratio} ({dict(outcomes)})", flush=True)


async def wait_behind(
    client: httpx2.AsyncClient, file: bytes | None, accounts: int
) -> tuple[float, Counter[str]]:
    """Return the seconds that a first photo waits, and what the files before it were answered."""
    people = [await join_at_last(client) for _ in range(accounts + 1)]
    photo = honest_photo()
    before = []
    if file is not None:
        sent = (upload(client, who, file) for who in people[1:])
        before = await asyncio.gather(*sent)
    told = (await upload(client, people[0], photo)).json()
    began = time.perf_counter()
    await ended(client, people[0], told["job"]["id"])
    wait = time.perf_counter() - began
    outcomes: Counter[str] = Counter()
    for who, answer in zip(people[1:], before, strict=False):
        told = answer.json()
        outcomes[told["error"]["code"] if "error" in told else "accepted"] += 1
        if "face" in told:
            # What is left of this round must not hold up the next one.
            await client.delete(f"/api/faces/{told['face']['id']}", headers=who)
    return wait, outcomes


async def join_at_last(client: httpx2.AsyncClient) -> dict[str, str]:
    """Return the headers of a new person, however busy the machine is."""
    while True:
        try:
            return await join(client)
        except httpx2.HTTPStatusError as exc:
            if exc.response.status_code not in (429, 503):
                raise
            await asyncio.sleep(1)


async def upload(
    client: httpx2.AsyncClient, headers: dict[str, str], photo: bytes
) -> httpx2.Response:
    return await client.post("/api/faces", headers=headers, files={"file": ("a.jpg", photo)})


async def ended(client: httpx2.AsyncClient, headers: dict[str, str], job_id: str) -> None:
    """Wait until a job has ended."""
    while True:
        job = (await client.get(f"/api/jobs/{job_id}", headers=headers)).json()["job"]
        if job["status"] in {"completed", "failed"}:
            return
        await asyncio.sleep(_POLL_S)


def honest_photo() -> bytes:
    """Return a photo of 12 megapixels."""
    return encode(astronaut().resize((3464, 3464)), quality=90)


if __name__ == "__main__":
    main()
