"""All commands, and what an error of ours looks like on a terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from automatch import __version__
from automatch.cli.runtime.lazy_commands import Lazy, add_lazily, lazy_group
from automatch.errors import AutomatchError

COMMANDS: dict[str, Lazy] = {
    "up": (
        "run:up",
        "Start everything: database, web server, worker and scheduler. Ctrl-C stops it all.",
    ),
    "serve": (
        "run:serve",
        "Start the web server alone: API, pages and the AI service (`/ai/v1/faces`).",
    ),
    "worker": (
        "run:worker",
        "Start a worker with its scheduler. SIGTERM finishes or gives back what it holds.",
    ),
    "migrate": (
        "db:migrate",
        "Bring the database up to this version. Any number may run at once.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look the installation over: what is wrong, and what to do about it.",
    ),
    "verify": (
        "verify:verify",
        "Try the whole way with two throw-away people: upload, job, matches, live feed.",
    ),
    "stats": (
        "stats:show_stats",
        "Show how things go: jobs by status, times, rate, failures, workers, the schedule's runs.",
    ),
    "logs": (
        "logs:logs",
        "Show the last invocations of the function, runs of its schedule and jobs of the workers.",
    ),
    "demo": ("demo:demo", "Fill a school with simulated people, all marked as such."),
    "import": (
        "import_people:import_people",
        "Enrol people who agreed elsewhere, such as on paper: photos, profiles, proof of consent.",
    ),
    "token": ("token:token", "Print an access token of a person, or a key of the project."),
    "threshold": (
        "threshold:threshold",
        "Show or set the similarity from which on two people match.",
    ),
    "calibrate": (
        "calibrate:calibrate",
        "Fit the similarity scale to strangers of opposite gender inside the schools.",
    ),
    "schedule": (
        "schedule:schedule",
        "Show the cron jobs and their last runs, or say how often waiting jobs are looked for.",
    ),
    "tune": ("tune:tune", "Show how groups are searched, how fast and how well; change it."),
    "jobs": ("jobs:app", "The queue: look, pause, retry, cancel."),
    "duplicates": ("duplicates:app", "Accounts that look like one person."),
    "models": (
        "models:app",
        "Face models: which there are, their files, and changing the one in use.",
    ),
    "db": ("db:app", "The database itself."),
}
"""Where each command is, and the first line of its help."""

app = typer.Typer(
    name="automatch",
    cls=lazy_group(COMMANDS),
    help="Automatic face matching in the background.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings are read from the environment: docs/settings.md names them all.",
)
add_lazily(app, COMMANDS)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and stop.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run a command; an error of ours is one line on stderr and exit code 1."""
    try:
        app()
    except AutomatchError as exc:
        typer.secho(f"automatch: {exc.message}", fg=typer.colors.RED, err=True)
        sys.exit(1)
