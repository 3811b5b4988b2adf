"""The machine: secrets, model, database server, web server, clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from automatch.errors.configuration import SettingsError
from automatch.errors.embedder import EmbedderError
from automatch.ops.doctor.check import Check, Need, Repair, Result, fail, ok, skipped, some, warn
from automatch.ops.doctor.installation import Installation
from automatch.settings.secrets import secrets_file
from automatch.settings.vision import VisionSettings
from automatch.sql.statements import load
from automatch.store.model_changes import read_active_model
from automatch.vision.model_check import try_model
from automatch.vision.models.model_files import FACE_RESNET, FIVE_LANDMARKS, YUNET, read_verified
from automatch.vision.models.registry import find_entry, load_registry

_SQL = load("doctor")
_DURABILITY = load("embedded")["durability"]

_LEAST_SERVER = 150000
_SKEW_WARN_S = 2.0


@dataclass(frozen=True, slots=True)
class _Server:
    number: int
    name: str


async def _secrets(site: Installation) -> Result:
    if site.secrets_problem is None:
        return ok("secrets.json is whole, and nobody else reads it.")
    file = secrets_file(site.settings.home)

    async def close() -> None:
        await asyncio.to_thread(file.chmod, 0o600)

    is_open = file.is_file() and not file.is_symlink() and file.stat().st_mode & 0o077
    return fail(
        site.secrets_problem,
        f"chmod 600 {file}" if is_open else None,
        Repair(f"gives {file} the mode 600", close) if is_open else None,
    )


async def _model(site: Installation) -> Result:
    if (elsewhere := site.settings.ai_url) is not None:
        try:
            answer = await site.http.get(f"{elsewhere.rstrip('/')}/readyz")
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            return fail(
                f"The AI service that workers ask does not answer ({type(exc).__name__}).",
                "automatch serve --only ai on its machine, or another AUTOMATCH_AI_URL",
            )
        if answer.status_code != 200:
            return fail(
                f"The AI service that workers ask answers {answer.status_code}.",
                "Look at its log; its model may be missing.",
            )
        return ok("The AI service that workers ask is ready.")
    return await asyncio.to_thread(_look_at_models, site.settings.vision)


def _look_at_models(vision: VisionSettings) -> Result:
    wanted: dict[str, Path | None] = {FACE_RESNET: None, FIVE_LANDMARKS: None}
    if vision.yunet_file:
        wanted = {FACE_RESNET: None, YUNET: vision.yunet_file}
    try:
        for name, path in wanted.items():
            read_verified(name, path)
    except EmbedderError as exc:
        return fail(exc.message, "Install Auto-Match's dependencies again, or see docs/vision.md.")
    return ok(f"{some(sorted(wanted))} are there, with the right SHA-256.")


async def _model_in_use(site: Installation) -> Result:
    if site.settings.ai_url is not None:
        return skipped("The AI service elsewhere runs it.")
    model = await read_active_model(site.database)
    try:
        entry = find_entry(load_registry(site.settings.home), model)
        await asyncio.to_thread(try_model, entry, site.settings)
    except (EmbedderError, SettingsError) as exc:
        return fail(
            f"Photos cannot be compared with the model in use, {model}: {exc.message}",
            f"automatch models fetch {model}",
        )
    return ok(f"{model} is here, and works.")


async def _database(site: Installation) -> Result:
    if site.conn is None:
        if site.is_embedded and site.secrets is None:
            return fail("The embedded Postgres cannot be reached without its secrets.")
        if site.is_embedded:
            reason = site.database_problem or ""
            # What libpq says of a socket that nobody has opened is no news.
            more = "" if "No such file" in reason or "refused" in reason else f" ({reason})"
            return fail(
                f"Auto-Match does not run here: its Postgres does not answer{more}.", "automatch up"
            )
        return fail(
            f"The database does not answer ({site.database_problem}).",
            "Is the server up, and AUTOMATCH_DATABASE_URL right?",
        )
    server = await site.one(_Server, _SQL["server"])
    if server.number < _LEAST_SERVER:
        return fail(f"Postgres is {server.name}; 15 or newer is needed.", "Upgrade the server.")
    weak = await site.column(_DURABILITY)
    if not site.is_embedded:
        # Whoever runs the server may have other means against broken disks.
        weak = [name for name in weak if name != "data_checksums"]
    if weak:
        return fail(
            f"Postgres would lose what was promised in a crash: {some(weak)} is not on.",
            "Undo `alter system`, `alter database` or `alter role` that turned it off.",
        )
    return ok(f"Postgres {server.name} answers, and keeps what it commits.")


async def _schema(site: Installation) -> Result:
    if site.schema_problem is not None:
        return fail(site.schema_problem)
    if site.missing:
        return fail(
            f"The database lacks {len(site.missing)} migrations of this version.",
            "automatch migrate",
        )
    return ok("The database is of this version.")


async def _web(site: Installation) -> Result:
    try:
        answer = await site.http.get(f"{site.url}/readyz")
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        says = f"No web server answers at {site.url} ({type(exc).__name__})."
        fix = "automatch up; if it listens elsewhere, name it with --url or AUTOMATCH_PUBLIC_URL"
        # Beside a database of one's own the server may well run on another machine.
        if site.is_embedded or site.url_was_given:
            return fail(says, fix)
        return warn(says, fix)
    if answer.status_code == 200:
        return ok(f"{site.url} is ready.")
    if answer.status_code == 503:
        return fail(f"{site.url} answers, and cannot reach its database.", "See machine.database.")
    return fail(
        f"{site.url} answers {answer.status_code} where Auto-Match would say that it is ready.",
        "Does something else listen there? Name the server with --url.",
    )


async def _clock(site: Installation) -> Result:
    began = datetime.now(UTC)
    (theirs,) = await site.column(_SQL["clock"])
    ended = datetime.now(UTC)
    if began <= theirs <= ended:
        return ok("This machine's clock and the database's agree.")
    skew_s = max((began - theirs).total_seconds(), (theirs - ended).total_seconds())
    if skew_s > site.settings.auth.leeway_s:
        return fail(
            f"The clocks of this machine and of the database are {skew_s:.0f} s apart; tokens and "
            "leases go by them.",
            "Set the clock right: timedatectl set-ntp true",
        )
    if skew_s > _SKEW_WARN_S:
        return warn(
            f"The clocks of this machine and of the database are {skew_s:.1f} s apart.",
            "Set the clock right: timedatectl set-ntp true",
        )
    return ok(f"The clocks of this machine and of the database are {skew_s * 1000:.0f} ms apart.")


async def _exposure(site: Installation) -> Result:
    public = site.settings.public_url
    if site.settings.host in {"127.0.0.1", "::1", "localhost"} and public is None:
        return skipped("Only this machine can reach the server.")
    if public is None or not public.startswith("https://"):
        return warn(
            "Other machines can reach the server, and no https:// address is set: sign-in and "
            "photos may travel in the clear.",
            "Put a proxy with TLS in front and set AUTOMATCH_PUBLIC_URL=https://…",
        )
    return ok("People reach it over HTTPS.")


CHECKS = [
    Check("machine.secrets", "The keys are closed to others", _secrets, Need.NOTHING),
    Check("machine.model", "The models are there", _model, Need.NOTHING),
    Check("machine.embedder", "The model in use works", _model_in_use, Need.TABLES),
    Check("machine.database", "Postgres answers and is durable", _database, Need.NOTHING),
    Check("machine.schema", "The database is of this version", _schema, Need.DATABASE),
    Check("machine.web", "The web server answers", _web, Need.NOTHING),
    Check("machine.clock", "The clocks agree", _clock, Need.DATABASE),
    Check("machine.https", "Nothing travels in the clear", _exposure, Need.NOTHING),
]
