"""Every advice: a fault is made, what the doctor advises is typed as printed, the check is ok.

A check without a case here, and without a reason in `NOT_FOLLOWED`, fails the first test.
"""

from __future__ import annotations

import asyncio
import io
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr
from structlog.testing import capture_logs

from automatch.auth.project_keys import ProjectKey, ProjectKeys
from automatch.ops.backup.keys import new_key
from automatch.ops.doctor.check import Health
from automatch.ops.doctor.context import open_context
from automatch.ops.doctor.run_checks import CHECKS, run_checks
from automatch.photos.make import make_photos
from automatch.photos.store import MARK, photo_path
from automatch.services.photos import photos
from automatch.settings import Settings
from automatch.settings.mail import MailSettings
from automatch.settings.secrets import secrets_file
from automatch.settings.server_address import note_address
from automatch.settings.storage import BackupSettings, PhotoSettings
from automatch.settings.worker import WorkerSettings
from automatch.vision import Embedder
from tests.support import kept_pools
from tests.support.build import a_face, a_job, a_profile, claim, connect, fail, unit
from tests.support.command import call_command
from tests.support.doctor import Installation, close_vector, write_secrets
from tests.support.photo_store import mark_folder
from tests.support.postgres import Database, TestCluster
from tests.support.scheduling import eventually, running_schedule
from tests.support.system import running_server, running_worker
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

NOT_FOLLOWED = {
    "machine.models: Reinstall Auto-Match's dependencies": "installs packages",
    "machine.embedder: automatch models fetch": "downloads a model; tests/cli/commands fetches one",
    "machine.database: Undo the `alter system`": "the Postgres of the tests is not durable",
    "machine.database: Upgrade the server.": "needs an older server",
    "machine.database: automatch up": "tests/cli/commands/installation/test_up.py starts it",
    "machine.hosts: Copy these files": "copies files from one host to another",
    "machine.clock: `timedatectl set-ntp true`": "sets the clock of the machine",
    "storage.photos: `chown`, or a bucket that deletes nothing": "root may write to any folder",
    "storage.disk: Free space": "the disk is not ours; the setting that it names is tried",
    "search.vector: Install pgvector": "needs a server without it",
    "search.vector: alter extension vector update": "needs a server with an older one",
    "search.recall: automatch tune --build": "the recall is that of a day",
    "queue.waiting: Start another worker.": "the backlog of many workers; one worker is tried",
    "queue.latency: Start another worker": "the latency is that of an hour",
    "storage.erased: End transactions that were left open": "needs the embedded server; "
    "tests/postgres/test_erased_data.py removes the rows",
    "storage.erased: automatch upgrade --confirm": "needs the embedded server; "
    "tests/ops/test_upgrade.py follows it",
    "mail.queue: automatch mail test": "needs a mail server; tests/services try the mails",
    "schedule.requests: select net.worker_restart()": "needs the real pg_net",
}
"""Advice that no test can follow, with the reason; the checks have tests that see them fail."""


_RECIPIENT = new_key()[1]


