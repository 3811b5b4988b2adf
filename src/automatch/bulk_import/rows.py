"""The list itself: a CSV file, read row by row so that its length costs no memory."""

from __future__ import annotations

import csv
import hashlib
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import ValidationError

from automatch.errors.request import (
    AgeNotAllowedError,
    ConsentRequiredError,
    EmailTakenError,
    InputInvalidError,
)
from automatch.http.routes.profile import ProfileForm
from automatch.services.accounts import normal_address
from automatch.store.imports import ImportedPerson

COLUMNS = (
    *("file", "email", "name", "school", "gender", "birth_date"),
    *("consent_version", "consent_at", "consent_evidence"),
)
LIST_NAME = "people.csv"
_FIRST_ROW = 2
"""As a spreadsheet counts: the names of the columns are row 1."""
_MAX_EVIDENCE = 500
_ADULT = 18
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file."""

    number: int
    cells: dict[str, str]

    @property
    def file(self) -> str:
        return self.cells["file"]


def list_in(path: Path) -> Path:
    """Return the list that *path* means: itself, or `people.csv` in that folder.

    Raises:
        InputInvalidError: there is none.
    """
    found = path / LIST_NAME if path.is_dir() else path
    if not found.is_file():
        raise InputInvalidError(f"There is no list {found}; docs/import.md says what it holds.")
    return found


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a list, however many.

    Raises:
        InputInvalidError: it is no CSV file in UTF-8 with our columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=_delimiter(path), strict=True)
            names = [name.strip().lower() for name in next(reader, [])]
            _check_names(names)
            for number, values in enumerate(reader, _FIRST_ROW):
                if any(value.strip() for value in values):
                    # Too few or too many: what is missing is refused with its row.
                    cells = dict.fromkeys(COLUMNS, "") | dict(zip(names, values, strict=False))
                    yield Row(number, {name: cells[name].strip() for name in COLUMNS})
    except UnicodeDecodeError as exc:
        raise InputInvalidError(f"{path.name} is not in UTF-8; save it as CSV in UTF-8.") from exc
    except csv.Error as exc:
        raise InputInvalidError(f"{path.name} is no CSV file: {exc}.") from exc


def person_of(row: Row, versions: Collection[str]) -> ImportedPerson:
    """Return whom a row is about.

    Args:
        row: as it stands in the file.
        versions: the consent texts there are.

    Raises:
        AutomatchError: something about it is missing or not allowed; the message names the column.
    """
    for name, value in row.cells.items():
        if value.startswith(_FORMULA):
            raise InputInvalidError(
                f"{name}: a spreadsheet would run what begins with {value[0]!r}."
            )
    email = normal_address(row.cells["email"])
    if email is None:
        raise InputInvalidError("email: this is no e-mail address.")
    wanted = {name: row.cells[name] for name in ("name", "school", "gender", "birth_date")}
    try:
        form = ProfileForm.model_validate(wanted | {"gender": wanted["gender"].lower()})
    except ValidationError as exc:
        first = exc.errors()[0]
        raise InputInvalidError(f"{first['loc'][0]}: {first['msg']}.") from exc
    if _years_since(form.birth_date) < _ADULT:
        raise AgeNotAllowedError
    version, evidence = row.cells["consent_version"], row.cells["consent_evidence"]
    if not evidence or not row.cells["consent_at"] or not version:
        raise ConsentRequiredError(
            "Tell what this person agreed to and when (consent_version, consent_at), and where the "
            "proof lies (consent_evidence)."
        )
    if version not in versions:
        known = ", ".join(sorted(versions))
        raise InputInvalidError(f"consent_version: there is no such text; there are {known}.")
    if len(evidence) > _MAX_EVIDENCE or not evidence.isprintable():
        raise InputInvalidError(
            f"consent_evidence: at most {_MAX_EVIDENCE} characters, all printable."
        )
    return ImportedPerson(
        email=email,
        name=form.name,
        school=form.school,
        gender=form.gender,
        birth_date=form.birth_date,
        consent_version=version,
        consent_at=_moment(row.cells["consent_at"]),
        consent_evidence=evidence,
    )


class Addresses:
    """Notices an address that two people have. Keeps what it saw in a temporary file."""

    def __init__(self) -> None:
        self._seen = sqlite3.connect("")
        self._seen.execute("create table seen (email blob primary key, person blob, row integer)")

    def __enter__(self) -> Addresses:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._seen.close()

    def check(self, row: Row, person: ImportedPerson) -> None:
        """Take note of a row.

        Raises:
            EmailTakenError: a row before has this address for another person.
        """
        # Hashes: the temporary file is one more place that would hold names.
        email = hashlib.sha256(person.email.encode()).digest()
        told = f"{person.name.lower()}|{person.gender}|{person.birth_date}"
        name = hashlib.sha256(told.encode()).digest()
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


def disarmed(value: str) -> str:
    """Return *value* so that a spreadsheet shows it and runs nothing."""
    return f"'{value}" if value.startswith(_FORMULA) else value


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


def _years_since(day: date) -> int:
    today = datetime.now(UTC).date()
    return today.year - day.year - ((today.month, today.day) < (day.month, day.day))
