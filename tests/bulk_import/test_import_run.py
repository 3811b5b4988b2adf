"""`automatch import`: people of a list are imported once, with lower priority than uploads."""

from __future__ import annotations

import asyncio
import csv
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automatch.auth.addresses import AddressKey
from automatch.bulk_import.import_run import ImportContext, ImportRun, Outcome
from automatch.bulk_import.photo_files import PhotoFiles
from automatch.bulk_import.rows import COLUMNS, EmailCheck, RefusedRows, parse_person, read_rows
from automatch.cli.commands.people import import_people
from automatch.cli.runtime.signals import Shutdown
from automatch.errors.store import QueueFullError
from automatch.mail import mailer
from automatch.photos.make import make_photos
from automatch.services.photos.admission import Admission
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.store import database as store
from automatch.store.people.imports import list_consent_versions
from automatch.vision import Embedder
from automatch.vision.decode.upload_check import limits_from
from tests.support.build import connect, one
from tests.support.command import call_command, environment
from tests.support.forbidden_states import find_forbidden_states
from tests.support.forks import ForkedProcess
from tests.support.photos import (
    astronaut,
    encode,
    hopper,
    portrait,
    scene_without_face,
    shared_portraits,
)
from tests.support.postgres import Database, TestCluster
from tests.support.smtp import link_in, mail_server
from tests.support.system import PASSWORD, System, running_worker
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

_PAPER = "paper form, binder 4"


def _person(number: int, **cells: str) -> dict[str, str]:
    return {
        "file": f"{number}.jpg",
        "email": f"imported{number}@example.org",
        "name": f"Person {number}",
        "school": "UIT",
        "gender": "female" if number % 2 else "male",
        "birth_date": "2000-02-29",
        "consent_version": "2026-11",
        "consent_at": "2026-11-03",
        "consent_evidence": f"{_PAPER}, page {number}",
    } | cells


