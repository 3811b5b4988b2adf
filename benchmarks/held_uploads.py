"""Memory of the server while many uploads are held back just before their last byte.

Starts `automatch up` on an empty data folder; each person then sends photos of the largest size but
for the last byte, and waits.

    .venv/bin/python -m benchmarks.held_uploads [--uploads 30] [--people 1]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from pathlib import Path

import httpx2
import psutil

from automatch.settings.server import UploadSettings
from benchmarks.joining import join
from tests.support.command import running_up
from tests.support.postgres import remove_home
from tests.support.raw_http import BOUNDARY, part

_PHOTO = bytes(UploadSettings().max_bytes - 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=30, help="uploads of each person")
    parser.add_argument("--people", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        try:
            with running_up(home, settings={"LIMITS__ENABLED": "false"}) as up:
                server = psutil.Process(up.process.pid)
                asyncio.run(measure(up.url, server, options.people, options.uploads))
        finally:
            remove_home(home)


async def measure(url: str, server: psutil.Process, people: int, uploads: int) -> None:
    """Print the server's memory before, during and after."""
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        headers = [await join(client) for _ in range(people)]
        print(f"before: {resident_mb(server)} MiB")
        begun = [
            asyncio.create_task(hold_back(url, who["authorization"]))
            for who in headers
            for _ in range(uploads)
        ]
        held = await asyncio.gather(*begun)
        print(f"held back: {resident_mb(server)} MiB")
        refused = Counter(answer for answer, _ in held)
        print(f"{refused.pop('', 0)} held, refused: {dict(refused) or 'none'}")
        for _, writer in held:
            writer.transport.abort()
        answer = await client.get("/healthz")
        print(f"afterwards: {resident_mb(server)} MiB, healthz {answer.status_code}")


async def hold_back(url: str, authorization: str) -> tuple[str, asyncio.StreamWriter]:
    """Send an upload but for its last byte; return the status if it was refused, else nothing."""
    address = httpx2.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    body = part('name="file"; filename="a.jpg"', _PHOTO)
    lines = [
        "POST /api/faces HTTP/1.1",
        "Host: localhost",
        f"Authorization: {authorization}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(body) + 1}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = asyncio.create_task(reader.readline())
    try:
        for start in range(0, len(body), 65536):
            writer.write(body[start : start + 65536])
            await writer.drain()
            if answer.done():
                break
        status = await asyncio.wait_for(answer, 3)
    except TimeoutError:
        return "", writer
    except ConnectionError:
        return "connection lost", writer
    return status.decode().split()[1] if status else "connection lost", writer


def resident_mb(server: psutil.Process) -> int:
    """Return the resident memory of the process that receives uploads."""
    return round(server.memory_info().rss / 1024**2)


if __name__ == "__main__":
    main()
