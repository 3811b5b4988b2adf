"""The file of erasures: durable lines, whatever becomes of a write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from automatch.errors.store import ErasureLogError
from automatch.settings.database import PoolSettings
from automatch.store.database import Database
from automatch.store.protection.erasure_log import ErasureLog, LoggedErasure
from automatch.store.protection.erasures import write_log
from tests.support import build
from tests.support.build import connect, one


def an_erasure(number: int) -> LoggedErasure:
    return LoggedErasure(f"{number:064x}", datetime(2026, 11, 29, tzinfo=UTC), "person")


def test_lines_of_several_writers_are_all_there_and_nobody_else_reads_them(tmp_path):
    log = ErasureLog(tmp_path / "erasures.log")
    assert log.read() == []
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: log.append([an_erasure(number)]), range(40)))

    assert {each.person_sha256 for each in log.read()} == {f"{n:064x}" for n in range(40)}
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_line_that_was_cut_off_spoils_no_other(tmp_path):
    log = ErasureLog(tmp_path / "erasures.log")
    log.append([an_erasure(1)])
    with log.path.open("a") as file:
        file.write('{"person_sha256": "00')
    log.append([an_erasure(2)])

    assert log.read() == [an_erasure(1), an_erasure(2)]


def test_file_that_cannot_be_used_is_named(tmp_path):
    log = ErasureLog(tmp_path / "missing" / "erasures.log")
    with pytest.raises(ErasureLogError, match=r"missing/erasures\.log cannot be used"):
        log.append([an_erasure(1)])
    tmp_path.joinpath("folder").mkdir()
    with pytest.raises(ErasureLogError, match="folder"):
        ErasureLog(tmp_path / "folder").read()


@pytest.mark.anyio
async def test_erasures_are_written_once_whoever_made_them(database, tmp_path):
    log = ErasureLog(tmp_path / "erasures.log")
    with connect(database.owner, autocommit=True) as conn:
        person = build.a_profile(conn)
        conn.execute("delete from public.profiles where id = %s", [person])
        expected = one(conn, "select automatch.text_sha256(%s)", str(person))
    async with Database(database.worker, PoolSettings(), name="test") as db:
        counts = [await write_log(db, log) for _ in range(2)]

    assert counts == [1, 0]
    [line] = log.read()
    assert (line.person_sha256, line.act) == (expected, "other")
