"""The console's pages of jobs: find them, see why one failed, retry, cancel, steer the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.model.jobs import JobStatus, Queue, QueuedJob
from automatch.services.operators.acts import Act
from automatch.services.queue import job_search, queue
from automatch.services.queue.job_search import JobFilter
from automatch.web.amounts import as_count, as_duration, meaning_of
from automatch.web.console.frame import ConfirmPage, ConsolePage, ConsoleRoute, MeDep, show
from automatch.web.pages import go_to, read_form, text_of

router = APIRouter(prefix="/admin", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 50
_STATUSES = (
    ("", "Any status"),
    ("pending", "Waiting"),
    ("processing", "In progress"),
    ("completed", "Completed"),
    ("failed", "Failed"),
)
_BADGES = {
    JobStatus.PENDING: "",
    JobStatus.PROCESSING: "new",
    JobStatus.COMPLETED: "good",
    JobStatus.FAILED: "bad",
}
_PRIORITIES = {1: "First photos", 2: "As usual", 3: "When nobody waits"}
_NOTICES = {
    "paused": "Paused: no more jobs are started.",
    "resumed": "Resumed.",
    "set": "Set. Workers keep to it from their next claim on.",
    "retried": "Queued again.",
    "cancelled": "Cancelled.",
    "moved": "Its priority is set.",
    "requeued": "This job searches again.",
}
_STAGES = (
    ("decode_ms", "Decoding"),
    ("detect_ms", "Finding the face"),
    ("embed_ms", "Embedding"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPage(ConsolePage):
    """Jobs, newest first, and the queue."""

    template: ClassVar[str] = "console/jobs.html"
    section: ClassVar[str] = "jobs"
    title: str = "Jobs"
    queue: Queue
    jobs: Sequence[QueuedJob]
    wanted: JobFilter
    before: str = ""
    """Only jobs that were queued before this time."""
    problem_text: str | None = None
    statuses: Sequence[tuple[str, str]] = _STATUSES

    def status_of(self, job: QueuedJob) -> str:
        """Return the status of a job in words."""
        return status_of(job)

    def state_of(self, job: QueuedJob) -> str:
        """Return how the badge of its status looks."""
        return _BADGES[job.status]

    def took(self, job: QueuedJob) -> str:
        """Return how long it was on its way, from the upload to its end."""
        ended = job.completed_at
        return as_duration((ended - job.created_at).total_seconds()) if ended else "not yet"

    @property
    def query(self) -> str:
        """The filter, as it stands in the address."""
        fields = self.wanted.as_fields() | {"before": self.before}
        return urlencode({key: value for key, value in fields.items() if value})

    @property
    def older(self) -> str | None:
        """The address of what comes after the last job."""
        if len(self.jobs) < _LIMIT:
            return None
        fields = self.wanted.as_fields() | {"before": self.jobs[-1].created_at.isoformat()}
        return f"/admin/jobs?{urlencode({key: value for key, value in fields.items() if value})}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage(ConsolePage):
    """One job."""

    template: ClassVar[str] = "console/job.html"
    section: ClassVar[str] = "jobs"
    title: str = "Job"
    job: QueuedJob
    queue: Queue

    @property
    def waits_for_queue(self) -> bool:
        """Whether it is not started because the whole queue is paused."""
        return self.queue.paused and self.job.status is JobStatus.PENDING

    @property
    def status(self) -> str:
        """Its status in words."""
        return status_of(self.job)

    @property
    def state(self) -> str:
        """How the badge of its status looks."""
        return _BADGES[self.job.status]

    @property
    def priority(self) -> str:
        """Its priority in words."""
        return _PRIORITIES[self.job.priority]

    @property
    def priorities(self) -> list[tuple[str, str]]:
        """The priorities to choose from."""
        return [(str(number), text) for number, text in _PRIORITIES.items()]

    @property
    def is_open(self) -> bool:
        return not self.job.status.is_final

    @property
    def stages(self) -> list[tuple[str, float, float]]:
        """Each stage of its way: title, milliseconds, and its share of the whole in percent."""
        return stages_of(self.job.timings)


def status_of(job: QueuedJob) -> str:
    """Return the status of a job in words."""
    if job.scheduled:
        return "Waits for later" if job.run_at else "Its school is paused"
    return dict(_STATUSES)[job.status.value]


def stages_of(timings: dict[str, float]) -> list[tuple[str, float, float]]:
    """Return the stages that follow each other, with their milliseconds and shares in percent."""
    parts: list[tuple[str, float]] = [("Waiting", timings.get("claimed_ms", 0.0))]
    seen = [(title, timings[name]) for name, title in _STAGES if name in timings]
    embedded = timings.get("embedded_ms")
    if embedded is not None:
        rest = embedded - timings.get("claimed_ms", 0.0) - sum(ms for _, ms in seen)
        parts += [*seen, ("Storing", max(rest, 0.0))]
    last = embedded if embedded is not None else timings.get("claimed_ms", 0.0)
    for name, title in (
        ("searched_ms", "Searching"),
        ("written_ms", "Publishing"),
        ("delivered_ms", "Reaching the screen"),
    ):
        if name in timings:
            parts.append((title, max(timings[name] - last, 0.0)))
            last = timings[name]
    whole = sum(ms for _, ms in parts)
    return [(title, ms, 100 * ms / whole) for title, ms in parts if whole and ms > 0]


@router.get("/jobs")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def list_jobs(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Show jobs of a status, reason, school or person."""
    fields = request.query_params
    wanted = JobFilter(
        status=fields.get("status", ""),
        code=fields.get("code", "").strip(),
        school=fields.get("school", "").strip(),
        person=fields.get("person", "").strip(),
    )
    before = _time_of(fields.get("before", ""))
    try:
        found = await job_search.find_jobs(services.db, me, wanted, before=before, limit=_LIMIT)
    except InputInvalidError as exc:
        found = await job_search.find_jobs(services.db, me, JobFilter(), limit=_LIMIT)
        page = JobsPage(me=me, queue=found.queue, jobs=(), wanted=wanted, problem_text=exc.message)
        return show(page, exc)
    return show(
        JobsPage(
            me=me,
            queue=found.queue,
            jobs=found.jobs,
            wanted=wanted,
            before=before.isoformat() if before else "",
            notice=_NOTICES.get(fields.get("done", "")),
        )
    )