@dataclass
class Place:
    """An installation that a case breaks, and what has to be left at its end."""

    installation: Installation
    cluster: TestCluster
    database: Database
    embedder: Embedder
    request: pytest.FixtureRequest
    stack: AsyncExitStack
    has_helper: bool = False
    """Whether a worker or a schedule was started."""

    @property
    def home(self) -> Path:
        return self.installation.settings.home

    def change(self, **settings: Any) -> None:
        """Give the installation other settings."""
        changed = self.installation.settings.model_copy(update=settings)
        self.installation = replace(self.installation, settings=changed)

    async def run(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await self.installation.run(statement, *parameters)

    async def work(self) -> None:
        """Run a worker until the end of the test."""
        self.has_helper = True
        settings = self.installation.settings
        worker = WorkerSettings(sweep_s=0.1, backoff_s=0.1, outage_pause_max_s=0.1)
        quick = settings.model_copy(update={"worker": worker})
        # What a broken database makes it log has a traceback, which takes long to write.
        self.stack.enter_context(capture_logs())
        await self.stack.enter_async_context(
            running_worker(quick, self.cluster.secrets, self.embedder)
        )


Step = Callable[[Place], Awaitable[object]]
Follow = Callable[[Place, str], Awaitable[object]]


def typed(fix: str) -> list[str]:
    """Return what an advice says is to be typed."""
    return re.findall("`(.+?)`", fix) or ([fix] if fix[0].islower() else [])


async def type_all(place: Place, fix: str) -> None:
    """Follow an advice literally: run each command and statement that it names."""
    assert typed(fix), f"nothing to type in: {fix}"
    for text in typed(fix):
        word, *arguments = shlex.split(text) if text.startswith(("automatch ", "mv ")) else [text]
        if word == "automatch":
            await _command(place, *arguments)
        elif text.startswith(("chmod ", "mv ")):
            await asyncio.to_thread(subprocess.run, shlex.split(text), check=True)
        else:
            # As psql does, outside of a transaction.
            async with await AsyncConnection.connect(
                place.installation.owner, autocommit=True
            ) as conn:
                await conn.execute(text.encode())


async def _command(place: Place, *arguments: str) -> None:
    with patch.object(sys, "stdin", io.StringIO("y\n" * 20)):
        done = await asyncio.to_thread(
            call_command,
            place.home,
            *arguments,
            DATABASE_URL=place.installation.owner,
        )
    # The doctor's own exit code tells of all checks.
    assert done.returncode == 0 or arguments[0] == "doctor", done.stdout + done.stderr


async def worker_is_started(place: Place, fix: str) -> None:
    """Follow `automatch worker`."""
    assert "automatch worker" in typed(fix)
    await place.work()


def see(*words: str, then: Step) -> Follow:
    """Follow an advice in words: read these in it, and do what they say."""

    async def follow(place: Place, fix: str) -> None:
        for word in words:
            assert word in fix
        await then(place)

    return follow


def sql(*statements: str) -> Step:
    async def run(place: Place) -> None:
        for statement in statements:
            await place.run(statement)

    return run


@dataclass
class Case:
    """What breaks a check, and how its advice is followed."""

    check: str
    step: Step
    follow: Follow
    has_server: bool = False
    is_undone: bool = False
    """Whether the advice leaves the database as it was, for the next such case."""


_CASES: list[Case] = []


def case(
    check: str, follow: Follow = type_all, *, has_server: bool = False
) -> Callable[[Step], Step]:
    """Register a case; the rest of it is the function that breaks the check."""

    def register(step: Step) -> Step:
        _CASES.append(Case(check, step, follow, has_server))
        return step

    return register


def broken_by(check: str, *statements: str) -> None:
    """Register a case that statements break, and what is typed undoes."""
    _CASES.append(Case(check, sql(*statements), type_all, is_undone=True))


@case("machine.secrets")
async def readable_secrets(place: Place) -> None:
    secrets_file(place.home).chmod(0o644)


@case("machine.secrets")
async def key_that_expires(place: Place) -> None:
    now = int(time.time())
    ProjectKeys(place.home).add(ProjectKey("old", "anon", now - 360 * 86400, now + 86400))


async def _name_the_service(place: Place) -> None:
    place.change(ai_url=place.installation.url)


@case("machine.models", see("AUTOMATCH_AI_URL", then=_name_the_service), has_server=True)
async def ai_service_away(place: Place) -> None:
    place.change(ai_url="http://127.0.0.1:1")


def _open_connections(place: Place, count: int) -> None:
    pool = place.installation.settings.pool
    place.change(pool=pool.model_copy(update={"max_size": count}))


async def _lower_pool(place: Place) -> None:
    _open_connections(place, 5)


@case("machine.connections", see("lower AUTOMATCH_POOL__MAX_SIZE", then=_lower_pool))
async def more_connections_than_the_server_has(place: Place) -> None:
    _open_connections(place, 500)


async def _start_server(place: Place) -> None:
    server = running_server(place.installation.settings, place.cluster.secrets, place.database)
    system = await place.stack.enter_async_context(server)
    place.installation = replace(place.installation, url=system.url)


async def _unset_replica(place: Place) -> None:
    place.change(replica_url=None)


@case("machine.replica", see("the address of a streaming replica", then=_unset_replica))
async def replica_that_is_none(place: Place) -> None:
    place.change(replica_url=SecretStr(place.database.owner))


@case("machine.logins")
async def closed_schema_of_pgvector(place: Place) -> None:
    close_vector(place.installation.owner)


async def _set_password_of_another_installation(place: Place, broken: str) -> None:
    def restore() -> None:
        secrets = place.cluster.secrets
        with connect(place.installation.owner, autocommit=True) as conn:
            for login in ("api", "worker", "schedule"):
                password = getattr(secrets, f"{login}_password")
                conn.execute(f"alter role automatch_{login} password '{password}'".encode())

    # The logins are the cluster's, which other tests use.
    place.stack.callback(restore)
    await place.run(f"alter role automatch_{broken} password 'of another installation'")


async def _name_one_database(place: Place) -> None:
    place.change(database_url=SecretStr(place.database.owner))


@case("machine.logins", see("both to addresses of one server", then=_name_one_database))
async def pooler_of_another_database(place: Place) -> None:
    place.change(
        database_url=SecretStr(place.cluster.address.owner),
        direct_url=SecretStr(place.database.owner),
    )


@case("machine.logins")
async def password_of_the_workers_of_another_installation(place: Place) -> None:
    await _set_password_of_another_installation(place, "worker")


@case("machine.logins")
async def password_of_the_schedule_of_another_installation(place: Place) -> None:
    await _set_password_of_another_installation(place, "schedule")


@case("machine.web", see("`automatch up`", "--url", then=_start_server))
async def no_server(_: Place) -> None:
    """Leave it stopped."""


async def _right_secrets(place: Place) -> None:
    write_secrets(place.home, place.cluster.secrets)


@case("machine.web", see("--home", then=_right_secrets), has_server=True)
async def server_of_another_installation(place: Place) -> None:
    secrets = place.cluster.secrets
    write_secrets(place.home, replace(secrets, jwt_secret=secrets.jwt_secret[::-1]))


async def _mount(place: Place) -> None:
    assert (await place.installation.check("storage.mark")).health is Health.FAIL
    (place.home / "away").rename(place.home / "photos")


@case("machine.web", see("See storage.mark", then=_mount), has_server=True)
async def photos_not_mounted_meanwhile(place: Place) -> None:
    (place.home / "photos").rename(place.home / "away")
    # The server asks its store every few seconds.
    place.request.getfixturevalue("monkeypatch").setattr(photos, "_CHECK_INTERVAL_S", 0)


async def _public(place: Place) -> None:
    place.change(public_url="https://match.example.org")


async def _publish_texts(place: Place) -> None:
    file = place.home / "text.txt"
    file.write_text("We keep your photo.")
    for kind in ("privacy", "consent"):
        await _command(place, "notice", "publish", kind, str(file), "--language", "en", "--yes")


async def _set_place(place: Place) -> None:
    place.change(backup=BackupSettings(to=str(place.home / "backups"), recipients=_RECIPIENT))
    await _command(place, "backup", str(place.home / "backups"), "--recipient", _RECIPIENT)


@case("backup.recent", see("AUTOMATCH_BACKUP__TO", "`automatch backup`", then=_set_place))
async def no_backup_yet(_: Place) -> None:
    """Leave it so."""


@case("backup.recent", see("`automatch backup`", then=_set_place))
async def backup_of_last_week(place: Place) -> None:
    await place.run(
        "insert into automatch.backup_runs (place, scheduled, started_at, finished_at, name)"
        " values ('', true, now() - interval '7 days', now() - interval '7 days', 'x')"
    )


@case("backup.recent", see("`automatch backup`", then=_set_place))
async def backup_that_failed(place: Place) -> None:
    await place.run(
        "insert into automatch.backup_runs (place, scheduled, finished_at, name, error, encrypted)"
        " values ('', true, now(), 'x', null, true), ('', true, now(), null, 'unplugged', null)"
    )


@case("backup.recent", see("AUTOMATCH_BACKUP__RECIPIENTS", "`automatch backup`", then=_set_place))
async def backup_that_anybody_can_read(place: Place) -> None:
    await place.run(
        "insert into automatch.backup_runs (place, scheduled, finished_at, name, encrypted)"
        " values ('', true, now(), 'x', false)"
    )


@case("backup.recent", see("to the same place", then=_set_place))
async def erasure_that_no_backup_knows(place: Place) -> None:
    await place.run(
        "insert into automatch.backup_runs (place, scheduled, finished_at, name, encrypted)"
        " values ('/there', false, automatch.now(), 'there', true)"
    )
    await place.run(
        "insert into automatch.erased_people (person_sha256, erased_at, act)"
        " values ('ab', automatch.now() + interval '1 s', 'person')"
    )


@case("backup.place", see("correct AUTOMATCH_BACKUP__TO", then=_set_place))
async def backups_into_a_file(place: Place) -> None:
    (place.home / "file").write_text("")
    place.change(backup=BackupSettings(to=str(place.home / "file")))


@case("operator.owner")
async def nobody_yet(_: Place) -> None:
    """Leave it."""


broken_by("operator.contact", "update automatch.operator_identity set name = null")
broken_by("operator.schools", "update automatch.schools set is_open = true")


@case("operator.texts", see("automatch notice publish privacy", then=_publish_texts))
async def texts_of_the_product(_: Place) -> None:
    """Leave them."""


_DECIDED = sql(
    "select decide_held_photo(face_id, false) from list_held_photos()",
    "delete from automatch.cases",
)


@case("operator.waiting", see("automatch photos held", "automatch case list", then=_DECIDED))
async def people_who_wait(place: Place) -> None:
    with connect(place.installation.owner) as conn:
        face = a_face(conn, a_profile(conn))
        conn.execute("select automatch.hold_face(%s, 'another_person')", [face])
        conn.execute(
            "insert into automatch.cases (kind, reason, profile_id)"
            " select 'report', 'under_18', profile_id from faces"
        )


@case("machine.https", see("AUTOMATCH_PUBLIC_URL=https://", then=_public))
async def open_to_others(place: Place) -> None:
    place.change(host="0.0.0.0")


async def _right_home(place: Place) -> None:
    place.change(home=place.home.parent / "home")


@case("storage.home", see("AUTOMATCH_HOME", then=_right_home))
async def wrong_home(place: Place) -> None:
    place.change(home=place.home.with_name("nowhere"))


@case("storage.home")
async def writable_home(place: Place) -> None:
    place.home.chmod(0o777)


@case("storage.home")
async def readable_home(place: Place) -> None:
    place.home.chmod(0o755)
    secrets_file(place.home).chmod(0o644)


@case("storage.photos")
async def readable_photos(place: Place) -> None:
    (place.home / "photos").mkdir(mode=0o755)
    (place.home / "photos").chmod(0o755)


@case("storage.photos")
async def file_in_place_of_photos(place: Place) -> None:
    (place.home / "photos").touch()


async def _mount_photos(place: Place) -> None:
    (place.home / "away").rename(place.home / "photos")


@case("storage.photos", see("Mount it", then=_mount_photos))
async def photos_that_are_away(place: Place) -> None:
    mark_folder(place.installation.owner, place.home / "photos")
    (place.home / "photos").rename(place.home / "away")


async def _right_bucket(place: Place) -> None:
    place.change(photos=place.request.getfixturevalue("bucket"))


@case("storage.photos", see("Does the bucket exist?", then=_right_bucket))
async def wrong_bucket(place: Place) -> None:
    right: PhotoSettings = place.request.getfixturevalue("bucket")
    place.change(photos=right.model_copy(update={"bucket": "nobody-made-it"}))


@case("storage.mark")
async def restored_without_the_mark(place: Place) -> None:
    await kept_pools.close_all()
    mark_folder(place.installation.owner, place.home / "photos")
    (place.home / "photos" / MARK).unlink()


@case("storage.mark")
async def restored_beside_a_new_database(place: Place) -> None:
    await kept_pools.close_all()
    (place.home / "photos").mkdir(mode=0o700)
    (place.home / "photos" / MARK).write_text(str(uuid4()))


async def _lower(place: Place) -> None:
    retention = place.installation.settings.retention
    place.change(retention=retention.model_copy(update={"min_free_mb": 0}))


@case("storage.disk", see("lower AUTOMATCH_RETENTION__MIN_FREE_MB", then=_lower))
async def full_disk(place: Place) -> None:
    retention = place.installation.settings.retention
    place.change(retention=retention.model_copy(update={"min_free_mb": 10**12}))


async def _restore(place: Place) -> None:
    for (path,) in await place.run("select image_path from faces"):
        await make_photos(place.installation.settings).put_copies(path, full=b"f", thumb=b"t")


@case("storage.files", see("Restore the photos", then=_restore))
async def photos_without_files(place: Place) -> None:
    with connect(place.installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))


