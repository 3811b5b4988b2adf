"""`automatch doctor`: what is wrong with this installation, and how to fix it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automatch.cli.options import Home, Json, ServerUrl
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.runtime.db_session import audit_actor
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors import AutomatchError
from automatch.errors.request import InputInvalidError
from automatch.ops.doctor.check import CheckResult, Health

if TYPE_CHECKING:
    from automatch.settings import Settings


def doctor(
    *,
    home: Home = None,
    url: ServerUrl = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what can be repaired safely; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Json = False,
) -> None:
    """Check the installation: what is wrong, and how to fix it.

    The checks change nothing and start nothing. Exit code 0: no check fails; 1: at least one does.

    Example: `automatch doctor --fix`
    """
    if as_json and fix and not yes:
        raise InputInvalidError("--json cannot ask; give --yes with --fix.")
    settings = load_settings_and_logging(home=home)
    results, repaired = asyncio.run(_doctor(settings, url=url, fix=fix, yes=yes, as_json=as_json))
    if as_json:
        echo_json(_as_json(results, repaired))
    bad = {Health.FAIL, Health.WARN} if strict else {Health.FAIL}
    raise typer.Exit(any(checked.result.health in bad for checked in results))


async def _doctor(
    settings: Settings, *, url: str | None, fix: bool, yes: bool, as_json: bool
) -> tuple[list[CheckResult], list[str]]:
    from automatch.cli.output.doctor_table import print_results
    from automatch.ops.doctor.context import open_context
    from automatch.ops.doctor.run_checks import run_checks

    repaired: list[str] = []
    async with open_context(settings, actor=audit_actor(), url=url) as context:
        results = await run_checks(context)
        if not as_json:
            print_results(results)
        if fix:
            repaired = await _repair(results, yes=yes)
    if repaired:
        # Check again from the start: a repaired problem may have hidden another.
        async with open_context(settings, actor=audit_actor(), url=url) as context:
            results = await run_checks(context)
            if not as_json:
                print_results(results)
    elif fix and not as_json:
        echo("Nothing was changed.")
    return results, repaired


async def _repair(results: Sequence[CheckResult], *, yes: bool) -> list[str]:
    import psycopg

    repaired = []
    for checked in results:
        repair = checked.result.repair
        if repair is None:
            continue
        sentence = f"{checked.check.name}: {repair.description}."
        if not yes and not typer.confirm(f"{sentence} Do it?", err=True):
            continue
        try:
            await repair.act()
        except (AutomatchError, psycopg.Error, OSError) as exc:
            reason = str(exc).partition("\n")[0]
            echo(f"{sentence} It failed: {reason}", fg="red", err=True)
            continue
        if yes:
            echo(f"{sentence} Done.", err=True)
        repaired.append(checked.check.name)
    return repaired


def _as_json(results: Sequence[CheckResult], repaired: Sequence[str]) -> dict[str, Any]:
    return {
        "healthy": all(checked.result.health is not Health.FAIL for checked in results),
        "checks": [
            {
                "name": checked.check.name,
                "title": checked.check.title,
                "health": checked.result.health.value,
                "message": checked.result.message,
                "fix": checked.result.fix,
                "repair": checked.result.repair.description if checked.result.repair else None,
            }
            for checked in results
        ],
        "repaired": list(repaired),
    }
