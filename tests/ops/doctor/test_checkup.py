"""The doctor: well when all is well; then one thing is broken at a time, and its check says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from automatch.ops.doctor import machine
from automatch.ops.doctor.check import Health
from automatch.ops.doctor.installation import open_installation
from automatch.settings import Settings
from automatch.settings.secrets import secrets_file
from automatch.settings.storage import PhotoSettings
from automatch.vision import Embedder
from tests.support.bucket import client_of
from tests.support.build import a_face, a_job, a_profile, claim, connect, one, unit
from tests.support.doctor import CRON_AND_NET, Patient, bad, write_secrets
from tests.support.photos import astronaut, encode
from tests.support.system import System, running_worker

pytestmark = pytest.mark.anyio

_CALL = "select net.http_post(url := '{}', headers := jsonb_build_object('a', {}))"


async def test_healthy_system_is_well(patient: Patient, server: System, embedder: Embedder) -> None:
    async with running_worker(patient.settings, patient.secrets, embedder):
        person = await server.join()
        await person.matched(encode(astronaut()))
        found = await patient.look_at_all()

    # `automatch up` makes the schedule, which has not run yet a moment later.
    assert bad(found).keys() <= {"schedule.running", "schedule.there"}
    assert found["queue.workers"].says == "1 worker is connected."
    assert {name for name, one in found.items() if one.health is Health.OK} >= {
        *("machine.database", "machine.web", "storage.files", "queue.moving", "search.plan"),
        *("search.copy", "access.rls", "access.rights"),
    }


async def test_looking_changes_nothing(patient: Patient) -> None:
    before = await patient.run("select pg_current_xact_id()::text")
    await patient.look_at_all()
    after = await patient.run("select pg_current_xact_id()::text")

    # Each of the two questions took a number itself; nothing in between did.
    assert int(after[0][0]) == int(before[0][0]) + 1
    assert await patient.audited() == []


async def test_session_of_the_checks_cannot_write(patient: Patient) -> None:
    async with open_installation(patient.settings, actor="test") as site:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await site.database.execute("update match_settings set threshold = 0.1")


async def test_secrets_are_never_told(patient: Patient) -> None:
    await patient.run(CRON_AND_NET)
    key = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2VjcmV0"
    await patient.run(
        "select cron.schedule('process-match-jobs', '* * * * *', %s)",
        _CALL.format("http://127.0.0.1:1/x", f"'Bearer {key}'"),
    )
    await patient.run(
        "insert into cron.job_run_details (jobid, status, return_message, start_time)"
        " select jobid, 'failed', %s, now() from cron.job",
        f"ERROR: bad header Bearer {key}",
    )
    (name,) = (await patient.run("select current_database()"))[0]
    await patient.run(f"alter database {name} set app.settings.service_role_key = '{key}'")

    found = await patient.look_at_all()

    told = repr(found)
    assert found["schedule.key"].health is Health.FAIL
    assert found["schedule.setting"].health is Health.WARN
    for secret in (key, *vars(patient.secrets).values()):
        assert secret not in told


async def test_stopped_database_is_told_and_the_rest_still_looked_at(
    patient: Patient, tmp_path: Path
) -> None:
    stopped = Settings(home=tmp_path / "stopped", database_url=None)
    write_secrets(stopped.home, patient.secrets)
    found = await Patient(stopped, patient.secrets, "http://127.0.0.1:1", "").look_at_all()

    assert found["machine.database"].health is Health.FAIL
    assert found["machine.database"].fix == "automatch up"
    assert found["machine.web"].health is Health.FAIL
    for name in ("machine.secrets", "machine.model", "storage.photos", "storage.disk"):
        assert found[name].health is Health.OK, found[name].says
    for name in ("queue.workers", "search.plan", "access.rls", "schedule.there"):
        assert found[name].health is Health.SKIPPED
        assert found[name].says == "The database does not answer."


async def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path / "nowhere", database_url=None)
    found = await Patient(nowhere, None, "http://127.0.0.1:1", "").look_at_all()

    assert found["storage.home"].health is Health.FAIL
    assert not nowhere.home.exists()


async def test_secrets_that_others_can_read(patient: Patient) -> None:
    secrets_file(patient.settings.home).chmod(0o644)
    assert (await patient.look("machine.secrets")).health is Health.FAIL

    assert (await patient.repair("machine.secrets")).health is Health.OK


async def test_missing_model(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = patient.settings.vision.model_copy(update={"yunet_file": Path("/nowhere.onnx")})
    settings = patient.settings.model_copy(update={"vision": elsewhere})

    found = await Patient(settings, patient.secrets, patient.url, patient.owner).look(
        "machine.model"
    )

    assert found.health is Health.FAIL
    assert "/nowhere.onnx" in found.says


async def test_model_in_use_whose_file_is_not_here(patient: Patient) -> None:
    assert (await patient.look("machine.embedder")).health is Health.OK
    await patient.run(
        "insert into embedding_models (id, dimensions, midpoint, width, same_person_u)"
        " values ('sface', 128, 0.9, 0.1, 0.5)"
    )
    await patient.run("update embedding_models set active = id = 'sface'")

    found = await patient.look("machine.embedder")

    assert found.health is Health.FAIL
    assert "sface" in found.says
    assert found.fix == "automatch models fetch sface"


async def test_bucket_that_takes_photos_and_one_that_is_not_there(
    patient: Patient, bucket: PhotoSettings
) -> None:
    there = patient.settings.model_copy(update={"photos": bucket})
    gone = bucket.model_copy(update={"bucket": "nobody-made-it"})
    away = patient.settings.model_copy(update={"photos": gone})

    right = await replace(patient, settings=there).look("storage.photos")
    wrong = await replace(patient, settings=away).look("storage.photos")

    assert right.health is Health.OK, right.says
    assert wrong.health is Health.FAIL
    assert "secret" not in wrong.says
    assert client_of(bucket).list_objects_v2(Bucket=bucket.bucket)["KeyCount"] == 0


async def test_ai_service_that_does_not_answer(patient: Patient) -> None:
    away = patient.settings.model_copy(update={"ai_url": "http://127.0.0.1:1"})
    there = patient.settings.model_copy(update={"ai_url": patient.url})

    assert (await replace(patient, settings=away).look("machine.model")).health is Health.FAIL
    assert (await replace(patient, settings=there).look("machine.model")).health is Health.OK


async def test_old_database_is_told(patient: Patient) -> None:
    await patient.run(
        "delete from supabase_migrations.schema_migrations"
        " where version = (select max(version) from supabase_migrations.schema_migrations)"
    )
    found = await patient.look_at_all()

    assert found["machine.schema"].health is Health.FAIL
    assert found["machine.schema"].fix == "automatch migrate"
    assert found["queue.moving"].health is Health.SKIPPED


async def test_clock_that_is_wrong(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(machine.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - timedelta(seconds=45)

    monkeypatch.setattr(machine, "datetime", Slow)

    found = await patient.look("machine.clock")

    assert found.health is Health.FAIL
    assert "45 s apart" in found.says


async def test_web_server_that_is_away(patient: Patient) -> None:
    away = Patient(patient.settings, patient.secrets, "http://127.0.0.1:1", patient.owner)

    assert (await away.look("machine.web")).health is Health.FAIL


async def test_photo_folder_that_takes_nothing(patient: Patient) -> None:
    # A file in its place: whoever is root writes to any folder, whatever its mode.
    (patient.settings.home / "photos").write_text("")

    assert (await patient.look("storage.photos")).health is Health.FAIL


async def test_photo_folder_on_a_disk_that_cannot_be_written(patient: Patient) -> None:
    (patient.settings.home / "photos").symlink_to("/proc/self")

    found = await patient.look("storage.photos")

    assert found.health is Health.FAIL
    assert "Nothing can be written" in found.says


async def test_photo_folder_that_is_open_to_others(patient: Patient) -> None:
    (patient.settings.home / "photos").mkdir(mode=0o700)
    (patient.settings.home / "photos").chmod(0o755)
    assert (await patient.look("storage.photos")).health is Health.WARN

    assert (await patient.repair("storage.photos")).health is Health.OK
    assert (await patient.audited())[0]["check"] == "storage.photos"


async def test_full_disk(patient: Patient) -> None:
    kept = patient.settings.retention.model_copy(update={"min_free_mb": 10**12})
    settings = patient.settings.model_copy(update={"retention": kept})
    found = await Patient(settings, patient.secrets, patient.url, patient.owner).look(
        "storage.disk"
    )

    assert found.health is Health.FAIL


async def test_photos_that_are_gone(patient: Patient) -> None:
    with connect(patient.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))

    assert (await patient.look("storage.files")).health is Health.FAIL


async def test_erased_photos_that_nobody_deletes(patient: Patient) -> None:
    await patient.run(
        "insert into automatch.photo_erasures (image_path, queued_at)"
        " values ('00/x', now() - interval '11 minutes')"
    )

    assert (await patient.look("storage.erased")).health is Health.FAIL


async def test_worker_that_stopped(patient: Patient, embedder: Embedder) -> None:
    stopped = await patient.look("queue.workers")
    async with running_worker(patient.settings, patient.secrets, embedder):
        running = await patient.look("queue.workers")

    assert stopped.health is Health.FAIL
    assert stopped.fix == "automatch worker"
    assert running.health is Health.OK


async def test_jobs_that_stay_pending(patient: Patient) -> None:
    with connect(patient.owner) as conn:
        a_job(conn, a_face(conn, a_profile(conn)))
    assert (await patient.look("queue.moving")).health is Health.OK
    await patient.run("update match_jobs set created_at = created_at - interval '2 minutes'")

    assert (await patient.look("queue.moving")).health is Health.FAIL
    await patient.run("select pause_match_jobs()")
    assert (await patient.look("queue.moving")).health is Health.SKIPPED
    assert (await patient.look("queue.paused")).health is Health.WARN


async def test_job_that_is_stuck_is_taken_back(patient: Patient) -> None:
    with connect(patient.owner) as conn:
        job = a_job(conn, a_face(conn, a_profile(conn)))
        claim(conn)
    assert (await patient.look("queue.stuck")).health is Health.OK
    await patient.run("update match_jobs set lease_expires_at = now() - interval '2 minutes'")
    assert (await patient.look("queue.stuck")).health is Health.FAIL

    assert (await patient.repair("queue.stuck")).health is Health.OK
    assert await patient.run("select status from match_jobs where id = %s", job) == [("pending",)]
    assert await patient.audited() == [{"check": "queue.stuck"}]


async def test_failed_jobs_are_told_by_reason_and_tried_again(patient: Patient) -> None:
    with connect(patient.owner) as conn:
        for code in ("no_face", "job_crashed"):
            a_job(conn, a_face(conn, a_profile(conn)))
            job, token = claim(conn)
            assert one(
                conn,
                "select count(*) = 1 from public.fail_match_jobs(array[%s]::uuid[],"
                " array[%s]::bigint[], array[%s], array['Why.'])",
                job,
                token,
                code,
            )

    found = await patient.look("queue.failed")
    assert found.health is Health.FAIL
    assert "job_crashed (1)" in found.says
    assert "no_face" not in found.says

    assert (await patient.repair("queue.failed")).health is Health.OK
    rows = await patient.run("select status, error_code from match_jobs order by created_at")
    assert rows == [("failed", "no_face"), ("pending", None)]


async def test_threshold_that_is_insane(patient: Patient) -> None:
    await patient.run("update match_settings set threshold = 0.01")
    assert (await patient.look("search.threshold")).health is Health.FAIL

    assert (await patient.repair("search.threshold")).health is Health.OK
    assert await patient.run("select threshold from match_settings") == [(0.5,)]
    assert await patient.audited() == [{"check": "search.threshold", "threshold": 0.5}]


async def test_pgvector_that_is_too_old(patient: Patient) -> None:
    await patient.run("update pg_extension set extversion = '0.7.4' where extname = 'vector'")

    found = await patient.look("search.vector")

    assert found.health is Health.FAIL
    assert found.fix == "alter extension vector update"


async def test_index_that_is_broken(patient: Patient) -> None:
    with connect(patient.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))
    assert (await patient.look("search.plan")).health is Health.OK
    await patient.run(
        "update pg_index set indisvalid = false where indrelid in"
        " (select inhrelid from pg_inherits where inhparent = 'face_index'::regclass)"
    )

    assert (await patient.look("search.indexes")).health is Health.FAIL
    assert (await patient.look("search.plan")).health is Health.FAIL


async def test_search_copy_that_is_wrong(patient: Patient) -> None:
    with connect(patient.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))
        hidden = a_profile(conn)
        a_face(conn, hidden, unit(2))
        conn.execute("set session_replication_role = replica")
        conn.execute("delete from face_index where profile_id <> %s", [hidden])
        conn.execute("update profiles set discoverable = false where id = %s", [hidden])
    found = await patient.look("search.copy")
    assert found.health is Health.FAIL
    assert "2 people" in found.says

    assert (await patient.repair("search.copy")).health is Health.OK
    assert await patient.run("select count(*) from face_index") == [(1,)]


async def test_searches_that_miss_people(patient: Patient) -> None:
    await patient.run(
        "insert into automatch.search_audits (job_id, school, gender, expected, found)"
        " values (gen_random_uuid(), 'UIT', 'male', 20, 10)"
    )

    assert (await patient.look("search.recall")).health is Health.FAIL


async def test_large_group_without_an_index(patient: Patient) -> None:
    await patient.run("update automatch.search_settings set index_from = 1, index_until = 1")
    with connect(patient.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))

    assert (await patient.look("search.groups")).fix == "automatch tune --build"
