"""The metrics of one process, and their text; docs/metrics.md lists them.

No label has values that users make up: no school, person, id or address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from automatch import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
# A series more for each counter, which nothing here needs.
disable_created_metrics()  # type: ignore[no-untyped-call]  # of the library

DATABASE_UP = ("automatch_database_up", "Whether the database answered just now.")
_SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_JOB_S = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900, 3600)
_GROUP_SIZES = ((1_000, "1000"), (10_000, "10000"), (50_000, "50000"))


def bucket_of_group(people: int) -> str:
    """Return the label of a group's size: the next higher bound, `more` above all of them."""
    return next((label for bound, label in _GROUP_SIZES if people <= bound), "more")


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """A pool of connections to Postgres as it is now, and what it has counted."""

    size: int
    idle: int
    max_size: int
    waiting: int
    requests: int
    errors: int
    wait_s: float
    is_circuit_open: bool


class ProcessMetrics:
    """What every process tells."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

    def text(self, families: Iterable[Metric] = ()) -> bytes:
        """Return all metrics of the process, with *families* that were just read."""
        return generate_latest(_Together(self.registry, [_build_info(), *families]))


class ServerMetrics(ProcessMetrics):
    """What a server counts."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = Histogram(
            "automatch_http_request_seconds",
            "Seconds from the head of a request to the begin of its answer.",
            ["access", "status"],
            registry=self.registry,
            buckets=_SHORT_S,
        )
        self.uploads = Counter(
            "automatch_uploads", "Photos that were accepted.", registry=self.registry
        )
        self.upload_refusals = Counter(
            "automatch_upload_refusals",
            "Uploads that were refused, by error code.",
            ["reason"],
            registry=self.registry,
        )
        self.deliveries = Histogram(
            "automatch_feed_delivery_seconds",
            "Seconds from the commit of a match until it was written to an open stream.",
            registry=self.registry,
            buckets=_SHORT_S,
        )

    def count_refusals(self) -> dict[str, int]:
        """Return how many uploads were refused since the start, by error code."""
        [family] = self.upload_refusals.collect()
        return {sample.labels["reason"]: int(sample.value) for sample in family.samples}


class WorkerMetrics(ProcessMetrics):
    """What a worker counts."""

    def __init__(self) -> None:
        super().__init__()
        registry = self.registry
        self.claimed = Counter("automatch_jobs_claimed", "Jobs claimed.", registry=registry)
        self.completed = Counter("automatch_jobs_completed", "Jobs completed.", registry=registry)
        self.matches = Counter(
            "automatch_matches_found", "Matches of completed jobs.", registry=registry
        )
        self.failures = Counter(
            "automatch_job_failures",
            "Attempts that did not work out, by error code and what becomes of the job.",
            ["reason", "action"],
            registry=registry,
        )
        self.lost = Counter(
            "automatch_jobs_lost", "Jobs that another worker took over.", registry=registry
        )
        self.pauses = Counter(
            "automatch_worker_pauses",
            "Pauses for a fault that no job is the cause of, by error code.",
            ["reason"],
            registry=registry,
        )
        self.stages = Histogram(
            "automatch_job_stage_seconds",
            "Seconds that a stage of a job took; the search is of the whole batch.",
            ["stage"],
            registry=registry,
            buckets=_STAGE_S,
        )
        self.searches = Histogram(
            "automatch_search_seconds",
            "Seconds of a search in the worker's memory, by the size of the group.",
            ["people"],
            registry=registry,
            buckets=_STAGE_S,
        )
        self.jobs = Histogram(
            "automatch_job_seconds",
            "Seconds from the upload until the job was completed.",
            registry=registry,
            buckets=_JOB_S,
        )


class _Together:
    """A registry and metrics beside it, as one collector."""

    def __init__(self, registry: CollectorRegistry, families: Sequence[Metric]) -> None:
        self._registry = registry
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._registry.collect()
        yield from self._families


def gauge(name: str, text: str, value: float | None) -> Metric:
    """Return a metric of one value, or of none when it is not known."""
    return GaugeMetricFamily(name, text, value=value)


def labelled_gauge(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    """Return a metric with a value for each of some labels."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for each, value in values:
        family.add_metric([each], value)
    return family


def pool_families(pool: PoolFigures) -> Iterator[Metric]:
    """Return the metrics of a pool and of the circuit breaker before it."""
    yield labelled_gauge(
        "automatch_database_pool_connections",
        "Open connections of this process's pool.",
        "state",
        [("in_use", pool.size - pool.idle), ("idle", pool.idle)],
    )
    yield gauge(
        "automatch_database_pool_max_connections", "Most connections of the pool.", pool.max_size
    )
    yield gauge(
        "automatch_database_pool_waiting", "Callers that wait for a connection.", pool.waiting
    )
    for name, text, value in (
        ("requests", "Connections that were asked for.", pool.requests),
        ("errors", "Connections that were asked for and not given.", pool.errors),
        ("wait_seconds", "Seconds that callers have waited for a connection.", pool.wait_s),
    ):
        yield CounterMetricFamily(f"automatch_database_pool_{name}", text, value=value)
    yield gauge(
        "automatch_database_circuit_open",
        "Whether calls are refused at once because the database just did not answer.",
        pool.is_circuit_open,
    )


def replica_families(lag_s: float | None, reads: Mapping[str, int]) -> Iterator[Metric]:
    """Return the metrics of a replica; without values where there is none."""
    yield gauge(
        "automatch_replica_lag_seconds",
        "Seconds since the replica last had all that the primary had.",
        lag_s,
    )
    family = CounterMetricFamily(
        "automatch_replica_reads", "Reads that may come from a replica.", labels=["from"]
    )
    for name, count in reads.items():
        family.add_metric([name], count)
    yield family


def _build_info() -> Metric:
    return labelled_gauge(
        "automatch_build_info", "The version that runs.", "version", [(__version__, 1)]
    )
