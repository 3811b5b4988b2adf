"""The calls of the schedule: their address, their key, and what came of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
from psycopg import sql

from automatch.ops.doctor.check import Check, Need, Repair, Result, fail, ok, skipped, some, warn
from automatch.ops.doctor.cron_jobs import NO_CRON, SQL, list_jobs, load_parts
from automatch.ops.doctor.installation import Installation
from automatch.sql.statements import load
from automatch.store.stats import without_keys

_ACCESS = load("doctor_access")

_PATH = "/functions/v1/match-generator"
_PLACEHOLDER = re.compile(r"YOUR_PROJECT|your-project", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Responses:
    all_of_them: int
    fine: int
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    database: str | None
    role: str | None


async def _url(site: Installation) -> Result:
    parts = await load_parts(site)
    if not parts.has_cron:
        return skipped(NO_CRON)
    urls = sorted({job.url for job in await list_jobs(site) if job.active and job.url})
    if not urls:
        return skipped("No schedule calls an address.")
    complaints = [told for url in urls if (told := await _url_complaint(site, url))]
    if complaints:
        return fail(
            " ".join(complaints),
            "Set AUTOMATCH_PUBLIC_URL (or AUTOMATCH_PORT) to where the server answers, "
            f"{site.url}, then automatch schedule --every 60s",
        )
    return ok(f"{some(urls)} answers.")


async def _url_complaint(site: Installation, url: str) -> str | None:
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    if _PLACEHOLDER.search(url):
        return f"The schedule calls {shown}, where the guide's placeholder was left standing."
    if not parts.path.endswith(_PATH):
        return f"The schedule calls {shown}, and not {_PATH}."
    try:
        # Without a key: whoever is asked says that one is missing, and does nothing.
        answer = await site.http.post(shown, json={"source": "doctor"})
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        return f"Nobody answers at {shown}, which the schedule calls ({type(exc).__name__})."
    if answer.status_code in {401, 403}:
        return None
    return (
        f"{shown}, which the schedule calls, answers {answer.status_code} to a call without a key."
    )


async def _key(site: Installation) -> Result:
    parts = await load_parts(site)
    if not parts.has_cron:
        return skipped(NO_CRON)
    jobs = await list_jobs(site)
    written = [job.name for job in jobs if job.has_written_key]
    if written:
        return fail(
            f"A key stands written in the command of {some(written)}.",
            "automatch schedule --every 60s keeps it in the Vault; then make a new key, since that "
            "one may have been read",
        )
    known = {setting.name for setting in await _settings(site)}
    lacking = sorted(
        {name for job in jobs for name in job.settings if name.startswith("app.")} - known
    )
    if lacking:
        return fail(
            f"The schedule reads its key from {some(lacking)}, which is not set.",
            "automatch schedule --every 60s, which keeps a key of its own in the Vault",
        )
    return ok("Where a schedule needs a key, it has one, and it is not written in the command.")


async def _answers(site: Installation) -> Result:
    parts = await load_parts(site)
    if not parts.has_net:
        return skipped("pg_net is not installed.")
    seen = await site.one(_Responses, SQL["responses"])
    if not seen.all_of_them:
        return skipped("No request was answered in the last hour.")
    told = f"{seen.fine} of {seen.all_of_them} requests of the last hour were answered well"
    if seen.fine == seen.all_of_them:
        return ok(f"{told}.")
    reasons = {401: "the key is wrong", 403: "it is the wrong key", 404: "the address is wrong"}
    why = (
        f"the last that was not got {seen.status}"
        + (f": {reasons[seen.status]}" if seen.status in reasons else "")
        if seen.status
        else f"the last that was not failed: {without_keys(seen.error or '')}"
    )
    health = warn if seen.fine else fail
    return health(
        f"{told}; {why}.", "automatch schedule --every 60s; `automatch logs match-generator`"
    )


async def _setting(site: Installation) -> Result:
    found = await _settings(site)
    if not found:
        return ok("No key lies in a setting of the database.")
    told = some([setting.name for setting in found])
    parts = await load_parts(site)
    jobs = await list_jobs(site) if parts.has_cron else []
    used = {name for job in jobs for name in job.settings}
    unused = [setting for setting in found if setting.name not in used]

    async def forget() -> None:
        async with site.repairing(
            "schedule.setting", settings=[setting.name for setting in unused]
        ) as conn:
            for setting in unused:
                await conn.execute(_forgetting(setting))

    return warn(
        f"Every role of the database can read the key in {told}, as the guide puts it there.",
        "automatch schedule --every 60s keeps a key in the Vault that can start matching and "
        "nothing else; then automatch doctor --fix takes the setting away. Make a new service key.",
        Repair(f"takes {some([one.name for one in unused])} away, which no schedule reads", forget)
        if unused
        else None,
    )


def _forgetting(setting: _Setting) -> sql.Composed:
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


async def _settings(site: Installation) -> list[_Setting]:
    return await site.all(_Setting, _ACCESS["secret_settings"])


CHECKS = [
    Check("schedule.url", "It calls the right address", _url, Need.DATABASE),
    Check("schedule.key", "It has its key", _key, Need.DATABASE),
    Check("schedule.answers", "Its calls are answered", _answers, Need.DATABASE),
    Check("schedule.setting", "No key in a database setting", _setting, Need.DATABASE),
]