_QUEUED = (
    "insert into automatch.photo_erasures (image_path, queued_at{})"
    " values (%s, now() - interval '1 hour'{})"
)


@case("storage.erased", worker_is_started)
async def erasure_that_nobody_does(place: Place) -> None:
    await place.run(_QUEUED.format("", ""), photo_path(uuid4()))


async def _remove_obstacle(place: Place) -> None:
    ((path,),) = await place.run("select image_path from automatch.photo_erasures")
    (place.home / "photos" / f"{path}.jpg").rmdir()
    await place.work()


@case("storage.erased", see("Remove what stands in their place", then=_remove_obstacle))
async def folder_in_place_of_a_photo(place: Place) -> None:
    path = photo_path(uuid4())
    mark_folder(place.installation.owner, place.home / "photos")
    (place.home / "photos" / f"{path}.jpg").mkdir(parents=True)
    await place.run(_QUEUED.format(", error", ", 'Is a directory'"), path)


@case("storage.erased")
async def erased_rows_in_the_files(place: Place) -> None:
    await place.run(
        "insert into automatch.erasures (xid, erased_at) values ('1', now() - interval '2 days')"
    )


@case("storage.erased", worker_is_started)
async def erasure_that_is_not_in_the_log(place: Place) -> None:
    await place.run(
        "insert into automatch.erased_people (person_sha256, erased_at, act)"
        " values ('00', now() - interval '1 hour', 'other')"
    )