def _write_list(folder: Path, people: list[dict[str, str]], photos: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in photos.items():
        (folder / name).write_bytes(data)
    with (folder / "people.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(people)
    return folder


def _refused(folder: Path) -> dict[int, tuple[str, str]]:
    path = folder / "people.refused.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as lines:
        return {int(row["row"]): (row["code"], row["message"]) for row in csv.DictReader(lines)}


_COMPLETE_ALL = """
    update match_jobs set status = 'completed', completed_at = now(), match_count = 0
    where status = 'pending' returning id
"""

_COUNT_WAITING = """
    select count(*) from pg_stat_activity
    where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0
"""

Import = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def import_list(server: System, cluster: TestCluster, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Give `automatch import` on the test's own database and data folder."""
    home = server.settings.home
    home.mkdir(mode=0o700, exist_ok=True)
    secrets = home / "secrets.json"
    if not secrets.exists():
        secrets.write_bytes((cluster.settings.home / "secrets.json").read_bytes())
        secrets.chmod(0o600)
    # Only a main thread can; the process that is interrupted below handles them.
    monkeypatch.setattr(import_people, "handle_signals", Shutdown)

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        settings = {"DATABASE_URL": server.database.owner, "RETENTION__MIN_FREE_MB": "0"}
        return call_command(home, "import", *arguments, **settings, **more)

    return run


async def _run(import_list: Import, *arguments: object) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(import_list, *arguments)


async def test_list_becomes_people_with_matches_and_proof_of_consent(
    system: System, import_list: Import, tmp_path: Path
) -> None:
    folder = _write_list(
        tmp_path / "list",
        [
            _person(1),
            _person(2),
            _person(3, file="empty.jpg"),
            _person(1, file="1b.png"),
            _person(4),
        ],
        {
            "1.jpg": encode(astronaut()),
            "1b.png": encode(astronaut().resize((400, 400)), "PNG"),
            "2.jpg": encode(astronaut(), quality=85),
            "empty.jpg": encode(scene_without_face()),
            "4.jpg": encode(astronaut())[:9000],
        },
    )

    first = await _run(import_list, folder)
    refused = _refused(folder)
    again = await _run(import_list, folder)

    assert first.returncode == again.returncode == 1, first.stderr
    assert "Photos imported: 5; existing: 0." in first.stdout
    assert "Photos imported: 0; existing: 5." in again.stdout
    assert {row: code for row, (code, _) in refused.items()} == {4: "no_face", 6: "image_damaged"}
    assert _refused(folder) == refused
    assert "1  no_face" in first.stdout
    with connect(system.database.owner) as conn:
        ledger = conn.execute(
            "select c.source, c.given_at::date, c.evidence, c.text_version, p.school, p.gender"
            " from biometric_consents as c join profiles as p on p.id = c.profile_id"
            " where p.email = 'imported1@example.org'"
        ).fetchall()
        people = one(conn, "select count(*) from profiles")
        matches = one(conn, "select count(*) from matches")
        acts = conn.execute("select action, details->'photos' from automatch.audit_log").fetchall()
        broken = find_forbidden_states(conn)
    assert ledger == [
        ("import", date(2026, 11, 3), f"{_PAPER}, page 1", "2026-11", "UIT", "female")
    ]
    assert people == 4
    # One match per photo of hers; one fewer if his search ran before her second photo was ready.
    assert matches in {1, 2}
    assert acts == [("import", 5)]
    assert broken == []
    token = await asyncio.to_thread(
        call_command,
        system.settings.home,
        *("token", "--email", "imported1@example.org", "--reason", "asked for help"),
        DATABASE_URL=system.database.owner,
        AUTH__ALLOW_IMPERSONATION="true",
    )
    headers = {"authorization": f"Bearer {token.stdout.strip()}"}
    feed = (await system.client.get("/api/matches", headers=headers)).json()["matches"]
    assert [match["profile"]["name"] for match in feed] == ["Person 2"]


async def test_imported_account_has_no_password_and_cannot_be_taken_over(
    server: System, import_list: Import, tmp_path: Path
) -> None:
    folder = _write_list(tmp_path / "list", [_person(1)], {"1.jpg": encode(astronaut())})
    await _run(import_list, folder, "--no-wait")

    for password in ("", "!", PASSWORD):
        answer = await server.client.post(
            "/auth/v1/token", json={"email": "imported1@example.org", "password": password}
        )
        assert answer.json()["error"]["code"] == "credentials_invalid"
    answer = await server.client.post(
        "/auth/v1/signup", json={"email": "imported1@example.org", "password": PASSWORD}
    )
    assert answer.json()["error"]["code"] == "email_taken"


async def test_imported_people_are_invited_once_and_not_all_at_once(
    system: System, import_list: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the second one, which is due a second after the first.
    monkeypatch.setattr(mailer, "_LOOK_EVERY_S", 0.1)
    folder = _write_list(
        tmp_path / "list",
        [_person(1), _person(2)],
        {"1.jpg": encode(astronaut()), "2.jpg": encode(hopper())},
    )
    waiting = await _run(import_list, folder, "--invite", "--no-wait")
    [(pause,)] = _rows(system.database, "select max(run_at) - min(run_at) from automatch.mails")
    with mail_server() as box:
        mail = {"MAIL__SMTP_URL": box.url, "MAIL__SENDER": "a@uit.example"}
        mailed, again = [
            await asyncio.to_thread(import_list, folder, "--invite", **mail) for _ in "12"
        ]
        messages = [await box.take() for _ in "12"]

        assert box.arrived.empty()
    assert "People invited: 2.\nNo mail server is set;" in waiting.stdout
    assert timedelta(seconds=1) <= pause < timedelta(seconds=2)
    assert mailed.returncode == again.returncode == 0, mailed.stderr
    assert "People invited: 0." in again.stdout
    assert {message["To"] for message in messages} == {
        *("imported1@example.org", "imported2@example.org"),
    }
    assert all("/invitation?token=" in link_in(message) for message in messages)


async def test_list_with_errors_is_refused_as_a_whole_unless_skipping(
    server: System, import_list: Import, tmp_path: Path
) -> None:
    (tmp_path / "secret.jpg").write_bytes(encode(hopper()))
    folder = _write_list(
        tmp_path / "list",
        [
            _person(1),
            _person(2, consent_evidence=""),
            _person(3, file="../secret.jpg"),
            _person(5, file="link.jpg"),
            _person(7, file="none.jpg"),
            _person(9, file="=1.jpg"),
            _person(1, name="Somebody else"),
            _person(11, birth_date="2020-01-01"),
            _person(13),
        ],
        {"1.jpg": encode(astronaut()), "2.jpg": encode(hopper()), "13.jpg": b"GIF89a" * 100},
    )
    (folder / "link.jpg").symlink_to("../secret.jpg")

    checked = await _run(import_list, folder, "--check")
    with_photos = _refused(folder)
    stopped = await _run(import_list, folder / "people.csv")
    with connect(server.database.owner) as conn:
        people_before = one(conn, "select count(*) from profiles")
    skipping = await _run(import_list, folder, "--skip-refused", "--no-wait")

    assert checked.returncode == stopped.returncode == skipping.returncode == 1
    assert "Nothing was imported." in checked.stdout
    assert "Nothing was imported." in stopped.stdout
    assert people_before == 0
    expected = {
        3: "consent_required",
        4: "input_invalid",
        5: "input_invalid",
        6: "file_missing",
        7: "input_invalid",
        8: "email_taken",
        9: "age_not_allowed",
        10: "image_type_unsupported",
    }
    assert {row: code for row, (code, _) in with_photos.items()} == expected
    assert {row: code for row, (code, _) in _refused(folder).items()} == expected
    assert "Photos imported: 1; existing: 0." in skipping.stdout


async def test_people_with_an_own_account_or_who_left_are_refused(
    server: System, import_list: Import, tmp_path: Path
) -> None:
    own = await server.join()
    folder = _write_list(
        tmp_path / "list",
        [_person(number) for number in (1, 2)] + [_person(3, email=own.email)],
        {f"{number}.jpg": portrait(number) for number in (1, 2, 3)},
    )
    await _run(import_list, folder, "--skip-refused", "--no-wait")
    first = _refused(folder)
    with connect(server.database.owner, autocommit=True) as conn:
        conn.execute(
            "insert into biometric_consents (profile_id, action, text_version, text_sha256)"
            " select p.id, 'withdrawn', t.version, t.sha256 from profiles as p, consent_texts as t"
            " where p.email = 'imported1@example.org'"
        )
        conn.execute("delete from auth.users where email = 'imported2@example.org'")

    await _run(import_list, folder, "--skip-refused", "--no-wait")

    assert {row: code for row, (code, _) in first.items()} == {4: "email_taken"}
    then = _refused(folder)
    assert {row: code for row, (code, _) in then.items()} == {
        2: "consent_required",
        3: "consent_required",
        4: "email_taken",
    }
    assert "withdrew" in then[2][1]
    assert "erased" in then[3][1]
    with connect(server.database.owner) as conn:
        assert one(conn, "select count(*) from faces") == 0
        assert find_forbidden_states(conn) == []


async def test_unused_account_is_completed_and_belongs_to_the_school_of_the_list(
    server: System, import_list: Import, tmp_path: Path
) -> None:
    unused = await server.sign_up()
    with connect(server.database.owner, autocommit=True) as conn:
        conn.execute("select public.set_school_open('UIT', false)")
    folder = _write_list(
        tmp_path / "list",
        [_person(1, email=unused.email, school="uit"), _person(2, school="Nowhere")],
        {"1.jpg": encode(astronaut()), "2.jpg": portrait(2)},
    )

    done = await _run(import_list, folder, "--no-wait")

    assert done.returncode == 1, done.stdout
    assert {row: code for row, (code, _) in _refused(folder).items()} == {3: "school_unknown"}
    profile = (await unused.get("/api/profile")).json()
    assert (profile["name"], profile["school"], profile["admitted"]) == ("Person 1", "UIT", True)
    assert (await unused.get("/api/profile/consent")).json()["granted"]


async def test_upload_during_an_import_is_processed_first(
    server: System,
    settings: Settings,
    cluster: TestCluster,
    embedder: Embedder,
    import_list: Import,
    tmp_path: Path,
) -> None:
    numbers = range(1, 25)
    folder = _write_list(
        tmp_path / "list",
        [_person(number) for number in numbers],
        {f"{number}.jpg": portrait(number) for number in numbers},
    )
    await _run(import_list, folder, "--no-wait")
    live = await server.join()
    upload = (await live.upload(encode(hopper()))).json()["job"]["id"]

    async with running_worker(settings, cluster.secrets, embedder):
        job = await live.ended(upload)
        with connect(server.database.owner) as conn:
            # However many have ended until it is known here that this one has.
            left = one(
                conn,
                "select count(*) from match_jobs as other, match_jobs as live where live.id = %s"
                " and (other.started_at is null or other.started_at > live.started_at)",
                upload,
            )
        priorities = {row[0] for row in _rows(server.database, "select priority from match_jobs")}

    assert job["status"] == "completed"
    assert priorities == {1, 3}
    assert left > 9


async def test_real_people_of_both_genders_are_imported(
    system: System, import_list: Import, tmp_path: Path
) -> None:
    portraits = shared_portraits(8)
    folder = _write_list(
        tmp_path / "list",
        [_person(number) for number in range(len(portraits))],
        {f"{number}.jpg": photo for number, photo in enumerate(portraits)},
    )

    done = await _run(import_list, folder)

    seen = _rows(system.database, "select count(*) from face_embeddings")[0][0]
    # One or two of the portraits may be refused; each of them is reported.
    refused = _refused(folder) if done.returncode else {}
    assert seen + len(refused) == len(portraits)
    assert len(refused) <= 2


async def test_interrupted_import_is_resumed(
    server: System, cluster: TestCluster, import_list: Import, tmp_path: Path
) -> None:
    numbers = range(1, 31)
    photo = astronaut().resize((160, 160))
    folder = _write_list(tmp_path / "list", [_person(n) for n in numbers], {})
    for number in numbers:
        photo.putpixel((0, 0), (number, 0, 0))
        (folder / f"{number}.jpg").write_bytes(encode(photo, "PNG"))
    with connect(server.database.owner) as conn:
        # Each of the four rows that are imported at a time comes to wait for one of these.
        for number in range(5, 9):
            conn.execute(
                "insert into auth.users (email, encrypted_password) values (%s, '')",
                [_person(number)["email"]],
            )
        process = ForkedProcess(
            [sys.executable, "-m", "automatch", "import", str(folder), "--no-wait"],
            env=environment(server.settings.home)
            | {
                "AUTOMATCH_DATABASE_URL": server.database.owner,
                "AUTOMATCH_RETENTION__MIN_FREE_MB": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def wait() -> bool:
            assert process.poll() is None
            return _rows(server.database, _COUNT_WAITING) == [(4,)]

        await until(wait)
        process.send_signal(signal.SIGINT)
        conn.rollback()
    printed, _ = await asyncio.to_thread(process.communicate, timeout=60)
    kept = _rows(server.database, "select count(*) from faces")[0][0]

    again = await _run(import_list, folder, "--no-wait")

    assert process.returncode == 1
    assert f"Stopped after {kept} of 30 rows" in printed
    assert 0 < kept < 30
    assert f"Photos imported: {30 - kept}; existing: {kept}." in again.stdout
    assert again.returncode == 0


class _ObservedAdmission(Admission):
    """Sets an event when it refuses."""

    def __init__(self, db: store.Database, folder: Path) -> None:
        super().__init__(db, max_waiting=2, folders=[folder], min_free_mb=0)
        self.refused_once = asyncio.Event()

    async def check(self) -> None:
        try:
            await super().check()
        except QueueFullError:
            self.refused_once.set()
            raise


async def test_import_waits_while_the_queue_is_full(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    folder = _write_list(
        tmp_path / "list",
        [_person(n) for n in range(1, 9)],
        {f"{n}.jpg": portrait(n) for n in range(1, 9)},
    )
    outcomes: list[Outcome] = []
    async with store.Database(database.api, PoolSettings(), name="test") as db:
        admission = _ObservedAdmission(db, tmp_path)
        context = ImportContext(
            db=db,
            photos=make_photos(settings),
            admission=admission,
            files=PhotoFiles(folder, settings.upload.max_bytes),
            limits=limits_from(settings),
            consent_versions=await list_consent_versions(db),
            addresses=AddressKey("a key"),
        )
        with RefusedRows(folder / "refused.csv") as refused:
            run = ImportRun(context, refused, asyncio.Event())
            rows = read_rows(folder / "people.csv")
            importing = asyncio.create_task(run.import_rows(rows, outcomes.append))
            refusal = asyncio.create_task(admission.refused_once.wait())
            await asyncio.wait({importing, refusal}, return_when=asyncio.FIRST_COMPLETED)
            assert refusal.done(), "the import never waited"
            waiting = _rows(database, "select count(*) from match_jobs")[0][0]
            # Completed jobs make room in the queue, and the import resumes by itself.
            while not importing.done():
                await asyncio.to_thread(_rows, database, _COMPLETE_ALL)
            await importing

    # Each concurrent task may have checked before the others took the remaining places.
    assert waiting <= 2 + 3
    assert outcomes == [Outcome.NEW] * 8
    assert not refused.reasons


def test_memory_does_not_grow_with_the_list(tmp_path: Path) -> None:
    rows, path = 2_500, tmp_path / "people.csv"
    with path.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(_person(number) for number in range(rows))

    tracemalloc.start()
    with EmailCheck() as emails:
        for row in read_rows(path):
            emails.check(row, parse_person(row, {"2026-11"}))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # The rows themselves would take more than twice as much.
    assert most < 1_000_000


def test_import_starts_the_embedded_database_and_a_worker(ready_home: Path, tmp_path: Path) -> None:
    folder = _write_list(
        tmp_path / "list",
        [_person(1), _person(2)],
        {"1.jpg": encode(astronaut()), "2.jpg": encode(astronaut(), quality=85)},
    )

    done = call_command(ready_home, "import", folder)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Photos imported: 2; existing: 0.\nNo row was refused." in done.stdout
    listed = call_command(ready_home, "jobs", "list", "--status", "completed", "--json")
    assert listed.stdout.count('"completed"') == 2


def _rows(database: Database, query: str, *parameters: Any) -> list[Any]:
    with psycopg.connect(database.owner, autocommit=True) as conn:
        return conn.execute(query, parameters).fetchall()  # type: ignore[arg-type]  # written above
