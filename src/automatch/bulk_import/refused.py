"""The rows that were refused, as a list of their own: to be put right and imported again."""

from __future__ import annotations

import csv
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import Self

from automatch.bulk_import.rows import COLUMNS, Row, disarmed
from automatch.errors.request import InputInvalidError


class RefusedRows:
    """Writes refused rows beside the list, readable by this user alone.

    The file appears when all is written; without a refusal there is none. It has the columns of the
    list, with row, code and message before them.
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
                f"Cannot write into {self.path.parent} ({exc.strerror}); name another place for "
                "the refused rows with --refused."
            ) from exc
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["row", "code", "message", *COLUMNS])
        return self

    def add(self, row: Row, code: str, message: str) -> None:
        """Put down a row and why it was refused."""
        self.reasons[code] += 1
        cells = (row.cells[name] for name in COLUMNS)
        self._writer.writerow([row.number, code, message, *map(disarmed, cells)])

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()
        if self.reasons:
            self._partial.replace(self.path)
        else:
            self._partial.unlink()
