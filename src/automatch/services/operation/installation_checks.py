"""What `automatch doctor` finds, for the console.

The checks run in a process of their own: some load a model, and others use the connection of the
owner, which the server does without.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

from automatch.errors.store import StoreError
from automatch.ops.doctor.check import Health
from automatch.settings import Settings
from automatch.worker.on_demand import command_environment

_LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    name: str
    title: str
    health: Health
    message: str
    fix: str | None
    """What to type, or a sentence with that in backticks."""


async def check_installation(settings: Settings) -> list[Finding]:
    """Run all checks, and return what each found.

    Raises:
        StoreError: the process could not be run, or did not end in time.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "automatch", "doctor", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=command_environment(settings) | {"AUTOMATCH_LOG_LEVEL": "error"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_LIMIT_S):
            output, _ = await process.communicate()
        return _read(output)
    except (TimeoutError, ValueError, KeyError) as exc:
        raise StoreError("The checks did not end; run `automatch doctor` on the machine.") from exc
    finally:
        if process.returncode is None:
            process.kill()


def _read(output: bytes) -> list[Finding]:
    return [
        Finding(
            check["name"], check["title"], Health(check["health"]), check["message"], check["fix"]
        )
        for check in json.loads(output)["checks"]
    ]
