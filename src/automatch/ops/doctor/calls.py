"""The calls of the schedule: their address, their key, and their responses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
from psycopg import sql

from automatch.ops.doctor.check import (
    Check,
    Repair,
    Requires,
    Result,
    abbreviate,
    fail,
    ok,
    skipped,
    warn,
)
from automatch.ops.doctor.context import CheckContext
from automatch.ops.doctor.cron_jobs import NO_CRON, SQL, list_jobs, load_parts
from automatch.settings.server_address import LEADING_SERVER
from automatch.sql.statements import load
from automatch.store.queue.stats import redact_keys

_ACCESS = load("doctor_access")

_RENEW = "automatch schedule --every 60s --replace"
_PATH = "/functions/v1/match-generator"
_PLACEHOLDER = re.compile(r"YOUR_PROJECT|your-project", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Responses:
    all_of_them: int
    successful: int
    last_succeeded: bool
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class _Queue:
    waiting: int
    is_ours: bool
    is_served: bool


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    database: str | None
    role: str | None


async def _url(context: CheckContext) -> Result:
    parts = await load_parts(context)
    if not parts.has_cron:
        return skipped(NO_CRON)
    urls = sorted({job.url for job in await list_jobs(context) if job.active and job.url})
    if not urls:
        return skipped("No cron job calls an address.")
    problems = [problem for url in urls if (problem := await _url_problem(context, url))]
    if problems:
        return fail(
            " ".join(problems),
            "If the server has another address than "
            f"{context.url}, set AUTOMATCH_PUBLIC_URL to it; then `{_RENEW}`",
        )
    return ok(f"{abbreviate(urls)} answers.")


async def _url_problem(context: CheckContext, url: str) -> str | None:
    parts = urlsplit(url.replace(LEADING_SERVER, context.url))
    address = (
        f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    )
    if _PLACEHOLDER.search(url):
        return f"The schedule calls {address}, which still has the guide's placeholder."
    if not parts.path.endswith(_PATH):
        return f"The schedule calls {address}, and not {_PATH}."
    try:
        # Without a key, so that the function refuses the call and does nothing.
        answer = await context.http.post(address, json={"source": "doctor"})
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        return f"{address}, which the schedule calls, does not answer ({type(exc).__name__})."
    if answer.status_code in {401, 403}:
        return None
    return f"{address}, which the schedule calls, answers {answer.status_code} without a key."


async def _key(context: CheckContext) -> Result:
    parts = await load_parts(context)
    if not parts.has_cron:
        return skipped(NO_CRON)
    jobs = await list_jobs(context)
    written = [job.name for job in jobs if job.has_written_key]
    if written:
        return fail(
            f"The command of {abbreviate(written)} contains a key.",
            f"`{_RENEW}` takes a key of its own from the Vault; then create a new service key, "
            "since the old one may have been read",
        )
    defined = {setting.name for setting in await _settings(context)}
    undefined = sorted(
        {name for job in jobs for name in job.settings if name.startswith("app.")} - defined
    )
    if undefined:
        return fail(
            f"The schedule reads its key from {abbreviate(undefined)}, which is not set.",
            _RENEW,
        )
    return ok("Every cron job that needs a key has one, and none contains it in its command.")


async def _responses(context: CheckContext) -> Result:
    parts = await load_parts(context)
    if not parts.has_net:
        return skipped("pg_net is not installed.")
    responses = await context.one(_Responses, SQL["responses"])
    if not responses.all_of_them:
        return skipped("No request was sent in the last hour.")
    message = (
        f"{responses.successful} of {responses.all_of_them} requests of the last hour succeeded"
    )
    if responses.last_succeeded:
        return ok(f"{message}, the last one too.")
    reasons = {401: "the key is wrong", 403: "it is the wrong key", 404: "the address is wrong"}
    reason = (
        f"the last failed one got {responses.status}"
        + (f": {reasons[responses.status]}" if responses.status in reasons else "")
        if responses.status
        else f"the last failed one: {redact_keys(responses.error or '')}"
    )
    health = warn if responses.successful else fail
    return health(
        f"{message}; {reason}.",
        f"`automatch logs match-generator` shows them; `{_RENEW}` renews address and key, and the "
        "next call tells.",
    )


async def _queue(context: CheckContext) -> Result:
    parts = await load_parts(context)
    if not parts.has_net:
        return skipped("pg_net is not installed.")
    queue = await context.one(_Queue, SQL["requests"])
    message = f"{queue.waiting} requests wait to be sent"
    if not queue.waiting or queue.is_served:
        return ok(f"{message}.")
    return fail(
        f"{message}, and nobody sends them.",
        "Start the server (`automatch serve`), which sends them."
        if queue.is_ours
        else "select net.worker_restart()",
    )


async def _setting(context: CheckContext) -> Result:
    found = await _settings(context)
    if not found:
        return ok("No setting of the database contains a key.")
    names = abbreviate([setting.name for setting in found])
    parts = await load_parts(context)
    jobs = await list_jobs(context) if parts.has_cron else []
    used = {name for job in jobs for name in job.settings}
    unused = [setting for setting in found if setting.name not in used]

    async def remove() -> None:
        async with context.repairing(
            "schedule.setting", settings=[setting.name for setting in unused]
        ) as conn:
            for setting in unused:
                await conn.execute(_reset_statement(setting))

    return warn(
        f"Every role of the database can read the key in {names}, where the guide puts it.",
        f"`{_RENEW}` uses a key in the Vault that can start matching and nothing else; then "
        "`automatch doctor --fix` removes the setting. Create a new service key.",
        Repair(
            f"Remove {abbreviate([setting.name for setting in unused])}, which no cron job reads",
            remove,
        )
        if unused
        else None,
    )


def _reset_statement(setting: _Setting) -> sql.Composed:
    kind = {
        (True, False): "forget_of_database",
        (False, True): "forget_of_role",
        (True, True): "forget_of_both",
    }[setting.database is not None, setting.role is not None]
    return sql.SQL(_ACCESS[kind]).format(
        database=sql.Identifier(setting.database or ""),
        role=sql.Identifier(setting.role or ""),
        setting=sql.Identifier(*setting.name.split(".")),
    )


async def _settings(context: CheckContext) -> list[_Setting]:
    return await context.all(_Setting, _ACCESS["secret_settings"])


CHECKS = [
    Check("schedule.url", "The schedule calls the right address", _url, Requires.DATABASE),
    Check("schedule.key", "The schedule has its key", _key, Requires.DATABASE),
    Check("schedule.requests", "The requests of the schedule are sent", _queue, Requires.DATABASE),
    Check("schedule.responses", "The calls of the schedule succeed", _responses, Requires.DATABASE),
    Check("schedule.setting", "No key in a database setting", _setting, Requires.DATABASE),
]
