"""`automatch doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

import psycopg
import typer

from automatch.cli.commands.run import Home
from automatch.cli.output.doctor_table import print_examined
from automatch.cli.runtime.db_session import actor
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.errors import AutomatchError
from automatch.errors.request import InputInvalidError
from automatch.ops.doctor.check import CheckResult, Health
from automatch.ops.doctor.checkup import examine
from automatch.ops.doctor.installation import open_installation
from automatch.settings import Settings, load_settings


def doctor(
    *,
    home: Home = None,
    url: Annotated[
        str | None,
        typer.Option(help="Where the web server answers, if not where the settings say."),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Put right what can be put right safely; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and not a table.")] = False,
) -> None:
    """Look the installation over: what is wrong, and what to do about it.

    Looking changes nothing and starts nothing. Exit code 0: nothing fails; 1: something does.
    """
    if as_json and fix and not yes:
        raise InputInvalidError("--json asks no questions; give --yes with --fix.")
    settings = load_settings(home=home)
    configure_logs(settings)
    examined, repaired = asyncio.run(_doctor(settings, url=url, fix=fix, yes=yes, as_json=as_json))
    if as_json:
        typer.echo(json.dumps(_told(examined, repaired), indent=2))
    bad = {Health.FAIL, Health.WARN} if strict else {Health.FAIL}
    raise typer.Exit(any(one.result.health in bad for one in examined))


async def _doctor(
    settings: Settings, *, url: str | None, fix: bool, yes: bool, as_json: bool
) -> tuple[list[CheckResult], list[str]]:
    repaired: list[str] = []
    async with open_installation(settings, actor=actor(), url=url) as site:
        examined = await examine(site)
        if not as_json:
            print_examined(examined)
        if fix:
            repaired = await _repair(examined, yes=yes)
    if repaired:
        # As somebody finds it who comes now: what was repaired may have hidden something else.
        async with open_installation(settings, actor=actor(), url=url) as site:
            examined = await examine(site)
            if not as_json:
                print_examined(examined)
    elif fix and not as_json:
        typer.echo("Nothing was changed.")
    return examined, repaired


async def _repair(examined: Sequence[CheckResult], *, yes: bool) -> list[str]:
    repaired = []
    for one in examined:
        repair = one.result.repair
        if repair is None:
            continue
        sentence = f"{one.check.name}: it {repair.does}."
        if not yes and not typer.confirm(f"{sentence} Do it?", err=True):
            continue
        try:
            await repair.act()
        except (AutomatchError, psycopg.Error, OSError) as exc:
            reason = str(exc).partition("\n")[0]
            typer.secho(f"{sentence} It failed: {reason}", fg=typer.colors.RED, err=True)
            continue
        if yes:
            typer.echo(f"{sentence} Done.", err=True)
        repaired.append(one.check.name)
    return repaired


def _told(examined: Sequence[CheckResult], repaired: Sequence[str]) -> dict[str, Any]:
    return {
        "healthy": all(one.result.health is not Health.FAIL for one in examined),
        "checks": [
            {
                "name": one.check.name,
                "looks_at": one.check.looks_at,
                "health": one.result.health.value,
                "says": one.result.says,
                "fix": one.result.fix,
                "repair": one.result.repair.does if one.result.repair else None,
            }
            for one in examined
        ],
        "repaired": list(repaired),
    }
