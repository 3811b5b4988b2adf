"""What people ask for in the busiest moment of a day, and what that takes of each part."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.growth.inputs import Assumptions, Costs
from benchmarks.growth.simulation import DAY_S

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Demand:
    """The busiest moment of a day of so many people; all rates are of a second."""

    people: float
    uploads_day: float
    uploads: float
    feeds: float
    events: float
    openings: float
    pages: float
    faces: float
    candidates: float


def demand_of(people: float, assumed: Assumptions) -> Demand:
    """Return what so many people ask for."""
    uploads_day = people * assumed.uploads_person_day
    uploads = uploads_day / DAY_S * assumed.peak
    feeds = people * assumed.open_share
    openings = feeds / (assumed.visit_minutes * 60)
    return Demand(
        people=people,
        uploads_day=uploads_day,
        uploads=uploads,
        feeds=feeds,
        # Whoever uploads watches; whoever is found may.
        events=uploads * (1 + assumed.matches_upload * assumed.open_share),
        openings=openings,
        pages=openings * assumed.pages_visit,
        faces=people * assumed.photos_person,
        # Half of a school, and no school is larger than everybody.
        candidates=min(assumed.school_people, people) * assumed.photos_person / 2,
    )


@dataclass(frozen=True, slots=True)
class Load:
    """Cores that are busy in the busiest moment, and memory."""

    server: float
    worker: float
    search: float
    """Of the database, for comparing: what shards take over."""
    pages: float
    """Of the database, for pages of feeds: what replicas take over."""
    rest: float
    """Of the database, for everything else."""
    feeds_gib: float
    index_gib: float
    log_mb_s: float


def load_of(demand: Demand, costs: Costs) -> Load:
    """Return what a demand takes."""
    thousands = demand.uploads * demand.candidates / 1000
    return Load(
        server=(
            demand.uploads * costs.server_ms_upload
            + demand.events * costs.server_ms_event
            + demand.openings * costs.server_ms_opening
            + demand.pages * costs.server_ms_page
            + demand.feeds * costs.server_us_idle / 1000
        )
        / 1000,
        worker=(demand.uploads * costs.worker_ms_photo + thousands * costs.worker_ms_1000_people)
        / 1000,
        search=thousands * costs.database_ms_1000_people / 1000,
        pages=demand.pages * costs.database_ms_page / 1000,
        rest=(
            demand.uploads * costs.database_ms_upload
            + demand.events * costs.database_ms_event
            + demand.openings * costs.database_ms_opening
            + demand.feeds * costs.database_us_idle / 1000
        )
        / 1000,
        feeds_gib=demand.feeds * costs.server_kib_feed * 1024 / _GIB,
        index_gib=demand.faces * costs.index_bytes_face / _GIB,
        log_mb_s=demand.uploads * costs.wal_bytes_upload / 1e6,
    )
