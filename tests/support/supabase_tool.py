"""The real Supabase CLI, the npm package `supabase` in the version that tests/clients pins."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.support.clients import CLIENTS


def url_of(dsn: str) -> str:
    """Return an address as a URL, the only form that the CLI takes."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    user, password, database = (
        quote(str(parts.get(name) or ""), safe="") for name in ("user", "password", "dbname")
    )
    host, port = str(parts["host"]), parts.get("port") or 5432
    # It takes a folder of a socket in this place only, and wants a host before it.
    name, folder = ("localhost", f"&host={host}") if host.startswith("/") else (host, "")
    return f"postgresql://{user}:{password}@{name}:{port}/{database}?sslmode=disable{folder}"


def run_supabase(folder: Path, dsn: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the CLI on a database to its end, in a folder that has or gets `supabase/`."""
    return subprocess.run(
        [_tool(), *words, "--db-url", url_of(dsn), "--workdir", str(folder)],
        cwd=folder,
        # Its own settings, and nothing that it sends to anybody.
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DO_NOT_TRACK": "1",
            "SUPABASE_TELEMETRY_DISABLED": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def _tool() -> Path:
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = CLIENTS / "node_modules" / "@supabase" / f"cli-{sys.platform}-{machine}"
    tool = package / "bin" / "supabase"
    if not tool.exists():
        pytest.skip("the Supabase CLI is not installed: make clients")
    return tool
