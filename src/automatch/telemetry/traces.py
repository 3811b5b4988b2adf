"""The trace of a request: itself, the jobs that it queued, and what their people were told.

Nothing travels between server and workers but the id of the request, which a job keeps. It is the
id of the trace, and the ids of spans that others refer to are made from it: so a worker names the
span of a request that a server recorded, and the server that of a worker's job.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol
from uuid import UUID

REQUEST = "request"
"""The key of the span of the request itself."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time, of one request."""

    name: str
    request_id: UUID
    began: float
    """By the clock of the process (`time.monotonic`), as `ended`."""
    ended: float = field(default_factory=time.monotonic)
    key: str | None = None
    """For spans that others name as their parent; unique within the request."""
    parent: str | None = REQUEST
    attributes: dict[str, str | int] = field(default_factory=dict)
    """Ids, counts and codes alone."""


def job_key(job_id: UUID, attempts: int) -> str:
    """Return the key of the span of one attempt of a job."""
    return f"job {job_id} {attempts}"


def request_span(name: str, request_id: UUID, began: float, status: int) -> Span:
    """Return the span of a request whose answer begins now."""
    attributes: dict[str, str | int] = {"http.response.status_code": status}
    return Span(name, request_id, began, key=REQUEST, parent=None, attributes=attributes)


def span_id(request_id: UUID, key: str) -> int:
    """Return the id of a span that others name."""
    return int.from_bytes(blake2b(request_id.bytes + key.encode(), digest_size=8).digest())


class Traces(Protocol):
    """Takes the spans of a process."""

    def record(self, span: Span) -> None:
        """Take a span that has ended."""

    def close(self) -> None:
        """Send what is still here."""
