"""All checks, in the order in which a person should read them, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from automatch.errors import AutomatchError
from automatch.ops.doctor import (
    access,
    backup,
    calls,
    machine,
    mail,
    operator,
    queue,
    schedule,
    search,
    storage,
)
from automatch.ops.doctor.check import Check, CheckResult, Requires, Result, skipped
from automatch.ops.doctor.context import CheckContext

CHECKS: list[Check] = [
    *machine.CHECKS,
    *storage.CHECKS,
    *backup.CHECKS,
    *queue.CHECKS,
    *search.CHECKS,
    *schedule.CHECKS,
    *calls.CHECKS,
    *mail.CHECKS,
    *access.CHECKS,
    *operator.CHECKS,
]


async def run_checks(context: CheckContext, checks: Sequence[Check] = CHECKS) -> list[CheckResult]:
    """Run the checks one after the other; those that cannot run are skipped with the reason."""
    return [CheckResult(check, await _run(context, check)) for check in checks]


async def _run(context: CheckContext, check: Check) -> Result:
    if check.requires is not Requires.NOTHING and context.conn is None:
        return skipped("The database does not answer.")
    if check.requires is Requires.SCHEMA and (context.missing or context.schema_problem):
        return skipped("The database schema is of another version.")
    try:
        return await check.run(context)
    except psycopg.errors.QueryCanceled:
        return skipped("The database did not answer this check within 10 s.")
    except psycopg.Error as exc:
        reason = exc.diag.message_primary or type(exc).__name__
        return skipped(f"The database refused this check: {reason}.")
    except (AutomatchError, OSError) as exc:
        return skipped(f"The check failed: {exc}.")
