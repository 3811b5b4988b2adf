"""Running a process that serves or works until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any

from automatch.errors import AutomatchError


def run_until_stopped(main: Coroutine[Any, Any, None]) -> None:
    """Run *main*; exit with code 1 when a part of it ends, so that its supervisor starts it again.

    Raises:
        AutomatchError: it cannot run, and the message says why.
    """
    try:
        asyncio.run(main)
    except AutomatchError:
        raise
    except (Exception, asyncio.CancelledError):
        import structlog

        # A traceback would quote what is in the database.
        structlog.get_logger(__name__).exception("process ends")
        sys.exit(1)


def keep_start() -> None:
    """Leave what the start has made out of the garbage collection: it lives as long as the process.

    To look through a hundred thousand objects stops everything for a tenth of a second, again and
    again.
    """
    gc.collect()
    gc.freeze()


async def stdin_closed() -> None:
    """Wait until whoever started this process closes its stdin, or has died."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
