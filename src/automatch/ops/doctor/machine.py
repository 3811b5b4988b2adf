"""The machine: secrets, models, database server, web server, clock."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import psycopg

from automatch.auth.host_keys import read_fingerprints
from automatch.auth.project_keys import ProjectKeys
from automatch.auth.server_identity import is_server_ours
from automatch.errors.configuration import SettingsError
from automatch.errors.embedder import EmbedderError
from automatch.errors.store import DatabaseUnavailableError, PhotoStorageError, ServerUnfitError
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
from automatch.ops.doctor.storage import are_photos_there
from automatch.postgres.addresses import Role, database_address, pooled_address, replica_address
from automatch.postgres.lockfile import is_running
from automatch.settings.connections import server_connections, worker_connections
from automatch.settings.secrets import secrets_file
from automatch.settings.vision import VisionSettings
from automatch.sql.statements import load
from automatch.store.installation.server_check import LOGIN_ADVICE, check_server
from automatch.store.matching.model_changes import read_active_model
from automatch.store.operation.servers import list_servers
from automatch.store.queue.stats import count_workers
from automatch.store.replica import measure_lag
from automatch.vision.load import check_model
from automatch.vision.models.model_files import FACE_RESNET, FIVE_LANDMARKS, YUNET, read_verified
from automatch.vision.models.registry import find_entry, load_registry

_SQL = load("doctor")
_DURABILITY = load("embedded")["durability"]

_LOGIN_USERS = {"owner": "owner", "api": "server", "worker": "workers", "schedule": "schedule"}
_REPLICA_S = 3
"""How long the doctor waits for the replica."""
_SKEW_WARN_S = 2.0
_KEY_WARN_S = 14 * 86400


@dataclass(frozen=True, slots=True)
class _Connections:
    available: int
    servers: int
    port: int | None


async def _secrets(context: CheckContext) -> Result:
    if context.secrets_problem is None:
        return _check_project_keys(context.settings.home)
    file = secrets_file(context.settings.home)

    async def restrict() -> None:
        await asyncio.to_thread(file.chmod, 0o600)

    is_open = file.is_file() and not file.is_symlink() and file.stat().st_mode & 0o077
    return fail(
        context.secrets_problem,
        f"chmod 600 {file}" if is_open else None,
        Repair(f"Set the mode of {file} to 600", restrict) if is_open else None,
    )


def _check_project_keys(data_dir: Path) -> Result:
    soon = time.time() + _KEY_WARN_S
    for key in ProjectKeys(data_dir).list():
        is_meant_to_last = key.expires_at - key.made_at > _KEY_WARN_S
        if key.ended_at is None and is_meant_to_last and key.expires_at < soon:
            day = datetime.fromtimestamp(key.expires_at, UTC).date()
            return warn(
                f"A key of the project ({key.role}, {key.id}) expires on {day}.",
                f"Use a new one in its place: `automatch token --role {key.role}`. Then end the "
                f"old one: `automatch token end {key.id}`",
            )
    return ok("secrets.json is valid, and only its owner can read it.")


async def _models(context: CheckContext) -> Result:
    if (ai_url := context.settings.ai_url) is not None:
        try:
            answer = await context.http.get(f"{ai_url.rstrip('/')}/readyz")
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            return fail(
                f"The AI service of the workers does not answer ({type(exc).__name__}).",
                "Run `automatch serve --only ai` on its machine, or change AUTOMATCH_AI_URL.",
            )
        if answer.status_code != 200:
            return fail(
                f"The AI service of the workers answers {answer.status_code}.",
                "Check its log; its model may be missing.",
            )
        return ok("The AI service of the workers is ready.")
    return await asyncio.to_thread(_check_model_files, context.settings.vision)


def _check_model_files(vision: VisionSettings) -> Result:
    required: dict[str, Path | None] = {FACE_RESNET: None, FIVE_LANDMARKS: None}
    if vision.yunet_file:
        required = {FACE_RESNET: None, YUNET: vision.yunet_file}
    try:
        for name, path in required.items():
            read_verified(name, path)
    except EmbedderError as exc:
        return fail(exc.message, "Reinstall Auto-Match's dependencies, or see docs/vision.md.")
    return ok(f"{abbreviate(sorted(required))} exist, with the right SHA-256.")


async def _model_in_use(context: CheckContext) -> Result:
    if context.settings.ai_url is not None:
        return skipped("The AI service runs it.")
    model = await read_active_model(context.database)
    try:
        entry = find_entry(load_registry(context.settings.home), model)
        await asyncio.to_thread(check_model, entry, context.settings)
    except (EmbedderError, SettingsError) as exc:
        return fail(
            f"The model in use, {model}, does not work: {exc.message}",
            f"automatch models fetch {model}",
        )
    return ok(f"{model} works.")


async def _database(context: CheckContext) -> Result:
    if context.unfit is not None:
        return _unfit(context.unfit)
    if context.conn is None:
        if context.is_embedded and context.secrets is None:
            return fail("The embedded Postgres cannot be reached without secrets.json.")
        if context.is_embedded:
            reason = context.database_problem or ""
            # A missing socket or a refused connection only means that it is not running.
            detail = "" if "No such file" in reason or "refused" in reason else f" ({reason})"
            if _is_running(context.settings.home):
                return fail(
                    f"Auto-Match runs here, and its Postgres does not answer{detail}.",
                    "Read what it prints, and the logs of Postgres in "
                    f"{context.settings.home / 'postgres' / 'log'}; if this lasts, stop it and "
                    "start it again.",
                )
            return fail(
                f"Auto-Match is not running here: its Postgres does not answer{detail}.",
                "automatch up",
            )
        return fail(
            f"The database does not answer ({context.database_problem}).",
            "Is the server running, and AUTOMATCH_DATABASE_URL right?",
        )
    (version,) = await context.column(_SQL["server"])
    unsafe = await context.column(_DURABILITY)
    if not context.is_embedded:
        # The operator of the server may detect broken disks by other means.
        unsafe = [name for name in unsafe if name != "data_checksums"]
    if unsafe:
        return fail(
            f"Postgres can lose committed data in a crash: {abbreviate(unsafe)} is off.",
            "Undo the `alter system`, `alter database` or `alter role` that turned it off.",
        )
    return ok(f"Postgres {version} answers, and its durability settings are on.")


def _is_running(home: Path) -> bool:
    try:
        return is_running(home)
    except SettingsError:
        return False


async def _connections(context: CheckContext) -> Result:
    found = await context.one(_Connections, _SQL["connections"])
    workers = max(1, await count_workers(context.database))
    per_server = server_connections(context.settings)
    per_worker = worker_connections(context.settings)
    needed = found.servers * per_server + workers * per_worker
    sums = (
        f"A server opens up to {per_server} connections and a worker up to {per_worker}: "
        f"{needed} with {found.servers} and {workers} of them"
    )
    if context.settings.direct_url:
        sums += ", beside those of the pooler"
    if needed > found.available:
        return warn(
            f"{sums}, and Postgres has {found.available} for them.",
            "Raise max_connections, or lower AUTOMATCH_POOL__MAX_SIZE.",
        )
    if found.port not in (None, context.database.info.port):
        return ok(f"{sums}. The address leads to a pooler: its pool needs as many.")
    return ok(f"{sums}, of the {found.available} that Postgres has for them.")


async def _logins(context: CheckContext) -> Result:
    if context.secrets is None:
        return skipped("There is no secrets.json with the passwords.")
    roles: tuple[Role, ...] = ("owner", "api", "worker", "schedule")
    for role in roles:
        pooled = role if role in ("api", "worker") else None
        try:
            await check_server(
                database_address(context.settings, context.secrets, role),
                pooled=pooled and pooled_address(context.settings, context.secrets, pooled),
            )
        except ServerUnfitError as exc:
            return _unfit(exc.message)
        except DatabaseUnavailableError as exc:
            return fail(
                f"The login of the {_LOGIN_USERS[role]} is refused. "
                f"{exc.message.removesuffix(f' {LOGIN_ADVICE}.')}",
                LOGIN_ADVICE,
            )
    return ok("The server fits this version, and all four logins can sign in.")


def _unfit(message: str) -> Result:
    what, _, advice = message.rpartition("; ")
    return fail(f"{what}.", advice[0].upper() + advice[1:]) if what else fail(message)


async def _replica(context: CheckContext) -> Result:
    secrets = context.secrets
    address = replica_address(context.settings, secrets) if secrets is not None else None
    if address is None:
        return ok("Every read goes to the primary.")
    try:
        lag_s = await measure_lag(context.database, address, wait_s=_REPLICA_S)
    except ServerUnfitError as exc:
        return _unfit(exc.message)
    except psycopg.Error as exc:
        return warn(
            f"The replica does not answer ({type(exc).__name__}), so the primary answers alone.",
            "See whether it runs at the address in AUTOMATCH_REPLICA_URL.",
        )
    except TimeoutError:
        return warn(
            f"The replica lacks what the primary had {_REPLICA_S} seconds ago, so the primary "
            "answers alone.",
            "Ask it for `select pg_is_wal_replay_paused()`, and see whether its disk, its network "
            "or a long query holds it back.",
        )
    if lag_s > context.settings.pool.replica_wait_s:
        return warn(
            f"The replica has what the primary has after {lag_s * 1000:.0f} ms, and reads wait for "
            f"{context.settings.pool.replica_wait_s * 1000:.0f} ms.",
            "See what holds it back, or raise AUTOMATCH_POOL__REPLICA_WAIT_S.",
        )
    return ok(f"The replica has what the primary has after {lag_s * 1000:.0f} ms.")


async def _hosts(context: CheckContext) -> Result:
    if context.secrets is None:
        return skipped("secrets.json cannot be read.")
    own = await asyncio.to_thread(read_fingerprints, context.settings.home, context.secrets)
    servers = [server for server in await list_servers(context.database) if server.alive]
    for server in servers:
        others = [name for name, found in own.items() if server.keys.get(name, found) != found]
        if others:
            return fail(
                f"The server on {server.host} has another {' and '.join(others)} than this data "
                "folder: what one host ends or signs, the other accepts or refuses.",
                "Copy these files from the host where you run commands to the others, and restart "
                "the servers there (docs/hosts.md).",
            )
    return ok(f"All servers that run have the keys of this data folder ({len(servers)}).")


async def _schema(context: CheckContext) -> Result:
    if context.schema_problem is not None:
        return fail(context.schema_problem)
    if context.missing:
        return fail(
            f"The database lacks {len(context.missing)} migrations of this version.",
            "automatch migrate",
        )
    return ok("The database schema is up to date.")


async def _web(context: CheckContext) -> Result:
    try:
        answer = await context.http.get(f"{context.url}/readyz")
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        message = f"No web server answers at {context.url} ({type(exc).__name__})."
        fix = (
            "Start it with `automatch up`; if it has another address, give --url or set "
            "AUTOMATCH_PUBLIC_URL."
        )
        # With an external database the server may well run on another machine.
        if context.is_embedded or context.url_was_given:
            return fail(message, fix)
        return warn(message, fix)
    if context.secrets and not await _is_ours(context, context.secrets.jwt_secret):
        return fail(
            f"The server at {context.url} is not of this installation.",
            "Give the address of its own with --url, or its data folder with --home.",
        )
    if answer.status_code == 200:
        return ok(f"{context.url} is ready.")
    if answer.status_code == 503:
        code, message = _read_error(answer)
        fix = _NOT_READY.get(code, _LOG)
        if code == PhotoStorageError.code and await are_photos_there(context):
            fix = "Try again in a moment: the photos are there now, and it asks every few seconds."
        return fail(f"{context.url} answers that it is not ready: {message}", fix)
    return fail(
        f"{context.url}/readyz answers {answer.status_code}, which Auto-Match would not.",
        "Is this another server? Give the address of Auto-Match with --url.",
    )


_LOG = "It starts the part again by itself; its log says why it failed."
_NOT_READY = {
    "db_unavailable": "See machine.database.",
    "storage_unavailable": "See storage.mark.",
    "storage_full": "See storage.disk.",
}


def _read_error(answer: httpx2.Response) -> tuple[str, str]:
    try:
        error = answer.json()["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "", "it does not say why."


async def _is_ours(context: CheckContext, jwt_secret: str) -> bool:
    try:
        return await is_server_ours(context.http, context.url, jwt_secret)
    except httpx2.HTTPError:
        return False


async def _clock(context: CheckContext) -> Result:
    began = datetime.now(UTC)
    (database_time,) = await context.column(_SQL["clock"])
    ended = datetime.now(UTC)
    if began <= database_time <= ended:
        return ok("The clocks of this machine and of the database agree.")
    skew_s = max((began - database_time).total_seconds(), (database_time - ended).total_seconds())
    if skew_s > context.settings.auth.leeway_s:
        return fail(
            f"The clocks of this machine and of the database are {skew_s:.0f} s apart; tokens and "
            "leases depend on them.",
            "Synchronize the clock: `timedatectl set-ntp true`",
        )
    if skew_s > _SKEW_WARN_S:
        return warn(
            f"The clocks of this machine and of the database are {skew_s:.1f} s apart.",
            "Synchronize the clock: `timedatectl set-ntp true`",
        )
    return ok(f"The clocks of this machine and of the database are {skew_s * 1000:.0f} ms apart.")


async def _https(context: CheckContext) -> Result:
    public = context.settings.public_url
    if context.settings.host in {"127.0.0.1", "::1", "localhost"} and public is None:
        return skipped("Only this machine can reach the server.")
    if public is None or not public.startswith("https://"):
        return warn(
            "Other machines can reach the server, and no https:// address is set: passwords and "
            "photos may be sent unencrypted.",
            "Put a TLS proxy in front and set AUTOMATCH_PUBLIC_URL=https://…",
        )
    return ok("The public address uses HTTPS.")


CHECKS = [
    Check("machine.secrets", "secrets.json is private", _secrets, Requires.NOTHING),
    Check("machine.models", "The model files exist", _models, Requires.NOTHING),
    Check("machine.embedder", "The model in use works", _model_in_use, Requires.SCHEMA),
    Check("machine.database", "Postgres answers and is durable", _database, Requires.NOTHING),
    Check("machine.logins", "The logins work on this server", _logins, Requires.DATABASE),
    Check("machine.connections", "Postgres has enough connections", _connections, Requires.SCHEMA),
    Check("machine.replica", "The replica keeps up", _replica, Requires.DATABASE),
    Check("machine.hosts", "All hosts have the same keys", _hosts, Requires.SCHEMA),
    Check("machine.schema", "The schema is up to date", _schema, Requires.DATABASE),
    Check("machine.web", "The web server answers", _web, Requires.NOTHING),
    Check("machine.clock", "The clocks agree", _clock, Requires.DATABASE),
    Check("machine.https", "Connections are encrypted", _https, Requires.NOTHING),
]