case("queue.workers", worker_is_started)(no_server)


_undo = sql("alter function of_another_version rename to seconds_to_next_match_job")


@case("queue.faults", see("Put right what it names", then=_undo))
async def missing_function(place: Place) -> None:
    await place.run("alter function seconds_to_next_match_job rename to of_another_version")
    await place.work()
    await eventually(place.installation.owner, "select from automatch.worker_faults")


@case("mail.queue", see("Set AUTOMATCH_PUBLIC_URL", then=_public))
async def links_that_only_this_machine_reaches(place: Place) -> None:
    mail = {"smtp_url": "smtp://127.0.0.1", "sender": "a@uit.example"}
    place.change(mail=MailSettings.model_validate(mail))


broken_by("queue.paused", "select pause_match_jobs()")


async def _resume_school(place: Place) -> None:
    await _command(place, "jobs", "stats")
    await _command(place, "jobs", "resume", "--school", "UIT")


@case("queue.paused", see("automatch jobs resume --school NAME", then=_resume_school))
async def paused_school(place: Place) -> None:
    with connect(place.installation.owner) as conn:
        a_profile(conn)
    await place.run("select pause_match_jobs('UIT')")


@case("queue.waiting", worker_is_started)
async def job_that_waits(place: Place) -> None:
    with connect(place.installation.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn), unit(1)))
    await place.run("update match_jobs set created_at = created_at - interval '2 minutes'")


