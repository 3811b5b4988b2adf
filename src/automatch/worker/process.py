"""A worker as a process of its own, beside the server that starts it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automatch.settings import Settings


async def start_worker_process(settings: Settings) -> asyncio.subprocess.Process:
    """Start a worker for the same data folder and database.

    It ends when its stdin is closed, which also happens when this process is killed.

    Raises:
        OSError: no process can be started.
    """
    named = {"AUTOMATCH_HOME": str(settings.home)}
    if settings.database_url is not None:
        named["AUTOMATCH_DATABASE_URL"] = settings.database_url.get_secret_value()
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "automatch",
        "worker",
        "--stop-with-stdin",
        stdin=asyncio.subprocess.PIPE,
        env=os.environ | named,
        # Ctrl-C in a terminal reaches this process alone, which then stops in order.
        start_new_session=True,
    )
