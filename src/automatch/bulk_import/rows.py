"""The CSV list: reading its rows one by one, and writing the refused ones to another list."""

from __future__ import annotations

import csv
import hashlib
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from automatch.errors.request import (
    AgeNotAllowedError,
    ConsentRequiredError,
    EmailTakenError,
    InputInvalidError,
)
from automatch.model.printable import spreadsheet_cell, starts_formula
from automatch.services.validators import ProfileFields, is_adult, normalize_email
from automatch.store.people.imports import ImportedPerson

COLUMNS = (
    *("file", "email", "name", "school", "gender", "birth_date"),
    *("consent_version", "consent_at", "consent_evidence"),
)
LIST_NAME = "people.csv"
_FIRST_ROW = 2
"""Row numbers are those of a spreadsheet: the column names are row 1."""
_MAX_EVIDENCE = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file, unchecked."""

    number: int
    cells: dict[str, str]

    @property
    def file(self) -> str:
        return self.cells["file"]


def find_list(path: Path) -> Path:
    """Return *path*, or the `people.csv` in it if it is a folder.

    Raises:
        InputInvalidError: there is none.
    """
    found = path / LIST_NAME if path.is_dir() else path
    if not found.is_file():
        raise InputInvalidError(f"There is no list {found}; see docs/import.md.")
    return found


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a list; memory use does not depend on their number.

    Raises:
        InputInvalidError: it is not a CSV file in UTF-8 with our columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=_delimiter(path), strict=True)
            names = [name.strip().lower() for name in next(reader, [])]
            _check_names(names)
            for number, values in enumerate(reader, _FIRST_ROW):
                if any(value.strip() for value in values):
                    # Missing cells are refused later, with a message; extra cells are ignored.
                    cells = dict.fromkeys(COLUMNS, "") | dict(zip(names, values, strict=False))
                    yield Row(number, {name: cells[name].strip() for name in COLUMNS})
    except UnicodeDecodeError as exc:
        raise InputInvalidError(f"{path.name} is not in UTF-8; save it as CSV in UTF-8.") from exc
    except csv.Error as exc:
        raise InputInvalidError(f"{path.name} is not a CSV file: {exc}.") from exc


def parse_person(row: Row, versions: Collection[str]) -> ImportedPerson:
    """Return the person of a row.

    Args:
        row: of the list.
        versions: the existing versions of the consent text.

    Raises:
        AutomatchError: a value is missing or not allowed; the message names the column.
    """
    for name, value in row.cells.items():
        if starts_formula(value):
            raise InputInvalidError(
                f"{name}: a value that begins with {value[0]!r} is a formula to a spreadsheet."
            )
    email = normalize_email(row.cells["email"])
    if email is None:
        raise InputInvalidError("email: this is not an e-mail address.")
    fields = {name: row.cells[name] for name in ("name", "school", "gender", "birth_date")}
    try:
        profile = ProfileFields.model_validate(fields | {"gender": fields["gender"].lower()})
    except ValidationError as exc:
        first = exc.errors()[0]
        raise InputInvalidError(f"{first['loc'][0]}: {first['msg']}.") from exc
    if not is_adult(profile.birth_date):
        raise AgeNotAllowedError
    version, evidence = row.cells["consent_version"], row.cells["consent_evidence"]
    if not evidence or not row.cells["consent_at"] or not version:
        raise ConsentRequiredError(
            "Give what this person consented to and when (consent_version, consent_at), and where "
            "the proof is kept (consent_evidence)."
        )
    if version not in versions:
        known = ", ".join(sorted(versions))
        raise InputInvalidError(f"consent_version: there is no such text; known are {known}.")
    if len(evidence) > _MAX_EVIDENCE or not evidence.isprintable():
        raise InputInvalidError(
            f"consent_evidence: at most {_MAX_EVIDENCE} characters, all printable."
        )
    return ImportedPerson(
        email=email,
        name=profile.name,
        school=profile.school,
        gender=profile.gender,
        birth_date=profile.birth_date,
        consent_version=version,
        consent_at=_moment(row.cells["consent_at"]),
        consent_evidence=evidence,
    )


class EmailCheck:
    """Detects an e-mail address that two people share, with a temporary file instead of memory."""

    def __init__(self) -> None:
        self._seen = sqlite3.connect("")
        self._seen.execute("create table seen (email blob primary key, person blob, row integer)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._seen.close()

    def check(self, row: Row, person: ImportedPerson) -> None:
        """Remember a row.

        Raises:
            EmailTakenError: an earlier row has this address for another person.
        """
        # Hashes, so that the temporary file holds no personal data.
        email = hashlib.sha256(person.email.encode()).digest()
        identity = f"{person.name.lower()}|{person.gender}|{person.birth_date}"
        name = hashlib.sha256(identity.encode()).digest()
        with closing(
            self._seen.execute("select person, row from seen where email = ?", [email])
        ) as found:
            before = found.fetchone()
        if before is None:
            self._seen.execute("insert into seen values (?, ?, ?)", [email, name, row.number])
        elif before[0] != name:
            raise EmailTakenError(
                f"email: row {before[1]} has it too, with another name, gender or birth date."
            )


class RefusedRows:
    """Writes refused rows to a file that only this user can read.

    The file appears when everything is written, and only if a row was refused. It has the columns
    of the list, preceded by row, code and message.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(
                self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600
            )
        except OSError as exc:
            raise InputInvalidError(
                f"Cannot write to {self.path.parent} ({exc.strerror}); name another file for "
                "the refused rows with --refused."
            ) from exc
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["row", "code", "message", *COLUMNS])
        return self

    def add(self, row: Row, code: str, message: str) -> None:
        """Write a row with the reason for its refusal."""
        self.reasons[code] += 1
        cells = (row.cells[name] for name in COLUMNS)
        self._writer.writerow([row.number, *map(spreadsheet_cell, [code, message, *cells])])

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()
        if self.reasons:
            self._partial.replace(self.path)
        else:
            self._partial.unlink()


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        first = lines.readline()
    # What spreadsheets write where a comma separates decimals.
    return ";" if first.count(";") > first.count(",") else ","


def _check_names(names: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InputInvalidError(
            f"The list lacks {', '.join(missing)}; its first row must name {', '.join(COLUMNS)}."
        )
    if len(set(names)) < len(names):
        raise InputInvalidError("The first row of the list names a column twice.")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InputInvalidError(
            "consent_at: write a date as 2026-11-03, or a time as 2026-11-03T14:00+07:00."
        ) from exc
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise InputInvalidError("consent_at: this is in the future.")
    return moment
