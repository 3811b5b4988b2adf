"""All checks, in the order in which a person should read them."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from automatch.errors import AutomatchError
from automatch.ops.doctor import access, calls, machine, queue, schedule, search, storage
from automatch.ops.doctor.check import Check, CheckResult, Need, Result, skipped
from automatch.ops.doctor.installation import Installation

CHECKS: list[Check] = [
    *machine.CHECKS,
    *storage.CHECKS,
    *queue.CHECKS,
    *search.CHECKS,
    *schedule.CHECKS,
    *calls.CHECKS,
    *access.CHECKS,
]


async def examine(site: Installation, checks: Sequence[Check] = CHECKS) -> list[CheckResult]:
    """Look at everything that can be looked at, one after the other."""
    return [CheckResult(check, await _look(site, check)) for check in checks]


async def _look(site: Installation, check: Check) -> Result:
    if check.needs is not Need.NOTHING and site.conn is None:
        return skipped("The database does not answer.")
    if check.needs is Need.TABLES and (site.missing or site.schema_problem):
        return skipped("The database is not of this version.")
    try:
        return await check.look(site)
    except psycopg.errors.QueryCanceled:
        return skipped("It took the database longer than 10 s to look.")
    except psycopg.Error as exc:
        reason = exc.diag.message_primary or type(exc).__name__
        return skipped(f"The database did not let it be seen: {reason}.")
    except (AutomatchError, OSError) as exc:
        return skipped(f"It could not be looked at: {exc}.")
