"""Tables: whole ids and codes on narrow terminals, and tab-separated columns in a pipe."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from rich.cells import cell_len

import automatch.cli
from automatch.cli.commands.protection.duplicates import print_pairs
from automatch.cli.output.jobs_tables import print_job, print_jobs
from automatch.cli.output.tables import Table, note, print_tables
from automatch.model.jobs import JobStatus, QueuedJob
from automatch.model.matches import DuplicateState, SuspectedDuplicate
from automatch.services.protection.duplicates import DuplicatesOverview

_NOW = datetime(2026, 11, 29, tzinfo=UTC)
_SCHOOL = "Trường Đại học Công nghệ Thông tin"
_CODES = ("embedder_unavailable", "face_too_small", "no_face")

Screen = Callable[[int], io.StringIO]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def getvalue(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", super().getvalue())


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Give a function that makes stdout a terminal."""

    def make(columns: int) -> io.StringIO:
        terminal = _Terminal()
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        return terminal

    return make


def _job(code: str) -> QueuedJob:
    return QueuedJob(
        id=uuid4(),
        face_id=uuid4(),
        user_id=uuid4(),
        school=_SCHOOL,
        status=JobStatus.FAILED,
        scheduled=False,
        priority=1,
        attempts=5,
        max_attempts=5,
        run_at=None,
        worker_id=None,
        lease_expires_at=None,
        isolated=False,
        threshold=None,
        match_count=None,
        error={"code": code, "message": "Why."},
        timings={"claimed": 1.0, "embedded": 2.0, "searched": 3.0, "written": 4.0},
        created_at=_NOW,
        started_at=_NOW,
        completed_at=_NOW,
    )


def _pair() -> SuspectedDuplicate:
    return SuspectedDuplicate(
        id=uuid4(),
        profile_a_id=uuid4(),
        profile_b_id=uuid4(),
        u=0.31,
        model="dlib",
        same_gender=True,
        found_at=_NOW,
        state=DuplicateState.CONFIRMED,
        decided_at=_NOW,
        decided_by="cli:root",
        held_face_ids=[],
    )


def _check_width(text: str, columns: int) -> None:
    assert max(cell_len(line) for line in text.splitlines()) <= columns, text


@pytest.mark.parametrize("columns", [200, 80, 60])
def test_jobs_have_whole_ids_and_codes(screen: Screen, columns: int) -> None:
    jobs = [_job(code) for code in _CODES]
    terminal = screen(columns)

    print_jobs(jobs)

    shown = terminal.getvalue()
    _check_width(shown, columns)
    for job, code in zip(jobs, _CODES, strict=True):
        assert str(job.id) in shown
        assert code in shown
    if columns >= 80:
        lines = [line for line in shown.splitlines() if _CODES[0] in line]
        assert [str(jobs[0].id) in line for line in lines] == [True]
    assert ("Left out for lack of width: school, " in shown) is (columns == 80)
    # What has no place beside the rest stands below it.
    assert (_SCHOOL in shown) is (columns != 80)


@pytest.mark.parametrize("columns", [200, 80, 60])
def test_pairs_of_accounts_have_whole_ids(screen: Screen, columns: int) -> None:
    pair = _pair()
    terminal = screen(columns)

    print_pairs(DuplicatesOverview([pair], match=True))

    shown = terminal.getvalue()
    _check_width(shown.partition("\n\n")[0], columns)
    for whole in (pair.id, pair.profile_a_id, pair.profile_b_id, "confirmed", "cli:root"):
        assert str(whole) in shown
    assert "match like any two people" in shown


@pytest.mark.parametrize("columns", [80, 60])
def test_one_job_stays_within_the_terminal(screen: Screen, columns: int) -> None:
    job = _job("no_face")
    terminal = screen(columns)

    print_job(job)

    shown = terminal.getvalue()
    _check_width(shown, columns)
    for whole in (job.id, job.face_id, job.user_id):
        assert str(whole) in shown


def test_sentences_are_broken_between_words_and_nothing_else_is(screen: Screen) -> None:
    sentence = "A sentence of many words " * 5
    terminal = screen(60)

    print_tables(
        Table(("code", "message"), [("a_code_of_one_word", sentence)], wrapped_column="message")
    )

    lines = terminal.getvalue().splitlines()
    assert sum("a_code_of_one_word" in line for line in lines) == 1
    assert " ".join(line[20:].strip() for line in lines[2:]) == sentence.strip()


def test_pipe_gets_lines_of_columns_and_the_sentence_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "word " * 100
    print_tables(
        Table.of_fields({"queue": "open"}),
        Table(
            ("job", "error"),
            [(1, f"{long}\n\x1b[31mred\ttab")],
            wrapped_column="error",
            optional_columns=("job",),
        ),
        Table(("none",), [], if_empty="There is none."),
    )
    note("A sentence.")

    printed = capsys.readouterr()
    assert printed.out == f"queue\topen\n\njob\terror\n1\t{long} ?[31mred?tab\n\nnone\n"
    assert printed.err == "There is none.\nA sentence.\n"


def test_terminal_is_told_that_there_is_nothing(screen: Screen) -> None:
    terminal = screen(80)

    print_jobs([])

    assert terminal.getvalue() == "No such job.\n"


def test_no_other_module_lays_out_a_table() -> None:
    for path in Path(automatch.cli.__file__).parent.rglob("*.py"):
        if path.parts[-2:] != ("output", "tables.py"):
            assert not re.search(r"rich\.table|rich\.columns|\.ljust\(", path.read_text("utf-8"))
