"""One upload is one trace, from its request to what its person is told, across two processes."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from automatch.errors.configuration import SettingsError
from automatch.settings import Settings
from automatch.settings.telemetry import TraceSettings
from automatch.telemetry.otel import OtelTraces
from automatch.telemetry.request_id import begin_request
from automatch.telemetry.traces import REQUEST, Span
from automatch.worker.observer import JobObserver
from automatch.worker_app import make_traces
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import running_server
from tests.support.worker import run_worker

pytestmark = pytest.mark.anyio


def in_memory(service: str, share: float = 1) -> tuple[OtelTraces, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return OtelTraces(service, share, SimpleSpanProcessor(exporter)), exporter


def parent_of(span: ReadableSpan, others: list[ReadableSpan]) -> str | None:
    if span.parent is None:
        return None
    [parent] = [each.name for each in others if each.context.span_id == span.parent.span_id]
    return parent


async def test_request_job_search_and_delivery_are_one_trace(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server_traces, server_exporter = in_memory("automatch-server")
    worker_traces, worker_exporter = in_memory("automatch-worker")
    monkeypatch.setattr("automatch.app.make_traces", lambda *_: server_traces)
    observer = JobObserver(traces=worker_traces)

    async with running_server(settings, cluster.secrets, database) as system:
        person = await system.join()
        answer = await person.upload(encode(astronaut()))
        # Open before the job ends, or it would be told as something of before.
        async with person.stream() as events:
            assert (await anext(events)).kind == "ready"
            async with run_worker(database, observer=observer):
                job = await anext(
                    event.data
                    async for event in events
                    if event.kind == "job" and event.data["status"] in {"completed", "failed"}
                )

    assert (job["id"], job["status"]) == (answer.json()["job"]["id"], "completed")
    request_id = UUID(answer.headers["x-request-id"])
    spans = [
        span
        for span in (*server_exporter.get_finished_spans(), *worker_exporter.get_finished_spans())
        if span.context.trace_id == request_id.int
    ]
    assert {(span.name, parent_of(span, spans)) for span in spans} == {
        ("POST /api/faces", None),
        ("job", "POST /api/faces"),
        ("analyze", "job"),
        ("search", "job"),
        ("deliver", "job"),
    }
    assert len(spans) == 5
    for span in spans:
        assert span.start_time <= span.end_time
        assert {*span.attributes} <= {
            *("http.response.status_code", "job", "attempt", "matches"),
        }


def test_processes_choose_the_same_requests_to_trace() -> None:
    one, first = in_memory("one", share=0.5)
    other, second = in_memory("other", share=0.5)
    for _ in range(64):
        request_id = begin_request()
        one.record(Span("request", request_id, 0, 1, key=REQUEST, parent=None))
        other.record(Span("job", request_id, 1, 2))

    chosen = [
        {span.context.trace_id for span in exporter.get_finished_spans()}
        for exporter in (first, second)
    ]
    assert chosen[0] == chosen[1]
    assert 0 < len(chosen[0]) < 64


def test_spans_are_sent_as_otlp_over_http_when_the_process_ends() -> None:
    bodies: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        traces = make_traces(Settings(traces=TraceSettings(otlp_url=url)), "automatch-test")
        request_id = uuid4()
        assert traces is not None
        traces.record(Span("request", request_id, 0, 1, key=REQUEST, parent=None))
        traces.close()
        collector.shutdown()

    [(path, body)] = bodies
    assert path == "/v1/traces"
    assert request_id.bytes in body
    assert b"automatch-test" in body


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "automatch.telemetry.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)

    assert make_traces(Settings(), "automatch-test") is None
    url = "http://localhost:4318/v1/traces"
    with pytest.raises(SettingsError, match=r"pip install 'automatch\[otel\]'"):
        make_traces(Settings(traces=TraceSettings(otlp_url=url)), "automatch-test")
