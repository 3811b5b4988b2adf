"""`automatch` on a machine that other programs keep busy: what has seconds in it gets minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from automatch.cli.main import main
from automatch.cli.runtime import supervisor
from automatch.ops.smoke_test import criteria
from automatch.postgres import postmaster
from tests.support.waiting import PATIENCE_S

PATIENT = "tests.support.patience"
"""The module to run in place of `automatch`."""


@contextmanager
def patience() -> Iterator[None]:
    """Wait for the answer of an upload, and for what is to stop at once, until left."""
    with ExitStack() as patches:
        for module, name, value in (
            (criteria, "_IMMEDIATE_MS", PATIENCE_S * 1000),
            (supervisor, "_FORCED_S", PATIENCE_S),
            (postmaster, "_FORCED_S", PATIENCE_S),
        ):
            patches.enter_context(patch.object(module, name, value))
        yield


if __name__ == "__main__":
    with patience():
        main()
