"""All commands by name, and how an error of ours looks on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Annotated

import typer

from automatch import __version__
from automatch.cli.output.echo import echo
from automatch.errors import AutomatchError

COMMANDS = {
    "up": (
        "installation.up:up",
        "Start everything: database, web server, worker and scheduler. Ctrl-C stops it all.",
    ),
    "serve": (
        "installation.serve:serve",
        "Start the web server alone: API, pages and AI service.",
    ),
    "worker": (
        "installation.worker:worker",
        "Start a worker with its scheduled maintenance. SIGTERM finishes or releases its jobs.",
    ),
    "migrate": (
        "installation.migrate:migrate",
        "Migrate the database to this version. Safe to run from several processes at once.",
    ),
    "doctor": (
        "operation.doctor:doctor",
        "Check the installation: what is wrong, and how to fix it.",
    ),
    "verify": (
        "operation.verify:verify",
        "Run a smoke test with two temporary people.",
    ),
    "bench": (
        "operation.bench:bench",
        "Measure what this machine can carry: uploads, open feeds.",
    ),
    "stats": (
        "queue.stats:show_stats",
        "Show the statistics of jobs, workers and schedule runs.",
    ),
    "logs": (
        "queue.logs:logs",
        "Show the latest function invocations, schedule runs and jobs.",
    ),
    "demo": ("people.demo:demo", "Fill a school with simulated people, all marked as such."),
    "import": (
        "people.import_people:import_people",
        "Import people who consented elsewhere: photos, profiles, proof.",
    ),
    "token": ("people.token:app", "Print an access token of a person, or a key of the project."),
    "secrets": (
        "operation.secrets:app",
        "The secrets of this installation: replace one by a new one.",
    ),
    "threshold": (
        "matching.threshold:threshold",
        "Show or set the minimum similarity at which two people match.",
    ),
    "calibrate": (
        "matching.calibrate:calibrate",
        "Fit the similarity scale to strangers within the schools.",
    ),
    "schedule": (
        "queue.schedule:app",
        "The cron jobs: show, change and run them.",
    ),
    "settings": (
        "operation.settings:app",
        "The settings that live in the database: list them, set one.",
    ),
    "tune": (
        "matching.tune:tune",
        "Show how each group is searched; change the search settings.",
    ),
    "jobs": ("queue.jobs:app", "The queue: inspect, pause, retry, cancel."),
    "school": (
        "people.school:app",
        "The schools that people choose from, and who belongs to them.",
    ),
    "case": ("protection.case:app", "Reports and take-down requests: look at them and decide."),
    "duplicates": ("protection.duplicates:app", "Accounts that look like the same person."),
    "about": ("operators.about:app", "Show or set who runs this installation."),
    "notice": (
        "operators.notice:app",
        "The privacy notice and the consent text: publish, list, show.",
    ),
    "user": ("people.user:app", "People: find them, help them, erase them."),
    "operator": ("operators.operator:app", "People who run the installation, and their roles."),
    "audit": ("operators.audit:app", "What operators did and looked at."),
    "mail": ("people.mail:app", "Mail to people: list what waits, hand a link over."),
    "models": (
        "matching.models:app",
        "Face models: list them, get their files, switch between them.",
    ),
    "photos": (
        "protection.photos:app",
        "Photos that wait for your decision.",
    ),
    "erasure": (
        "protection.erasure:app",
        "Erased people: check that they are gone, and keep them erased.",
    ),
    "backup": (
        "installation.backup:app",
        "Backups: make one while everything runs, list and check them.",
    ),
    "restore": ("installation.restore:restore", "Restore a backup into an empty installation."),
    "upgrade": (
        "installation.upgrade:upgrade",
        "Move the embedded database to the next PostgreSQL.",
    ),
    "db": ("installation.db:app", "The database itself."),
}
"""Each command's function or group as `module:name`, and the first line of its help."""


def create_cli(loaded: Collection[str] = tuple(COMMANDS)) -> typer.Typer:
    """Return the command line, with only the commands in *loaded* imported.

    The others show their line of help and cannot be run, so `--help` needs no heavy import.
    """
    cli = typer.Typer(
        name="automatch",
        help="Automatic face matching in the background.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Example: `automatch up --port 8080`\n\n"
        "Settings are read from the environment; docs/settings.md lists them all.",
    )
    cli.callback()(_options)
    for name, (target, line) in COMMANDS.items():
        if name not in loaded:
            cli.command(name, help=line)(_not_loaded)
            continue
        command = load_command(target)
        if isinstance(command, typer.Typer):
            cli.add_typer(command, name=name)
        else:
            cli.command(name)(command)
    return cli


def load_command(target: str) -> typer.Typer | Callable[..., None]:
    """Import a command's function or group, given as `module:name`."""
    module, _, attribute = target.partition(":")
    command: typer.Typer | Callable[..., None] = getattr(
        import_module(f"automatch.cli.commands.{module}"), attribute
    )
    return command


def main() -> None:
    """Run a command; an error of ours is one line on stderr and exit code 1."""
    # Shell completion passes the words in the environment: bash by the one name, others by another.
    typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS")
    words = typed.split() if typed else sys.argv
    try:
        create_cli(words[1:2])()
    except AutomatchError as exc:
        echo(f"automatch: {exc.message}", fg="red", err=True)
        sys.exit(1)


def _not_loaded() -> None:
    raise AssertionError("only commands in `loaded` can be run")


def _print_version(requested: bool) -> None:
    if requested:
        echo(__version__)
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    del version
