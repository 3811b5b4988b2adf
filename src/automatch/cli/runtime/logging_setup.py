"""Logging of a process: structured, to stderr, without personal data.

Of a library's log message only the first line is kept, and of an exception only its type and the
place where it was raised: an exception's message may quote a database row or a photo.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, TextIO, cast

import automatch
from automatch.cli.runtime.log_filter import OncePerMinute
from automatch.cli.runtime.log_stream import LogStream
from automatch.model.printable import printable

if TYPE_CHECKING:
    import structlog
    from structlog.typing import EventDict, WrappedLogger

    from automatch.settings import Settings

_PACKAGE = Path(automatch.__file__).parent


def load_settings_and_logging(
    *, home: Path | None = None, host: str | None = None, port: int | None = None
) -> Settings:
    """Return the settings, and set up the logging of this process by them: a command's start."""
    import structlog

    from automatch.settings import load_settings

    settings = load_settings(home=home, host=host, port=port)
    configure_logging(settings)
    named = home or Path(os.environ.get("AUTOMATCH_HOME") or settings.home)
    if not named.is_absolute():
        # Another start from another folder would find other data.
        log = structlog.get_logger(__name__)
        log.warning("data folder is relative to the current one", folder=str(settings.home))
    return settings


def configure_logging(settings: Settings) -> None:
    """Set up structlog and the standard library's logging for this process."""
    import structlog

    stream = LogStream(sys.stderr)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _summarize_exception,
        _keep_printable,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_keep_first_line, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(OncePerMinute())
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _is_caller(path: Path) -> bool:
    return path.is_relative_to(_PACKAGE) and path.parent != _PACKAGE / "store"


def _keep_first_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    # asyncio's further lines show the task that failed, with its exception's message.
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _summarize_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    exc = info[1] if isinstance(info, tuple) else sys.exception() if info is True else info
    if isinstance(exc, BaseException):
        event["error"] = type(exc).__name__
        places = [
            (Path(frame.f_code.co_filename), line) for frame, line in walk_tb(exc.__traceback__)
        ]
        # Where a library raises says less than the line of ours that called it.
        ours = [(path, line) for path, line in places if _is_caller(path)]
        if places:
            path, line = (ours or places)[-1]
            event["at"] = f"{path.name}:{line}"
        if state := getattr(exc, "sqlstate", None):
            event["sqlstate"] = state
    return event


def _keep_printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value)
    return event
