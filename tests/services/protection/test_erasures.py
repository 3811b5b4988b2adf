"""Erasing a person by their own act, an operator's or the retention's."""

from __future__ import annotations

import hashlib

import pytest
from psycopg.types.json import Jsonb

from automatch.errors.request import NotFoundError
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import photo_path
from automatch.services.protection.erasures import Erasures, make_erasures
from automatch.settings.mail import MailSettings
from automatch.store.protection import erasures
from automatch.store.protection.erasure_log import ErasureLog
from tests.support import build
from tests.support.build import connect, one
from tests.support.kept_pools import KeptDatabase
from tests.support.photo_store import mark_folder

pytestmark = pytest.mark.anyio


@pytest.fixture
async def db(database, settings):
    settings.home.mkdir()
    async with KeptDatabase(database.api, settings.pool, name="test") as opened:
        yield opened


@pytest.fixture
def photos(database, tmp_path):
    mark_folder(database.owner, tmp_path / "photos")
    return FolderPhotos(tmp_path / "photos", min_free_mb=0)


def sha256(some_id) -> str:
    return hashlib.sha256(str(some_id).encode()).hexdigest()


async def a_person(database, photos):
    with connect(database.owner, autocommit=True) as conn:
        person = one(conn, "select auth.create_user('she@uit.example', 'x', %s)", Jsonb({}))
        conn.execute("update public.profiles set birth_date = '2000-02-29', school = 'UIT'")
        build.record_consent(conn, person, "granted")
        face = build.a_face(conn, person, build.unit(1))
    await photos.put_copies(photo_path(face), full=b"full", thumb=b"thumb")
    return person, face


async def test_receipt_says_what_went_and_photos_and_log_are_done_with_at_once(
    database, settings, db, photos, tmp_path
) -> None:
    person, face = await a_person(database, photos)
    erasing = make_erasures(settings, db, photos)
    receipt = await erasing.erase(person, "operator")

    assert receipt is not None
    claims = erasing.receipts.verify(receipt)
    assert claims["iss"] == settings.server_url()
    assert (claims["act"], claims["person_sha256"]) == ("operator", sha256(person))
    assert claims["photos_sha256"] == [sha256(face)]
    assert claims["destroyed"]["database"]["public.faces"] == 1
    assert claims["destroyed"]["photo store"] == {"photos": 1, "still to be deleted": 0}
    assert not list((tmp_path / "photos").rglob("*.jpg"))
    [line] = ErasureLog(settings.erasure_log).read()
    assert (line.person_sha256, line.act) == (sha256(person), "operator")
    for text in (str(person), str(face), "she@uit.example"):
        assert text not in receipt + settings.erasure_log.read_text()
    with connect(database.owner) as conn:
        assert one(conn, "select count(*) from automatch.mails") == 0, "there is no mail server"
    with pytest.raises(NotFoundError):
        await erasing.erase(person, "operator")


async def test_receipt_is_mailed_and_the_address_goes_with_the_mail(
    database, settings, db, photos
) -> None:
    person, _ = await a_person(database, photos)
    mail = MailSettings(smtp_url="smtp://localhost:1", sender="Auto-Match <no-reply@uit.example>")
    erasing = make_erasures(
        settings.model_copy(update={"mail": mail}),
        db,
        photos,
    )
    receipt = await erasing.erase(person, "retention")

    with connect(database.owner, autocommit=True) as conn:
        conn.execute("delete from automatch.erasures")
        mail_id, kind, recipient, attempts, mailed = conn.execute(
            "select id, kind, recipient, attempts, receipt from public.take_mail('1 minute')"
        ).fetchone()
        assert (kind, recipient, mailed) == ("erased", "she@uit.example", receipt)
        conn.execute("select public.finish_mail(%s, %s)", [mail_id, attempts])
        assert one(conn, "select count(*) from automatch.mails") == 0
        assert one(conn, "select count(*) from automatch.erasures") == 1, "its bytes go, too"


async def test_photos_in_another_store_than_that_of_the_database_are_left_to_a_worker(
    database, settings, db, photos, tmp_path
) -> None:
    person, _ = await a_person(database, photos)
    elsewhere = FolderPhotos(tmp_path / "elsewhere", min_free_mb=0)
    receipt = await make_erasures(settings, db, elsewhere).erase(person, "operator")

    destroyed = make_erasures(settings, db, photos).receipts.verify(receipt or "")["destroyed"]
    assert destroyed["photo store"] == {"photos": 0, "still to be deleted": 1}
    assert list((tmp_path / "photos").rglob("*.jpg"))


async def test_what_fails_after_the_erasure_does_not_undo_it(
    database, settings, db, photos, tmp_path
) -> None:
    person, face = await a_person(database, photos)
    stuck = tmp_path / "photos" / f"{photo_path(face)}.jpg"
    stuck.unlink()
    stuck.mkdir()
    (tmp_path / "erasures.log").mkdir()
    retention = settings.retention.model_copy(
        update={"erasure_log": str(tmp_path / "erasures.log")}
    )
    erasing: Erasures = make_erasures(
        settings.model_copy(update={"retention": retention}), db, photos
    )
    receipt = await erasing.erase(person, "operator")

    destroyed = erasing.receipts.verify(receipt or "")["destroyed"]
    assert destroyed["photo store"] == {"photos": 0, "still to be deleted": 1}
    with connect(database.owner) as conn:
        assert one(conn, "select count(*) from public.profiles") == 0
        assert one(conn, "select count(*) from automatch.photo_erasures") == 1
    log = ErasureLog(tmp_path / "later.log")
    assert await erasures.write_log(db, log) == 1, "it waits until it can be written"