@case("queue.stuck", worker_is_started)
async def dead_worker(place: Place) -> None:
    with connect(place.installation.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
        claim(conn)
    await place.run("update match_jobs set lease_expires_at = now() - interval '2 minutes'")


@case("queue.failed")
async def failed_job(place: Place) -> None:
    with connect(place.installation.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
        assert fail(conn, *claim(conn), "job_crashed")


broken_by("search.threshold", "update match_settings set threshold = 0.01")
broken_by(
    "search.indexes",
    "update pg_index set indisvalid = false where indexrelid = 'public.matches_pkey'::regclass",
)


@case("search.faces")
async def wrong_search_rows(place: Place) -> None:
    with connect(place.installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))
        conn.execute("set session_replication_role = replica")
        conn.execute("delete from face_index")


@case("search.groups")
async def group_without_an_index(place: Place) -> None:
    await place.run("update automatch.search_settings set index_from = 1, index_until = 1")
    with connect(place.installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))


broken_by("search.shards", "select automatch.begin_index_copy(0)")


@case("search.shards")
async def cluster_that_was_restored_on_one_server(place: Place) -> None:
    await place.run(
        "alter table public.face_embeddings alter column embedding drop not null,"
        " enable trigger face_embeddings_go_to_shards"
    )
    with connect(place.installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))


