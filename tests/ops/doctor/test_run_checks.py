"""The doctor: a healthy system passes; then each test breaks one thing, and a check reports it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from automatch.ops.doctor import machine
from automatch.ops.doctor.check import Health
from automatch.ops.doctor.context import open_context
from automatch.settings import Settings
from automatch.settings.secrets import secrets_file
from automatch.settings.storage import PhotoSettings
from automatch.vision import Embedder
from tests.support.bucket import client_of
from tests.support.build import a_face, a_job, a_profile, claim, connect, fail, unit
from tests.support.doctor import CRON_AND_NET, Installation, problems, write_secrets
from tests.support.photos import astronaut, encode
from tests.support.system import System, running_worker

pytestmark = pytest.mark.anyio

_CALL = "select net.http_post(url := '{}', headers := jsonb_build_object('a', {}))"


async def test_healthy_system_passes(
    installation: Installation, server: System, embedder: Embedder
) -> None:
    async with running_worker(installation.settings, installation.secrets, embedder):
        person = await server.join()
        await person.matched(encode(astronaut()))
        found = await installation.check_all()

    # `automatch up` creates the schedule, which has not run yet.
    assert problems(found).keys() <= {"schedule.running", "schedule.exists"}
    assert found["queue.workers"].message == "1 worker is connected."
    assert {name for name, result in found.items() if result.health is Health.OK} >= {
        *("machine.database", "machine.web", "storage.files", "queue.waiting", "search.indexes"),
        *("search.faces", "access.rls", "access.grants"),
    }


async def test_checks_change_nothing(installation: Installation) -> None:
    before = await installation.run("select pg_current_xact_id()::text")
    await installation.check_all()
    after = await installation.run("select pg_current_xact_id()::text")

    # Each of the two queries takes a transaction id; nothing in between does.
    assert int(after[0][0]) == int(before[0][0]) + 1
    assert await installation.audit_log() == []


async def test_session_of_the_checks_cannot_write(installation: Installation) -> None:
    async with open_context(installation.settings, actor="test") as context:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await context.database.execute("update match_settings set threshold = 0.1")


async def test_secrets_are_never_shown(installation: Installation) -> None:
    await installation.run(CRON_AND_NET)
    key = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2VjcmV0"
    await installation.run(
        "select cron.schedule('process-match-jobs', '* * * * *', %s)",
        _CALL.format("http://127.0.0.1:1/x", f"'Bearer {key}'"),
    )
    await installation.run(
        "insert into cron.job_run_details (jobid, status, return_message, start_time)"
        " select jobid, 'failed', %s, now() from cron.job",
        f"ERROR: bad header Bearer {key}",
    )
    (name,) = (await installation.run("select current_database()"))[0]
    await installation.run(f"alter database {name} set app.settings.service_role_key = '{key}'")

    found = await installation.check_all()

    shown = repr(found)
    assert found["schedule.key"].health is Health.FAIL
    assert found["schedule.setting"].health is Health.WARN
    for secret in (key, *vars(installation.secrets).values()):
        assert secret not in shown


async def test_stopped_database_is_reported_and_the_rest_still_checked(
    installation: Installation, tmp_path: Path
) -> None:
    stopped = Settings(home=tmp_path / "stopped", database_url=None)
    write_secrets(stopped.home, installation.secrets)
    found = await Installation(stopped, installation.secrets, "http://127.0.0.1:1", "").check_all()

    assert found["machine.database"].health is Health.FAIL
    assert found["machine.database"].fix == "automatch up"
    assert found["machine.web"].health is Health.FAIL
    for name in ("machine.secrets", "machine.models", "storage.photos", "storage.disk"):
        assert found[name].health is Health.OK, found[name].message
    for name in ("queue.workers", "search.faces", "access.rls", "schedule.exists"):
        assert found[name].health is Health.SKIPPED
        assert found[name].message == "The database does not answer."


async def test_checks_create_no_data_folder(tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path / "nowhere", database_url=None)
    found = await Installation(nowhere, None, "http://127.0.0.1:1", "").check_all()

    assert found["storage.home"].health is Health.FAIL
    assert not nowhere.home.exists()


async def test_readable_secrets_are_repaired(installation: Installation) -> None:
    secrets_file(installation.settings.home).chmod(0o644)
    assert (await installation.check("machine.secrets")).health is Health.FAIL

    assert (await installation.repair("machine.secrets")).health is Health.OK


async def test_missing_model_file_fails(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = installation.settings.vision.model_copy(
        update={"yunet_file": Path("/nowhere.onnx")}
    )
    settings = installation.settings.model_copy(update={"vision": elsewhere})

    found = await Installation(
        settings, installation.secrets, installation.url, installation.owner
    ).check("machine.models")

    assert found.health is Health.FAIL
    assert "/nowhere.onnx" in found.message


async def test_model_in_use_without_its_file_fails(installation: Installation) -> None:
    assert (await installation.check("machine.embedder")).health is Health.OK
    await installation.run(
        "insert into embedding_models (id, dimensions, midpoint, width, same_person_u)"
        " values ('sface', 128, 0.9, 0.1, 0.5)"
    )
    await installation.run("update embedding_models set active = id = 'sface'")

    found = await installation.check("machine.embedder")

    assert found.health is Health.FAIL
    assert "sface" in found.message
    assert found.fix == "automatch models fetch sface"


async def test_existing_bucket_passes_and_missing_one_fails(
    installation: Installation, bucket: PhotoSettings
) -> None:
    there = installation.settings.model_copy(update={"photos": bucket})
    gone = bucket.model_copy(update={"bucket": "nobody-made-it"})
    away = installation.settings.model_copy(update={"photos": gone})

    right = await replace(installation, settings=there).check("storage.photos")
    wrong = await replace(installation, settings=away).check("storage.photos")

    assert right.health is Health.OK, right.message
    assert wrong.health is Health.FAIL
    assert "secret" not in wrong.message
    assert client_of(bucket).list_objects_v2(Bucket=bucket.bucket)["KeyCount"] == 0


async def test_ai_service_that_does_not_answer_fails(installation: Installation) -> None:
    away = installation.settings.model_copy(update={"ai_url": "http://127.0.0.1:1"})
    there = installation.settings.model_copy(update={"ai_url": installation.url})

    assert (
        await replace(installation, settings=away).check("machine.models")
    ).health is Health.FAIL
    assert (await replace(installation, settings=there).check("machine.models")).health is Health.OK


async def test_old_schema_fails(installation: Installation) -> None:
    await installation.run(
        "delete from supabase_migrations.schema_migrations"
        " where version = (select max(version) from supabase_migrations.schema_migrations)"
    )
    found = await installation.check_all()

    assert found["machine.schema"].health is Health.FAIL
    assert found["machine.schema"].fix == "automatch migrate"
    assert found["queue.waiting"].health is Health.SKIPPED


async def test_wrong_clock_fails(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(machine.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - timedelta(seconds=45)

    monkeypatch.setattr(machine, "datetime", Slow)

    found = await installation.check("machine.clock")

    assert found.health is Health.FAIL
    assert "45 s apart" in found.message


async def test_web_server_that_does_not_answer_fails(installation: Installation) -> None:
    away = Installation(
        installation.settings, installation.secrets, "http://127.0.0.1:1", installation.owner
    )

    assert (await away.check("machine.web")).health is Health.FAIL


async def test_photo_folder_that_is_a_file_fails(installation: Installation) -> None:
    # A mode would not do: root can write to any folder.
    (installation.settings.home / "photos").write_text("")

    assert (await installation.check("storage.photos")).health is Health.FAIL


async def test_photo_folder_that_is_not_writable_fails(installation: Installation) -> None:
    (installation.settings.home / "photos").symlink_to("/proc/self")

    found = await installation.check("storage.photos")

    assert found.health is Health.FAIL
    assert "is not writable" in found.message


async def test_readable_photo_folder_is_repaired(installation: Installation) -> None:
    (installation.settings.home / "photos").mkdir(mode=0o700)
    (installation.settings.home / "photos").chmod(0o755)
    assert (await installation.check("storage.photos")).health is Health.WARN

    assert (await installation.repair("storage.photos")).health is Health.OK
    assert (await installation.audit_log())[0]["check"] == "storage.photos"


async def test_full_disk_fails(installation: Installation) -> None:
    kept = installation.settings.retention.model_copy(update={"min_free_mb": 10**12})
    settings = installation.settings.model_copy(update={"retention": kept})
    found = await Installation(
        settings, installation.secrets, installation.url, installation.owner
    ).check("storage.disk")

    assert found.health is Health.FAIL


async def test_missing_photo_files_fail(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))

    assert (await installation.check("storage.files")).health is Health.FAIL


async def test_deleted_photos_with_files_fail(installation: Installation) -> None:
    await installation.run(
        "insert into automatch.photo_erasures (image_path, queued_at)"
        " values ('00/x', now() - interval '11 minutes')"
    )

    assert (await installation.check("storage.erased")).health is Health.FAIL


async def test_missing_worker_fails(installation: Installation, embedder: Embedder) -> None:
    stopped = await installation.check("queue.workers")
    async with running_worker(installation.settings, installation.secrets, embedder):
        running = await installation.check("queue.workers")

    assert stopped.health is Health.FAIL
    assert stopped.fix == "automatch worker"
    assert running.health is Health.OK


async def test_jobs_that_stay_pending_fail(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
    assert (await installation.check("queue.waiting")).health is Health.OK
    await installation.run("update match_jobs set created_at = created_at - interval '2 minutes'")

    assert (await installation.check("queue.waiting")).health is Health.FAIL
    await installation.run("select pause_match_jobs()")
    assert (await installation.check("queue.waiting")).health is Health.SKIPPED
    assert (await installation.check("queue.paused")).health is Health.WARN


async def test_job_of_a_dead_worker_is_released(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        job = a_job(conn, a_face(conn, a_profile(conn)))
        claim(conn)
    assert (await installation.check("queue.stuck")).health is Health.OK
    await installation.run("update match_jobs set lease_expires_at = now() - interval '2 minutes'")
    assert (await installation.check("queue.stuck")).health is Health.FAIL

    assert (await installation.repair("queue.stuck")).health is Health.OK
    assert await installation.run("select status from match_jobs where id = %s", job) == [
        ("pending",)
    ]
    assert await installation.audit_log() == [{"check": "queue.stuck"}]


async def test_failed_jobs_are_reported_by_code_and_retried(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        for code in ("no_face", "job_crashed"):
            a_job(conn, a_face(conn, a_profile(conn)))
            job, token = claim(conn)
            assert fail(conn, job, token, code)

    found = await installation.check("queue.failed")
    assert found.health is Health.FAIL
    assert "job_crashed (1)" in found.message
    assert "no_face" not in found.message

    assert (await installation.repair("queue.failed")).health is Health.OK
    rows = await installation.run("select status, error_code from match_jobs order by created_at")
    assert rows == [("failed", "no_face"), ("pending", None)]


async def test_extreme_threshold_is_repaired(installation: Installation) -> None:
    await installation.run("update match_settings set threshold = 0.01")
    assert (await installation.check("search.threshold")).health is Health.FAIL

    assert (await installation.repair("search.threshold")).health is Health.OK
    assert await installation.run("select threshold from match_settings") == [(0.5,)]
    assert await installation.audit_log() == [{"check": "search.threshold", "threshold": 0.5}]


async def test_old_pgvector_fails(installation: Installation) -> None:
    await installation.run("update pg_extension set extversion = '0.7.4' where extname = 'vector'")

    found = await installation.check("search.vector")

    assert found.health is Health.FAIL
    assert found.fix == "alter extension vector update"


async def test_invalid_index_fails(installation: Installation) -> None:
    assert (await installation.check("search.indexes")).health is Health.OK
    await installation.run(
        "update pg_index set indisvalid = false where indrelid in"
        " (select relid from pg_partition_tree('face_index') where isleaf)"
    )

    assert (await installation.check("search.indexes")).health is Health.FAIL


async def test_wrong_rows_of_face_index_are_repaired(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))
        hidden = a_profile(conn)
        a_face(conn, hidden, unit(2))
        conn.execute("set session_replication_role = replica")
        conn.execute("delete from face_index where profile_id <> %s", [hidden])
        conn.execute("update profiles set discoverable = false where id = %s", [hidden])
    found = await installation.check("search.faces")
    assert found.health is Health.FAIL
    assert "2 people" in found.message

    assert (await installation.repair("search.faces")).health is Health.OK
    assert await installation.run("select count(*) from face_index") == [(1,)]


async def test_low_recall_fails(installation: Installation) -> None:
    await installation.run(
        "insert into automatch.search_audits (job_id, school, gender, expected, found)"
        " values (gen_random_uuid(), 'UIT', 'male', 20, 10)"
    )

    assert (await installation.check("search.recall")).health is Health.FAIL


async def test_large_group_without_an_index_is_a_warning(installation: Installation) -> None:
    await installation.run("update automatch.search_settings set index_from = 1, index_until = 1")
    with connect(installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))

    assert (await installation.check("search.groups")).fix == "automatch tune --build"