@router.get("/jobs/{job_id:uuid}")
@declare(Access.CONSOLE, act=Act.SEE_SYSTEM)
async def show_job(job_id: UUID, me: MeDep, services: ServicesDep, done: str = "") -> Response:
    """Show one job with the time of each stage."""
    job, now = await job_search.load_job(services.db, me, job_id)
    return show(JobPage(me=me, job=job, queue=now, notice=_NOTICES.get(done)))


@router.post("/jobs/{job_id:uuid}/retry")
@declare(Access.CONSOLE, act=Act.RETRY_JOBS)
async def retry_job(job_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Give a failed job all its attempts again."""
    if not await queue.retry_failed(services.db, me, [job_id]):
        raise InputInvalidError(
            "Its photo is queued already, or a newer job of the photo failed: retry that one."
        )
    return go_to(f"/admin/jobs/{job_id}?done=retried")


@router.post("/jobs/{job_id:uuid}/cancel")
@declare(Access.CONSOLE, act=Act.CANCEL_JOBS)
async def cancel_job(job_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """End a job that waits or is worked on."""
    await queue.cancel(services.db, me, [job_id])
    return go_to(f"/admin/jobs/{job_id}?done=cancelled")


@router.post("/jobs/{job_id:uuid}/requeue")
@declare(Access.CONSOLE, act=Act.REQUEUE_JOB)
async def requeue_job(job_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Search for the photo of a job once more."""
    text = text_of(await read_form(request), "threshold").strip().replace(",", ".")
    try:
        threshold = float(text) if text else None
    except ValueError as exc:
        raise InputInvalidError(
            "A threshold is a similarity between 0 and 1, such as 0.4."
        ) from exc
    new_id = await queue.requeue(services.db, me, job_id, threshold=threshold)
    return go_to(f"/admin/jobs/{new_id}?done=requeued")


@router.post("/jobs/{job_id:uuid}/prioritize")
@declare(Access.CONSOLE, act=Act.PRIORITIZE_JOBS)
async def prioritize_job(
    job_id: UUID, request: Request, me: MeDep, services: ServicesDep
) -> Response:
    """Give a waiting job another priority."""
    priority = _whole_number(await read_form(request), "priority", "Choose a priority.")
    await queue.prioritize(services.db, me, [job_id], priority)
    return go_to(f"/admin/jobs/{job_id}?done=moved")


@router.get("/jobs/retry")
@declare(Access.CONSOLE, act=Act.RETRY_JOBS)
async def confirm_retry(me: MeDep, services: ServicesDep, code: str = "") -> Response:
    """Say how many jobs would be retried."""
    count = await job_search.count_retryable(services.db, me, code or None)
    about = f"failed with “{meaning_of(code)}” ({code})" if code else "failed, whatever the reason"
    return show(
        ConfirmPage(
            me=me,
            title="Retry failed jobs",
            act=Act.RETRY_JOBS,
            facts=[
                f"Jobs that {about} and whose photo can be searched for again: {count}.",
                "Each gets all its attempts again, and waits its turn behind uploads.",
                "Photos that were searched for since, or are queued, are left out.",
            ],
            button=f"Retry {as_count(count, 'jobs')}",
            back="/admin/jobs?status=failed" + (f"&{urlencode({'code': code})}" if code else ""),
            hidden={"code": code},
        )
    )


@router.post("/jobs/retry")
@declare(Access.CONSOLE, act=Act.RETRY_JOBS)
async def retry_jobs(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Retry the failed jobs of a reason, or all."""
    code = text_of(await read_form(request), "code")
    await queue.retry_failed(services.db, me, code=code or None)
    return go_to("/admin/jobs?status=pending")


@router.post("/queue/pause")
@declare(Access.CONSOLE, act=Act.PAUSE_QUEUE)
async def pause(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Start no more jobs, of a school or at all."""
    await queue.pause(services.db, me, _school_of(await read_form(request)))
    return go_to("/admin/jobs?done=paused")


@router.post("/queue/resume")
@declare(Access.CONSOLE, act=Act.RESUME_QUEUE)
async def resume(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Undo a pause of the same kind."""
    await queue.resume(services.db, me, _school_of(await read_form(request)))
    return go_to("/admin/jobs?done=resumed")


@router.post("/queue/concurrency")
@declare(Access.CONSOLE, act=Act.SET_CONCURRENCY)
async def set_concurrency(request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Limit how many jobs each worker holds at once."""
    form = await read_form(request)
    jobs = None
    if text_of(form, "jobs").strip():
        jobs = _whole_number(form, "jobs", "Give a number of at least 1, or nothing.")
    await queue.set_concurrency(services.db, me, jobs)
    return go_to("/admin/jobs?done=set")


def _school_of(form: FormData) -> str | None:
    school = text_of(form, "school").strip()
    if not school and "all" not in form:
        raise InputInvalidError("Name the school.")
    return school or None


def _whole_number(form: FormData, name: str, advice: str) -> int:
    text = text_of(form, name).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise InputInvalidError(advice)
    return int(text)


def _time_of(text: str) -> datetime | None:
    try:
        # A `+` of an address that was copied is read as a space.
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        return None
    return found if found.tzinfo else None
