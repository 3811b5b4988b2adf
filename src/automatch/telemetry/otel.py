"""Traces for OpenTelemetry. Importing this needs `automatch[otel]`."""

from __future__ import annotations

import threading
import time
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from automatch import __version__
from automatch.telemetry.traces import Span, span_id

_EXPORT_S = 2.0
_CLOSE_S = 4.0
"""A process that stops does not wait longer for whoever takes the traces."""


class OtelTraces:
    """Sends spans in the background.

    Args:
        service: the kind of process.
        share: of the requests; all processes choose the same ones, by their ids.
        processor: takes the spans that were chosen.
    """

    def __init__(self, service: str, share: float, processor: SpanProcessor) -> None:
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=TraceIdRatioBased(share),
            resource=Resource.create({"service.name": service, "service.version": __version__}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("automatch")

    def record(self, span: Span) -> None:
        """Send a span, unless its request is not among those that are traced."""
        # The clocks of all processes, where that of one alone has no meaning.
        offset_ns = time.time_ns() - round(time.monotonic() * 1e9)
        self._ids.trace_id = span.request_id.int
        self._ids.span_id = span_id(span.request_id, span.key) if span.key else None
        recorded = self._tracer.start_span(
            span.name,
            context=_below(span.request_id, span.parent),
            start_time=offset_ns + round(span.began * 1e9),
            attributes=dict(span.attributes),
        )
        recorded.end(offset_ns + round(span.ended * 1e9))

    def close(self) -> None:
        """Send what is still here, for some seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)


def open_otlp(service: str, url: str, share: float) -> OtelTraces:
    """Return what sends traces to *url*."""
    exporter = OTLPSpanExporter(endpoint=url, timeout=_EXPORT_S)
    return OtelTraces(service, share, BatchSpanProcessor(exporter))


class _GivenIds(RandomIdGenerator):
    """Gives the next span the ids that were set for it."""

    trace_id = 0
    span_id: int | None = None

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id or super().generate_span_id()


def _below(request_id: UUID, parent: str | None) -> Context:
    if parent is None:
        return Context()
    context = SpanContext(
        request_id.int, span_id(request_id, parent), is_remote=True, trace_flags=TraceFlags(1)
    )
    return set_span_in_context(NonRecordingSpan(context), Context())
