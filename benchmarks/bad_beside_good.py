"""How much longer honest requests take beside bad ones.

Starts `automatch up` on an empty data folder. People with accounts read their feed, their jobs and
their profile at a steady pace; rounds with and without attackers take turns. An
attacker sends 40 bad requests a second, of every kind that costs a server something: forged
tokens, bodies without a token, forms that are none, files that are no photo, nested JSON, wrong
passwords, heads that never end. What is compared is the 95th percentile of the honest requests.

    .venv/bin/python -m benchmarks.bad_beside_good [--rounds 3] [--seconds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx2

from automatch.ops.bench.usage import describe_machine
from benchmarks.joining import join
from tests.support.command import running_up
from tests.support.photos import astronaut, encode
from tests.support.postgres import remove_home
from tests.support.recovery import percentile

_GOOD_PEOPLE = 4
_BAD_PER_SECOND = 40
_HALF_HEADS = 100
_PAUSE_S = 0.05


async def be_honest(
    client: httpx2.AsyncClient, headers: dict[str, str], until: float
) -> list[float]:
    """Read what a page reads until a time; return the seconds of each request."""
    seconds = []
    for path in itertools.cycle(("/api/matches", "/api/jobs", "/api/profile")):
        began = time.monotonic()
        if began >= until:
            return seconds
        (await client.get(path, headers=headers)).raise_for_status()
        seconds.append(time.monotonic() - began)
        await asyncio.sleep(_PAUSE_S)
    raise AssertionError


def bad_requests(
    client: httpx2.AsyncClient, insider: dict[str, str]
) -> dict[str, Callable[[], Awaitable[httpx2.Response]]]:
    """Return what an attacker sends; the insider is one with an account."""
    photo = encode(astronaut())
    nested = b"[" * 50_000
    form = {"content-type": "multipart/form-data; boundary=x"}
    return {
        "forged token": lambda: client.get(
            "/api/matches", headers={"authorization": "Bearer a.b.c"}
        ),
        "body without a token": lambda: client.post(
            "/api/faces", files={"file": ("a.jpg", bytes(2**20))}
        ),
        "form that is none": lambda: client.post(
            "/api/faces", headers=insider | form, content=b"--x\r\n" * 10_000
        ),
        "file that is no photo": lambda: client.post(
            "/api/faces", headers=insider, files={"file": ("a.jpg", b"\xff\xd8\xff" + bytes(10**5))}
        ),
        "photo cut in the middle": lambda: client.post(
            "/api/faces", headers=insider, files={"file": ("a.jpg", photo[: len(photo) // 2])}
        ),
        "nested JSON": lambda: client.put(
            "/api/profile", headers=insider | {"content-type": "application/json"}, content=nested
        ),
        "wrong password": lambda: client.post(
            "/auth/v1/token?grant_type=password",
            json={"email": f"{uuid4()}@example.org", "password": "not the password of anybody"},
        ),
        "unknown address": lambda: client.get(f"/{uuid4()}"),
    }


async def attack(url: str, token: str) -> None:
    """Send bad requests at a steady rate until stdin ends; print how many got which answer."""
    answers: Counter[str] = Counter()
    sent: set[asyncio.Task[None]] = set()

    async def send_one(name: str, request: Callable[[], Awaitable[httpx2.Response]]) -> None:
        try:
            status = str((await request()).status_code)
        except httpx2.TransportError:
            status = "hung up"
        answers[f"{name}: {status}"] += 1

    async def send() -> None:
        for name, request in itertools.cycle(requests.items()):
            sent.add(task := asyncio.create_task(send_one(name, request)))
            task.add_done_callback(sent.discard)
            await asyncio.sleep(1 / _BAD_PER_SECOND)

    host, port = url.removeprefix("http://").split(":")
    halves = []
    for _ in range(_HALF_HEADS):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: ")
        halves.append(writer)
    limits = httpx2.Limits(max_connections=100)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        requests = bad_requests(client, {"authorization": f"Bearer {token}"})
        sending = asyncio.create_task(send())
        await asyncio.to_thread(sys.stdin.read)
        sending.cancel()
        await asyncio.gather(sending, *sent, return_exceptions=True)
    for writer in halves:
        writer.close()
    print(json.dumps(answers))


@asynccontextmanager
async def attacked(url: str, token: str, answers: Counter[str]) -> AsyncIterator[None]:
    """Have the server attacked during the block, by a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bad_beside_good", "--attack", url, token),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield
    finally:
        output, _ = await process.communicate(b"")
        answers.update(json.loads(output))


async def run_rounds(url: str, rounds: int, seconds: float) -> str:
    """Return what was measured, as Markdown."""
    alone: list[float] = []
    beside: list[float] = []
    ratios: list[float] = []
    answers: Counter[str] = Counter()
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        people = [await join(client) for _ in range(_GOOD_PEOPLE)]
        token = (await join(client))["authorization"].removeprefix("Bearer ")

        async def honest_round() -> list[float]:
            until = time.monotonic() + seconds
            of_each = await asyncio.gather(*(be_honest(client, who, until) for who in people))
            return list(itertools.chain(*of_each))

        await honest_round()
        for _ in range(rounds):
            quiet = await honest_round()
            async with attacked(url, token, answers):
                loud = await honest_round()
            ratios.append(percentile(sorted(loud), 0.95) / percentile(sorted(quiet), 0.95))
            alone += quiet
            beside += loud
    alone.sort()
    beside.sort()
    crashes = sum(number for answer, number in answers.items() if answer.endswith(": 500"))
    rows = "\n".join(
        f"| {name} | {len(times):,} | {percentile(times, 0.5) * 1000:.1f} | "
        f"{percentile(times, 0.95) * 1000:.1f} |"
        for name, times in (("alone", alone), ("beside bad ones", beside))
    )
    kinds = len({answer.partition(":")[0] for answer in answers})
    return f"""\
`benchmarks/bad_beside_good.py`, {rounds} rounds of {seconds:g} s each way,
on {describe_machine()}.
{_GOOD_PEOPLE} people send a request every {_PAUSE_S * 1000:g} ms each;
attackers send {_BAD_PER_SECOND} bad requests a second of {kinds} kinds,
and hold {_HALF_HEADS} connections with half a head.
{sum(answers.values()):,} bad requests were answered, {crashes} of them with a 500.

| honest requests | number | p50, ms | p95, ms |
|---|---|---|---|
{rows}

95th percentile beside / alone, median of the rounds: **{statistics.median(ratios):.2f}**."""


def measure_load(rounds: int = 3, seconds: float = 10) -> str:
    """Return what was measured, as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        try:
            with running_up(home) as up:
                return asyncio.run(run_rounds(up.url, rounds, seconds))
        finally:
            remove_home(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attack", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=10, help="of each half of a round")
    options = parser.parse_args()
    if options.attack:
        asyncio.run(attack(*options.attack))
        return
    print(measure_load(options.rounds, options.seconds))


if __name__ == "__main__":
    main()