_GUIDE = (
    "select cron.schedule('process-match-jobs', '{schedule}', $$select"
    " net.http_post(url := '{url}', headers :="
    " jsonb_build_object('Authorization', 'Bearer ' || {key}))$$)"
)
_KEY = "app.settings.service_role_key"


async def _guide(place: Place, **changes: str) -> None:
    parts = {
        "schedule": "* * * * *",
        "url": f"{place.installation.url}/functions/v1/match-generator",
        "key": f"current_setting('{_KEY}')",
    }
    await place.run(_GUIDE.format(**parts | changes))


broken_by("schedule.exists", "delete from cron.job")


@case("schedule.exists")
async def schedule_turned_off(place: Place) -> None:
    await _guide(place)
    await place.run("update cron.job set active = false")


@case("schedule.fields")
async def six_fields(place: Place) -> None:
    await _guide(place, schedule="*/30 * * * * *")


async def _serve_schedule(place: Place) -> None:
    place.has_helper = True
    await place.stack.enter_async_context(running_schedule(place.installation.owner))


@case("schedule.running", see("`automatch serve`", then=_serve_schedule))
async def nobody_runs_the_schedule(place: Place) -> None:
    for name in ("process-match-jobs", "cleanup-match-jobs"):
        await place.run("select cron.schedule(%s, '1 second', 'select 1')", name)


@case("schedule.requests", see("`automatch serve`", then=_serve_schedule))
async def nobody_sends_requests(place: Place) -> None:
    await place.run("select net.http_get('http://127.0.0.1:9/')")


@case("schedule.url", has_server=True)
async def placeholder_of_the_guide(place: Place) -> None:
    await _guide(place, url="https://YOUR_PROJECT.supabase.co/functions/v1/match-generator")


@case("schedule.url", has_server=True)
async def address_where_nobody_answers(place: Place) -> None:
    await place.run(
        "select automatch.ensure_match_schedule('http://127.0.0.1:1/functions/v1/match-generator')"
    )


broken_key = case("schedule.key")


@broken_key
async def key_that_is_not_set(place: Place) -> None:
    await _guide(place)


@broken_key
async def key_in_the_command(place: Place) -> None:
    await _guide(place, key="'eyJhbGciOiJIUzI1NiJ9.e30.c2VjcmV0'")


@case("schedule.setting")
async def key_in_a_setting(place: Place) -> None:
    ((name,),) = await place.run("select current_database()")
    await place.run(f"alter database {name} set {_KEY} = 'sesame'")
    await _guide(place)


async def _renew_and_call(place: Place, fix: str) -> None:
    await type_all(place, fix)
    await place.run("insert into net._http_response (id, status_code) values (2, 200)")


@case("schedule.responses", _renew_and_call)
async def failed_calls(place: Place) -> None:
    await _guide(place)
    await place.run("insert into net._http_response (id, status_code) values (1, 401)")


broken_by("access.rls", "alter table profiles disable row level security")
broken_by("access.rls", "alter table matches no force row level security")
# It still has no policy when the advice was followed, which is for another check to tell.
case("access.rls")(sql("create table public.grades (student text)"))
broken_by(
    "access.policies",
    'create policy "let all in" on matches for insert to authenticated with check (true)',
)
broken_by(
    "access.policies",
    "create table public.notes (body text)",
    "alter table notes enable row level security",
)
broken_by(
    "access.views",
    "create view public.people as select name from profiles",
    "grant select on public.people to authenticated",
)
broken_by(
    "access.views",
    "create materialized view public.schools as select school from profiles",
    "grant select on public.schools to anon",
)
broken_by("access.callable", "grant execute on function list_match_jobs to anon")
broken_by("access.grants", "grant select on face_embeddings to authenticated")
broken_by("access.grants", "grant insert on matches to authenticated")


