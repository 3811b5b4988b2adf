"""The id of a request: on every log line that it causes, its own and those of its jobs.

It is also the id of its trace. A job keeps it (`match_jobs.request_id`), and so do the log lines
of whichever worker does the job.
"""

from __future__ import annotations

from contextvars import ContextVar
from secrets import token_bytes
from uuid import UUID

import structlog

HEADER = "x-request-id"

_current: ContextVar[UUID | None] = ContextVar("request_id", default=None)


def current_request_id() -> UUID | None:
    """Return the id of the request that is being answered here; None outside of one."""
    return _current.get()


def begin_request() -> UUID:
    """Give a request an id, which its log lines carry from now on in this task."""
    # Random in all its bits, unlike `uuid4()`: by some of them it is chosen whether to trace it.
    request_id = UUID(bytes=token_bytes(16))
    _current.set(request_id)
    structlog.contextvars.bind_contextvars(request=request_id.hex)
    return request_id
