"""`automatch` on a machine that other programs keep busy: `verify` waits for an upload's answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from automatch.cli.main import main
from automatch.ops.smoke_test import criteria
from tests.support.waiting import PATIENCE_S

MODULE = "tests.support.patient_verify"


@contextmanager
def patient_verify() -> Iterator[None]:
    """Have an upload answered immediately however long it takes, in this process."""
    with patch.object(criteria, "_IMMEDIATE_MS", PATIENCE_S * 1000):
        yield


if __name__ == "__main__":
    with patient_verify():
        main()