def test_every_check_has_a_case_or_a_reason() -> None:
    for advice, reason in NOT_FOLLOWED.items():
        sys.stdout.write(f"not followed: {advice}: {reason}\n")
    tried = {one.check for one in _CASES} | {"access.logins", "machine.database", "machine.schema"}
    excused = {advice.partition(":")[0] for advice in NOT_FOLLOWED}

    assert tried <= {check.name for check in CHECKS}
    assert {check.name for check in CHECKS} - tried - excused == set()


@pytest.mark.parametrize(
    "one",
    [one for one in _CASES if not one.is_undone],
    ids=lambda one: f"{one.check}-{one.step.__name__}",
)
async def test_advice_is_followed(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    embedder: Embedder,
    request: pytest.FixtureRequest,
    one: Case,
) -> None:
    write_secrets(settings.home, cluster.secrets)
    installation = Installation(settings, cluster.secrets, "http://127.0.0.1:1", database.owner)
    async with AsyncExitStack() as stack:
        if one.has_server:
            server = await stack.enter_async_context(
                running_server(settings, cluster.secrets, database)
            )
            installation = replace(installation, url=server.url)
            stack.enter_context(note_address(settings.home, server.url))
        await _follow(Place(installation, cluster, database, embedder, request, stack), one)


async def test_advice_that_undoes_statements_is_followed(
    settings: Settings,
    cluster: TestCluster,
    database: Database,
    embedder: Embedder,
    request: pytest.FixtureRequest,
) -> None:
    write_secrets(settings.home, cluster.secrets)
    installation = Installation(settings, cluster.secrets, "http://127.0.0.1:1", database.owner)
    async with AsyncExitStack() as stack:
        place = Place(installation, cluster, database, embedder, request, stack)
        for one in _CASES:
            if one.is_undone:
                await _follow(place, one)


async def _follow(place: Place, one: Case) -> None:
    await one.step(place)
    found = await place.installation.check(one.check)
    assert found.health in {Health.WARN, Health.FAIL}, found
    assert found.fix
    await one.follow(place, found.fix)
    async with asyncio.timeout(PATIENCE_S):
        # What was started needs a moment.
        while (after := await place.installation.check(one.check)).health is not Health.OK:
            told = f"{found.message} -> {found.fix} -> {after.message}"
            assert place.has_helper, told
            await asyncio.sleep(0.05)


async def test_advice_of_the_database_is_followed(
    settings: Settings, cluster: TestCluster, blank_database: Database
) -> None:
    """The address is put right, and the schema is migrated as advised."""
    write_secrets(settings.home, cluster.secrets)
    settings = settings.model_copy(update={"database_url": SecretStr("host=/nowhere")})
    wrong = Installation(settings, cluster.secrets, "http://127.0.0.1:1", "host=/nowhere")
    assert "AUTOMATCH_DATABASE_URL" in str((await wrong.check("machine.database")).fix)

    right = settings.model_copy(update={"database_url": SecretStr(blank_database.owner)})
    there = replace(wrong, settings=right, owner=blank_database.owner)
    found = await there.check("machine.schema")
    assert found.fix == "automatch migrate"
    done = await asyncio.to_thread(
        call_command, settings.home, "migrate", DATABASE_URL=blank_database.owner
    )

    assert done.returncode == 0, done.stderr
    assert (await there.check("machine.schema")).health is Health.OK
    assert "does not answer" not in (await there.check("machine.database")).message


async def test_advice_on_the_logins_is_followed(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    write_secrets(settings.home, cluster.secrets)
    # Roles belong to the cluster that other tests use, so nothing may be committed.
    async with open_context(settings, actor="test") as context:
        conn = context.database
        await conn.execute("set default_transaction_read_only = off")
        checks = [check for check in CHECKS if check.name == "access.logins"]
        async with conn.transaction(force_rollback=True):
            await conn.execute("alter role automatch_api bypassrls")
            await conn.execute("grant service_role to automatch_api")
            await conn.execute(
                SQL("grant temporary on database {} to public").format(Identifier(conn.info.dbname))
            )
            (found,) = await run_checks(context, checks)
            for statement in typed(str(found.result.fix)):
                await conn.execute(statement.encode())
            (after,) = await run_checks(context, checks)

    assert found.result.health is Health.FAIL
    assert after.result.health is Health.OK
