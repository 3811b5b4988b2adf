"""`automatch jobs`: inspect and control the queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from automatch.cli.options import Home, Json, Limit
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.runtime.db_session import (
    OperatorSession,
    run_as_operator,
    run_in_db_session,
)
from automatch.model.jobs import JobStatus

if TYPE_CHECKING:
    from pydantic import BaseModel

    from automatch.store.database import Connection

_T = TypeVar("_T")

app = typer.Typer(
    help="The queue: inspect, pause, retry, cancel. Works whether Auto-Match runs or not. Changes "
    "are recorded in the audit log.\n\n"
    "Example: `automatch jobs list --status failed`",
    no_args_is_help=True,
)

Ids = Annotated[list[UUID], typer.Argument(metavar="ID", help="Jobs, as `list` shows them.")]
School = Annotated[str | None, typer.Option(help="Only this school.", show_default=False)]
Code = Annotated[str | None, typer.Option(help="Only this error code, such as job_crashed.")]


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
    """List jobs, newest first.

    Example: `automatch jobs list --status failed`
    """
    from automatch.store.queue import queue_admin

    jobs = _run(
        home,
        lambda conn: queue_admin.list_jobs(
            conn, status=status, school=school, code=code, limit=limit
        ),
    )
    if as_json:
        from automatch.http.responses.admin import AdminJobsResponse

        _print_response(AdminJobsResponse(jobs=jobs))
    else:
        from automatch.cli.output.jobs_tables import print_jobs

        print_jobs(jobs)


@app.command()
def show(
    job_id: Annotated[UUID, typer.Argument(metavar="ID", help="The job, as `list` shows it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show one job: its state, error, and how long each stage took.

    Example: `automatch jobs show 7d9e4c1a-2f0b-4e55-9c31-0a6d8b7f1e42`
    """
    from automatch.store.queue import queue_admin

    job = _run(home, lambda conn: queue_admin.load_job(conn, job_id))
    if as_json:
        from automatch.http.responses.admin import AdminJobResponse

        _print_response(AdminJobResponse(job=job))
    else:
        from automatch.cli.output.jobs_tables import print_job

        print_job(job)


@app.command()
def stats(home: Home = None, as_json: Json = False) -> None:
    """Show a summary of the queue, and the jobs in each status.

    Example: `automatch jobs stats`
    """
    from automatch.services.queue.queue import load_queue_overview

    loaded = _run(home, load_queue_overview)
    if as_json:
        from automatch.http.responses.admin import QueueResponse

        _print_response(QueueResponse(queue=loaded.queue, statuses=loaded.statuses))
    else:
        from automatch.cli.output.jobs_tables import print_queue

        print_queue(loaded.queue, loaded.statuses)


@app.command()
def pause(home: Home = None, school: School = None, as_json: Json = False) -> None:
    """Start no more jobs. Uploads are still accepted, and running jobs finish.

    Example: `automatch jobs pause --school UIT`
    """
    from automatch.services.queue import queue

    waiting = _act(home, lambda me: queue.pause(me.db, me.operator, school))
    subject = f"{school} is" if school else "The queue is"
    _report(
        {"waiting": waiting},
        f"{subject} paused; jobs waiting: {waiting}.",
        as_json,
    )


@app.command()
def resume(home: Home = None, school: School = None, as_json: Json = False) -> None:
    """Undo a pause. Schools that were paused by name are resumed by name.

    Example: `automatch jobs resume --school UIT`
    """
    from automatch.services.queue import queue

    waiting = _act(home, lambda me: queue.resume(me.db, me.operator, school))
    subject = school or "The queue"
    _report(
        {"waiting": waiting},
        f"{subject} is running again; jobs waiting: {waiting}.",
        as_json,
    )


@app.command()
def concurrency(
    jobs: Annotated[str, typer.Argument(metavar="N|none", help="At least 1, or `none`.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Limit the jobs that each worker runs at once.

    `none` leaves it to the workers' settings.

    Example: `automatch jobs concurrency 4`
    """
    from automatch.services.queue import queue

    count = _count_or_none(jobs)
    _act(home, lambda me: queue.set_concurrency(me.db, me.operator, count))
    limit = "as many jobs as its settings say" if count is None else f"at most {count} jobs at once"
    _report({"jobs": count}, f"Each worker runs {limit}.", as_json)


@app.command()
def retry(
    ids: Annotated[
        list[UUID] | None,
        typer.Argument(metavar="ID", help="Failed jobs.", show_default=False),
    ] = None,
    home: Home = None,
    every: Annotated[bool, typer.Option("--all", help="All failed jobs.")] = False,
    code: Code = None,
    as_json: Json = False,
) -> None:
    """Give failed jobs all their attempts again.

    Of several jobs of one photo it is only the newest.

    Example: `automatch jobs retry --code job_crashed`
    """
    from automatch.services.queue import queue

    if sum((bool(ids), every, code is not None)) != 1:
        raise typer.BadParameter("give job ids, --all or --code.")
    count = _act(home, lambda me: queue.retry_failed(me.db, me.operator, ids or None, code=code))
    _report({"count": count}, f"Failed jobs queued again: {count}.", as_json)


@app.command()
def cancel(ids: Ids, home: Home = None, as_json: Json = False) -> None:
    """End jobs that are waiting or running. Ended jobs stay as they are.

    Example: `automatch jobs cancel 7d9e4c1a-2f0b-4e55-9c31-0a6d8b7f1e42`
    """
    from automatch.services.queue import queue

    count = _act(home, lambda me: queue.cancel(me.db, me.operator, ids))
    _report({"count": count}, f"Jobs cancelled: {count} of {len(ids)}.", as_json)


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
    """Search for the photo of a job again. Existing matches stay.

    Example: `automatch jobs requeue 7d9e4c1a-2f0b-4e55-9c31-0a6d8b7f1e42 --threshold 0.4`
    """
    from automatch.services.queue import queue

    new_id = _act(home, lambda me: queue.requeue(me.db, me.operator, job_id, threshold=threshold))
    _report({"job": {"id": new_id}}, f"Job {new_id} will search again.", as_json)


@app.command()
def prioritize(
    ids: Ids,
    home: Home = None,
    priority: Annotated[
        int, typer.Option(min=1, max=3, help="1 high, 2 normal, 3 when nothing else is waiting.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Give waiting jobs another priority, and a new position.

    Example: `automatch jobs prioritize 7d9e4c1a-2f0b-4e55-9c31-0a6d8b7f1e42 --priority 1`
    """
    from automatch.services.queue import queue

    count = _act(home, lambda me: queue.prioritize(me.db, me.operator, ids, priority))
    sentence = f"Jobs that now have priority {priority}: {count} of {len(ids)}."
    _report({"count": count}, sentence, as_json)


def _run(home: Home, look: Callable[[Connection], Awaitable[_T]]) -> _T:
    return run_in_db_session(home, look, name="automatch-jobs")


def _act(home: Home, act: Callable[[OperatorSession], Awaitable[_T]]) -> _T:
    return run_as_operator(home, act, name="automatch-jobs")


def _count_or_none(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000):
        raise typer.BadParameter("give a number of at least 1, or `none`; `pause` stops the queue.")
    return int(text)


def _report(result: Mapping[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        echo_json(result)
    else:
        echo(sentence)


def _print_response(response: BaseModel) -> None:
    """Print what the route of operators answers."""
    echo_json(response.model_dump(mode="json"))
