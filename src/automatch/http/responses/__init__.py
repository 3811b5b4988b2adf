"""The bodies of all JSON answers, as pydantic models; those of errors are in `http/errors.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema

Timestamp = Annotated[
    datetime,
    PlainSerializer(datetime.isoformat, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A time with its offset, such as `2026-11-29T10:00:00.5+00:00`."""
