"""Files that a command writes for whoever called it, and for nobody else to read."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from automatch.cli.output.echo import echo
from automatch.errors.request import InputInvalidError


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that only this user reads; it goes again when it was not written to its end.

    Raises:
        InputInvalidError: it is there already, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise InputInvalidError(f"{path}: {exc.strerror}.") from exc
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
    except BaseException:
        path.unlink()
        raise


async def write_receipt(path: Path | None, erasure: Awaitable[str | None]) -> None:
    """Erase somebody, and write the receipt to a file, if one is asked for.

    Raises:
        InputInvalidError: the file cannot be written; nobody is erased.
    """
    if path is None:
        await erasure
        return
    with new_file(path) as out:
        receipt = await erasure
        out.write((receipt or "").encode())
    if receipt is None:
        path.unlink()  # noqa: ASYNC240  of an empty file
        echo("No receipt could be made; the log says why.", err=True)
