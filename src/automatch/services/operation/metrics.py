"""What `/metrics` of a server answers: what it counted, what it holds, and what the database says.

The database is asked once in a few seconds at most, however many ask. Without an answer the rest is
told all the same, with `automatch_database_up 0`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prometheus_client.metrics_core import Metric

from automatch.background import BackgroundTasks
from automatch.feed.notifier import FeedNotifier
from automatch.store.database import Database
from automatch.store.operation.disk import free_bytes
from automatch.store.operation.metrics import Figure, read_figures
from automatch.store.replica import Replica
from automatch.telemetry.metrics import (
    DATABASE_UP,
    ServerMetrics,
    gauge,
    labelled_gauge,
    pool_families,
    replica_families,
)

_KEEP_S = 5.0

_FIGURES: dict[str, tuple[str | None, str]] = {
    "queue_jobs": ("status", "Open jobs; those of status scheduled wait for a time, not a turn."),
    "queue_oldest_seconds": ("status", "Age of the oldest open job, 0 without one."),
    "expired_leases": (None, "Jobs in progress that nobody works on any more."),
    "queue_paused": (None, "Whether an operator has paused the whole queue."),
    "queue_paused_schools": (None, "Schools whose jobs an operator has paused."),
    "workers": (None, "Workers that are connected, busy or idle."),
    "workers_paused": (None, "Workers that have paused for a fault within three minutes."),
    "recent_jobs_completed": (None, "Jobs that were completed within ten minutes."),
    "recent_jobs_failed": ("reason", "Jobs that failed for good within ten minutes, by code."),
    "recent_job_seconds": (
        "quantile",
        "Seconds from the upload until the job was completed, of those of ten minutes.",
    ),
    "recent_stage_p95_seconds": ("stage", "Seconds that a stage took, 95th percentile of those."),
    "recent_search_p95_seconds": (
        "people",
        "Seconds of the search with its wait, 95th percentile of those, by the size of the group.",
    ),
    "search_audits": (None, "Searches of the last day that were made again by brute force."),
    "search_recall_ratio": (None, "Share of the people to be found that those searches found."),
    "mails": ("state", "Mails in the outbox."),
    "mails_oldest_seconds": (None, "Age of the oldest mail that waits, 0 without one."),
    "photo_erasures_oldest_seconds": (
        None,
        "Age of the oldest deleted photo whose file still exists, 0 without one.",
    ),
    "schedule_last_run_age_seconds": ("entry", "Seconds since a cron job of ours ran last."),
    "schedule_last_run_failed": ("entry", "Whether that run failed."),
}
"""What `public.get_metrics()` tells: the label that a name has, and what it is."""


class ServerScrape:
    """Reads the metrics of one server; the AI service alone has neither database nor feeds."""

    def __init__(
        self,
        metrics: ServerMetrics,
        *,
        db: Database | None = None,
        replica: Replica | None = None,
        notifier: FeedNotifier | None = None,
        background: BackgroundTasks | None = None,
        folders: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._db = db
        self._replica = replica
        self._notifier = notifier
        self._background = background
        self._folders = folders
        self._clock = clock
        self._figures: list[Figure] | None = None
        self._stale_at = -math.inf
        self._reading = asyncio.Lock()

    async def read(self) -> bytes:
        """Return the metrics as text."""
        families = [*self._process()]
        if self._folders:
            free = await asyncio.to_thread(
                lambda: [(each.name, float(free_bytes([each]))) for each in self._folders]
            )
            families.append(
                labelled_gauge(
                    "automatch_disk_free_bytes", "Free space of a data folder.", "folder", free
                )
            )
        if self._db is not None:
            families += [*pool_families(self._db.measure()), *await self._database(self._db)]
        return self._metrics.text(families)

    def _process(self) -> Iterator[Metric]:
        replica = self._replica
        yield from replica_families(
            replica.lag_s if replica else None, replica.reads if replica else {}
        )
        if self._notifier is not None:
            streams, channels = self._notifier.count_clients()
            yield labelled_gauge(
                "automatch_feed_clients",
                "Open live feeds: streams of pages and apps, channels of supabase clients.",
                "kind",
                [("stream", streams), ("channel", channels)],
            )
        if self._background is not None:
            yield gauge(
                "automatch_failing_parts",
                "Parts of the server that have ended and are being started again.",
                len(self._background.failing),
            )

    async def _database(self, db: Database) -> list[Metric]:
        async with self._reading:
            if self._clock() >= self._stale_at:
                self._figures = await read_figures(db)
                self._stale_at = self._clock() + _KEEP_S
        families = [gauge(*DATABASE_UP, self._figures is not None)]
        found: defaultdict[str, list[Figure]] = defaultdict(list)
        for figure in self._figures or ():
            found[figure.name].append(figure)
        for name, (label, text) in _FIGURES.items():
            figures = found[name]
            if label is not None:
                values = [(figure.label or "", figure.value) for figure in figures]
                families.append(labelled_gauge(f"automatch_{name}", text, label, values))
            else:
                value = figures[0].value if figures else None
                families.append(gauge(f"automatch_{name}", text, value))
        return families
