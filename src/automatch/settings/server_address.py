"""Where the server of a data folder listens, for commands that are run beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automatch.settings import Settings

LEADING_SERVER = "http://automatch.localhost"
"""For the schedule: whichever server leads. It sends such requests to itself, so that the schedule
is the same wherever the leader listens."""
_FILE = "server-address"


@contextmanager
def note_address(home: Path, url: str) -> Iterator[None]:
    """Keep the address in the data folder during the block, where that takes a file."""
    file = home / _FILE
    with suppress(OSError):
        file.write_text(f"{url}\n", "utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            # Another server of the same folder may have noted its own since.
            if file.read_text("utf-8").strip() == url:
                file.unlink()


def find_server_url(settings: Settings, url: str | None = None) -> str:
    """Return the address of the server for a command.

    It is the given one, else the public one, else that of the server that runs on this data folder,
    else what the settings say.
    """
    noted = None
    if not (url or settings.public_url):
        with suppress(OSError, UnicodeError):
            noted = (settings.home / _FILE).read_text("utf-8").strip()
    return (url or noted or settings.server_url()).rstrip("/")
