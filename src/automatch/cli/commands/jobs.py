"""`automatch jobs`: look at the queue, and lend a hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel

from automatch.cli.commands.run import Home
from automatch.cli.output import jobs_tables as tables
from automatch.cli.runtime.db_session import actor, operate
from automatch.http.routes import admin
from automatch.model.jobs import JobStatus
from automatch.store import queue_admin
from automatch.store.database import Connection

_T = TypeVar("_T")

app = typer.Typer(
    help="The queue: look, pause, retry, cancel. Works while Auto-Match runs and while it does "
    "not. What changes something is written into the audit log.",
    no_args_is_help=True,
)

Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, in the form of the admin API, and not a table.")
]
Ids = Annotated[list[UUID], typer.Argument(metavar="ID...", help="Jobs, as `list` shows them.")]
School = Annotated[str | None, typer.Option(help="Only this school.", show_default=False)]
Code = Annotated[str | None, typer.Option(help="Only this error code, such as job_crashed.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")]


@app.command("list")
def list_jobs(
    *,
    home: Home = None,
    status: Annotated[JobStatus | None, typer.Option(help="Only this status.")] = None,
    school: School = None,
    code: Code = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List jobs of everybody, newest first."""
    jobs = _run(
        home,
        lambda conn: queue_admin.list_jobs(
            conn, status=status, school=school, code=code, limit=limit
        ),
    )
    if as_json:
        _print_json(admin.JobsShown(jobs=jobs))
    else:
        tables.print_jobs(jobs)


@app.command()
def show(
    job_id: Annotated[UUID, typer.Argument(metavar="ID", help="The job, as `list` shows it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show one job: where it is, why it failed, how long each stage took."""
    job = _run(home, lambda conn: queue_admin.load_job(conn, job_id))
    if as_json:
        _print_json(admin.JobShown(job=job))
    else:
        tables.print_job(job)


@app.command()
def stats(home: Home = None, as_json: Json = False) -> None:
    """Show the queue at a glance, and how many jobs are in each status."""

    async def look(conn: Connection) -> admin.QueueShown:
        return admin.QueueShown(
            queue=await queue_admin.load_queue(conn), statuses=await queue_admin.count_jobs(conn)
        )

    shown = _run(home, look)
    if as_json:
        _print_json(shown)
    else:
        tables.print_queue(shown.queue, shown.statuses)


@app.command()
def pause(home: Home = None, school: School = None, as_json: Json = False) -> None:
    """Let no job be started any more. Uploads are still taken, and what is begun is finished."""
    waiting = _run(home, lambda conn: queue_admin.pause(conn, actor(), school))
    what = f"{school} is" if school else "The queue is"
    _tell(admin.Waiting(waiting=waiting), f"{what} paused; jobs that wait: {waiting}.", as_json)


@app.command()
def resume(home: Home = None, school: School = None, as_json: Json = False) -> None:
    """Undo a pause. Schools that were paused by name are resumed by name."""
    waiting = _run(home, lambda conn: queue_admin.resume(conn, actor(), school))
    what = f"{school} goes" if school else "The queue goes"
    _tell(admin.Waiting(waiting=waiting), f"{what} on; jobs that wait: {waiting}.", as_json)


@app.command()
def concurrency(
    jobs: Annotated[str, typer.Argument(metavar="N|none", help="A number from 1, or `none`.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bound how many jobs each worker holds at once; `none` leaves it to the workers' settings."""
    count = _count_or_none(jobs)
    _run(home, lambda conn: queue_admin.set_concurrency(conn, actor(), count))
    told = "as many jobs as its settings say" if count is None else f"at most {count} at once"
    _tell(admin.Concurrency(jobs=count), f"Each worker holds {told}.", as_json)


@app.command()
def retry(
    ids: Annotated[
        list[UUID] | None,
        typer.Argument(metavar="[ID]...", help="Failed jobs.", show_default=False),
    ] = None,
    home: Home = None,
    every: Annotated[bool, typer.Option("--all", help="All failed jobs.")] = False,
    code: Code = None,
    as_json: Json = False,
) -> None:
    """Give failed jobs all their attempts again; of several of one photo, the newest."""
    if sum((bool(ids), every, code is not None)) != 1:
        raise typer.BadParameter("name jobs, or give --all, or --code.")
    count = _run(home, lambda conn: queue_admin.retry_failed(conn, actor(), ids or None, code=code))
    _tell(admin.Count(count=count), f"Failed jobs that run again: {count}.", as_json)


@app.command()
def cancel(ids: Ids, home: Home = None, as_json: Json = False) -> None:
    """End jobs that wait or are worked on. Those that have ended are left alone."""
    count = _run(home, lambda conn: queue_admin.cancel(conn, actor(), ids))
    told = f"Jobs cancelled: {count} of {len(ids)}."
    _tell(admin.Count(count=count), told, as_json)


@app.command()
def requeue(
    job_id: Annotated[UUID, typer.Argument(metavar="ID", help="A job of the photo.")],
    home: Home = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=0.99, help="Similarity for this run; 0.4 finds more, 0.65 fewer."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search for the photo of a job once more. Matches that are there stay."""
    new_id = _run(
        home, lambda conn: queue_admin.requeue(conn, actor(), job_id, threshold=threshold)
    )
    queued = admin.JobQueued(job=admin.JobId(id=new_id))
    _tell(queued, f"Job {new_id} searches once more.", as_json)


@app.command()
def prioritize(
    ids: Ids,
    home: Home = None,
    priority: Annotated[
        int, typer.Option(min=1, max=3, help="1 soon, 2 as usual, 3 when nobody waits.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Give waiting jobs another priority and a new turn."""
    count = _run(home, lambda conn: queue_admin.prioritize(conn, actor(), ids, priority))
    told = f"Jobs that have priority {priority} now: {count} of {len(ids)}."
    _tell(admin.Count(count=count), told, as_json)


@app.command()
def audit(home: Home = None, limit: Limit = 50, as_json: Json = False) -> None:
    """Show who did what to the queue, newest first."""
    entries = _run(home, lambda conn: queue_admin.list_audit(conn, limit))
    if as_json:
        _print_json(admin.AuditShown(entries=entries))
    else:
        tables.print_audit(entries)


def _run(home: Home, act: Callable[[Connection], Awaitable[_T]]) -> _T:
    return operate(home, act, name="automatch-jobs")


def _count_or_none(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000):
        raise typer.BadParameter("give a number from 1, or `none`; `pause` stops the queue.")
    return int(text)


def _tell(outcome: BaseModel, sentence: str, as_json: bool) -> None:
    if as_json:
        _print_json(outcome)
    else:
        typer.echo(sentence)


def _print_json(shown: BaseModel) -> None:
    typer.echo(shown.model_dump_json(indent=2))
