"""The doctor's checks of the photos: each test breaks one thing, and its check reports it."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from automatch.ops.doctor import storage
from automatch.ops.doctor.check import Health
from automatch.settings.storage import PhotoSettings
from tests.support.bucket import client_of
from tests.support.build import a_face, a_profile, connect, unit
from tests.support.doctor import Installation

pytestmark = pytest.mark.anyio


@pytest.fixture
def installation(served_installation: Installation) -> Installation:
    """Give one with a server, which makes its keys and its folder of photos."""
    return served_installation


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


async def test_photo_folder_that_is_a_file_fails(installation: Installation) -> None:
    # A mode would not do: root can write to any folder.
    shutil.rmtree(installation.settings.home / "photos")
    (installation.settings.home / "photos").write_text("")

    assert (await installation.check("storage.photos")).health is Health.FAIL


async def test_photo_folder_that_is_not_writable_fails(installation: Installation) -> None:
    shutil.rmtree(installation.settings.home / "photos")
    (installation.settings.home / "photos").symlink_to("/proc/self")

    found = await installation.check("storage.photos")

    assert found.health is Health.FAIL
    assert "is not writable" in found.message


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free space on the disk of"),
        (errno.EROFS, "it is read-only"),
        (errno.EACCES, "`chown`"),
    ],
)
async def test_advice_on_an_unwritable_folder_fits_its_cause(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    problem = OSError(number, os.strerror(number))
    monkeypatch.setattr(storage, "_write_problem", lambda _: problem)

    found = await installation.check("storage.photos")

    assert found.health is Health.FAIL
    assert advice in (found.fix or "")


async def test_readable_photo_folder_is_repaired(installation: Installation) -> None:
    (installation.settings.home / "photos").chmod(0o755)
    assert (await installation.check("storage.photos")).health is Health.WARN

    assert (await installation.repair("storage.photos")).health is Health.OK
    assert (await installation.audit_log())[0]["check"] == "storage.photos"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")
async def test_advice_lets_the_user_of_postgres_in(installation: Installation) -> None:
    nobody = pwd.getpwnam("nobody")
    # pytest closes its folders to other users.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        (home / "postgres").mkdir(mode=0o700, parents=True)
        os.chown(home / "postgres", nobody.pw_uid, nobody.pw_gid)
        changed = {"home": home, "database_url": None}
        settings = installation.settings.model_copy(update=changed)
        embedded = replace(installation, settings=settings)

        for mode in (0o777, 0o700):
            home.chmod(mode)
            found = await embedded.check("storage.home")
            assert found.health is Health.FAIL, found
            assert found.fix == {0o777: f"chmod 711 {home}", 0o700: f"chmod a+x {home}"}[mode]
            subprocess.run(found.fix.split(), check=True)
            assert (await embedded.check("storage.home")).health is Health.OK


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


async def test_erased_rows_that_stay_in_the_files_are_reported(installation: Installation) -> None:
    insert = "insert into automatch.erasures (xid, erased_at) values ('{}', now() - interval '{}')"
    await installation.run(insert.format(1, "24 hours"))
    assert (await installation.check("storage.erased")).health is Health.OK
    await installation.run(insert.format(2, "26 hours"))

    result = await installation.check("storage.erased")

    assert result.health is Health.WARN
    assert result.fix == "automatch db scrub"


async def test_database_of_before_an_upgrade_is_reported(installation: Installation) -> None:
    (installation.settings.home / "postgres" / "data.16").mkdir(parents=True)

    result = await installation.check("storage.erased")

    assert (result.health, result.fix) == (Health.WARN, "automatch upgrade --confirm")


async def test_deleted_photos_with_files_fail_with_the_reason(installation: Installation) -> None:
    await installation.run(
        "insert into automatch.photo_erasures (image_path, queued_at, error)"
        " values ('00/x', now() - interval '2 minutes', 'Is a directory')"
    )

    result = await installation.check("storage.erased")

    assert result.health is Health.FAIL
    assert "Is a directory" in result.message
