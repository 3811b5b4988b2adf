"""Time of an honest sign-in, alone and while wrong passwords come 200 at a time.

Starts `automatch up` on an empty data folder with the limits as they are by default. The person
has signed in from their address before; the flood comes from the same address.

    .venv/bin/python -m benchmarks.sign_in [--sign-ins 40] [--bad 200]
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

from tests.support.command import running_up
from tests.support.postgres import remove_home

_HONEST = {"email": "linh@example.org", "password": "correct horse battery"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sign-ins", type=int, default=40, help="honest ones in each part")
    parser.add_argument("--bad", type=int, default=200, help="bad ones under way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        try:
            with running_up(home) as up:
                asyncio.run(measure(up.url, options.sign_ins, options.bad))
        finally:
            remove_home(home)


async def measure(url: str, sign_ins: int, bad: int) -> None:
    """Print how long honest sign-ins took, and how the bad ones ended."""
    limits = httpx2.Limits(max_connections=bad)
    async with (
        httpx2.AsyncClient(base_url=url, timeout=60) as honest,
        httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as attacker,
    ):
        (await honest.post("/auth/v1/signup", json=_HONEST)).raise_for_status()
        report("alone", [await sign_in(honest) for _ in range(sign_ins)])
        ended: Counter[int] = Counter()
        serial = itertools.count()

        async def attack() -> None:
            while True:
                form = {"email": f"nobody{next(serial)}@example.org", "password": "a wrong one"}
                answer = await attacker.post("/auth/v1/token", json=form)
                ended[answer.status_code] += 1

        attacks = [asyncio.create_task(attack()) for _ in range(bad)]
        try:
            report(f"beside {bad} bad ones", [await sign_in(honest) for _ in range(sign_ins)])
        finally:
            for task in attacks:
                task.cancel()
            await asyncio.gather(*attacks, return_exceptions=True)
        print(f"bad ones by status: {dict(ended)}")


async def sign_in(client: httpx2.AsyncClient) -> float:
    """Sign in and return the milliseconds that it took."""
    start = time.perf_counter()
    answer = await client.post("/auth/v1/token", json=_HONEST)
    assert answer.status_code == 200, answer.text
    return (time.perf_counter() - start) * 1000


def report(name: str, times: list[float]) -> None:
    """Print a row of the table."""
    print(f"| {name} | {statistics.median(times):.0f} | {max(times):.0f} |")


if __name__ == "__main__":
    main()
