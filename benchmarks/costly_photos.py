"""How long an honest first photo waits behind ten accounts with files that cost much to decode.

Starts `automatch up` on an empty data folder. In each round ten new people upload a file of one
kind each, then one more person a first photo of 12 megapixels; all go to the same school. Printed
is the time from that person's 202 to the end of their job.

    .venv/bin/python -m benchmarks.costly_photos [--rounds 3] [--accounts 10]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2
from PIL import Image

from benchmarks.held_uploads import join
from tests.support.command import running_up
from tests.support.photos import astronaut, encode, png_chunk, with_scans
from tests.support.postgres import remove_home
from tests.support.tiled_heic import tiled_heic

_POLL_S = 0.02
_numbers = itertools.count()


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
    tokens = [await join_at_last(client) for _ in range(accounts + 1)]
    photo = honest_photo()
    before = []
    if file is not None:
        sent = (upload(client, token, file) for token in tokens[1:])
        before = await asyncio.gather(*sent)
    told = (await upload(client, tokens[0], photo)).json()
    began = time.perf_counter()
    await ended(client, tokens[0], told["job"]["id"])
    wait = time.perf_counter() - began
    outcomes: Counter[str] = Counter()
    for token, answer in zip(tokens[1:], before, strict=False):
        told = answer.json()
        outcomes[told["error"]["code"] if "error" in told else "accepted"] += 1
        if "face" in told:
            # What is left of this round must not hold up the next one.
            headers = {"authorization": f"Bearer {token}"}
            await client.delete(f"/api/faces/{told['face']['id']}", headers=headers)
    return wait, outcomes


async def join_at_last(client: httpx2.AsyncClient) -> str:
    """Create an account, however busy the machine is; return its token."""
    while True:
        try:
            return await join(client, next(_numbers))
        except KeyError:
            await asyncio.sleep(1)


async def upload(client: httpx2.AsyncClient, token: str, photo: bytes) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}"}
    return await client.post("/api/faces", headers=headers, files={"file": ("a.jpg", photo)})


async def ended(client: httpx2.AsyncClient, token: str, job_id: str) -> None:
    """Wait until a job has ended."""
    headers = {"authorization": f"Bearer {token}"}
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
