"""The list of an import: valid rows, the photo files they may name, and the refused rows."""

from __future__ import annotations

import csv
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from automatch.bulk_import.photo_files import PhotoFiles
from automatch.bulk_import.rows import (
    COLUMNS,
    EmailCheck,
    RefusedRows,
    Row,
    find_list,
    parse_person,
    read_rows,
)
from automatch.errors import AutomatchError
from automatch.errors.request import InputInvalidError
from automatch.model.people import Gender

_VERSIONS = {"2026-11"}
_GOOD = {
    "file": "linh.jpg",
    "email": "Linh@Example.org",
    "name": "Linh",
    "school": "UIT",
    "gender": "Female",
    "birth_date": "2000-02-29",
    "consent_version": "2026-11",
    "consent_at": "2026-11-03",
    "consent_evidence": "paper form, binder 4, page 12",
}


def _row(number: int = 2, **cells: str) -> Row:
    return Row(number, _GOOD | cells)


def _refusal(row: Row) -> tuple[str, str]:
    with pytest.raises(AutomatchError) as caught:
        parse_person(row, _VERSIONS)
    return caught.value.code, caught.value.message


def _write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    return path


def test_good_row_is_a_person() -> None:
    person = parse_person(_row(), _VERSIONS)

    assert (person.email, person.gender) == ("linh@example.org", Gender.FEMALE)
    assert person.consent_at == datetime(2026, 11, 3, tzinfo=UTC)
    later = parse_person(_row(consent_at="2026-11-03T14:00+07:00"), _VERSIONS)
    assert later.consent_at == datetime(2026, 11, 3, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("email", "linh", "input_invalid"),
        ("name", "", "input_invalid"),
        ("name", "a\u202eb", "input_invalid"),
        ("school", "x" * 121, "input_invalid"),
        ("gender", "f", "input_invalid"),
        ("birth_date", "29.02.2000", "input_invalid"),
        ("birth_date", "2990-01-01", "age_not_allowed"),
        ("consent_version", "", "consent_required"),
        ("consent_version", "1999-01", "input_invalid"),
        ("consent_at", "", "consent_required"),
        ("consent_at", "last week", "input_invalid"),
        ("consent_at", "2999-01-01", "input_invalid"),
        ("consent_evidence", "", "consent_required"),
        ("consent_evidence", "x" * 501, "input_invalid"),
        ("name", "=cmd|'/c calc'!A1", "input_invalid"),
        ("file", "@SUM(A1)", "input_invalid"),
    ],
)
def test_invalid_value_is_refused_with_the_name_of_its_column(
    column: str, value: str, code: str
) -> None:
    refused_as, message = _refusal(_row(**{column: value}))

    assert refused_as == code
    assert code != "input_invalid" or message.startswith(f"{column}:")


def test_two_people_cannot_share_an_address_but_one_person_has_several_photos() -> None:
    with EmailCheck() as emails:
        for row in (_row(2), _row(3, file="other.jpg", name="LINH")):
            emails.check(row, parse_person(row, _VERSIONS))
        other = _row(4, name="Minh", gender="male")
        with pytest.raises(AutomatchError, match="row 2 has it too") as caught:
            emails.check(other, parse_person(other, _VERSIONS))

    assert caught.value.code == "email_taken"


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "people.csv",
        "note," + ",".join(COLUMNS),
        'x,a.jpg,a@example.org,"Linh\nVo",UIT,female,2000-01-01,2026-11,2026-11-03,paper',
        "",
        "x,b.jpg",
        encoding="utf-8-sig",
    )

    first, second = read_rows(path)

    assert (first.number, first.cells["name"], first.cells["consent_evidence"]) == (
        2,
        "Linh\nVo",
        "paper",
    )
    assert (second.number, second.file, second.cells["email"]) == (4, "b.jpg", "")
    assert find_list(tmp_path) == path
    assert find_list(path) == path


def test_semicolons_are_accepted_as_separators(tmp_path: Path) -> None:
    path = _write(tmp_path / "people.csv", ";".join(COLUMNS), ";".join(_GOOD.values()))

    [row] = read_rows(path)

    assert row.cells == _GOOD


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file,email\n", "lacks name"),
        (b"", "lacks file"),
        (",".join([*COLUMNS, "file"]).encode(), "twice"),
        (",".join(COLUMNS).encode() + b'\n"a" b,c\n', "not a CSV"),
        (",".join(COLUMNS).encode() + b"\n\xff\xfe,x\n", "UTF-8"),
        (",".join(COLUMNS).encode() + b"\n" + b"x" * 200_000, "not a CSV"),
    ],
)
def test_invalid_list_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(content)

    with pytest.raises(InputInvalidError, match=words):
        list(read_rows(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "list"
    (folder / "class a").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"photo")
    (folder / "class a" / "b.jpg").write_bytes(b"other")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return folder


def test_photos_are_read_from_the_folder_and_below(folder: Path) -> None:
    (folder / "link.jpg").symlink_to("class a/b.jpg")
    files = PhotoFiles(folder, 10)

    assert files.read("a.jpg") == b"photo"
    assert files.read("class a/b.jpg") == files.read("link.jpg") == b"other"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../secret.jpg", "input_invalid"),
        ("class a/../../secret.jpg", "input_invalid"),
        ("{parent}/secret.jpg", "input_invalid"),
        ("out.jpg", "input_invalid"),
        ("outside/secret.jpg", "input_invalid"),
        ("..\\secret.jpg", "input_invalid"),
        ("a\0.jpg", "input_invalid"),
        ("", "input_invalid"),
        ("none.jpg", "file_missing"),
        ("class a", "file_missing"),
        ("pipe", "file_missing"),
        ("loop", "file_missing"),
        ("large.jpg", "body_too_large"),
    ],
)
def test_nothing_outside_the_folder_is_read(folder: Path, name: str, code: str) -> None:
    (folder / "out.jpg").symlink_to("../secret.jpg")
    (folder / "outside").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    (folder / "large.jpg").write_bytes(bytes(11))
    os.mkfifo(folder / "pipe")
    files = PhotoFiles(folder, 10)

    for act in (files.read, files.check):
        with pytest.raises(AutomatchError) as caught:
            act(name.format(parent=folder.parent))
        assert caught.value.code == code


def test_refused_rows_are_written_to_a_private_list(tmp_path: Path) -> None:
    path = tmp_path / "people.refused.csv"
    with RefusedRows(path) as refused:
        refused.add(_row(7, name="=1+1\u202e"), "input_invalid", "name: no.")
        refused.add(_row(9), "no_face", "No face.")
        assert not path.exists()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as lines:
        first, second = csv.DictReader(lines)
    assert (first["row"], first["code"], first["name"]) == ("7", "input_invalid", "'=1+1?")
    assert {name: second[name] for name in COLUMNS} == _GOOD
    assert refused.reasons == {"input_invalid": 1, "no_face": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_refusal_there_is_no_file(tmp_path: Path) -> None:
    with RefusedRows(tmp_path / "people.refused.csv"):
        pass

    assert not list(tmp_path.iterdir())
