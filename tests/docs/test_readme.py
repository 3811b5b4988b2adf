"""The README, block by block, as somebody would type it who follows it from the top."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from automatch.cli.main import COMMANDS
from automatch.postgres.binaries import find_binaries
from automatch.settings import Settings
from automatch.settings.load import setting_names
from tests.support.command import Running, call_command, environment, running_up
from tests.support.photos import astronaut, encode

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text()
_PAGES = [*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md")]
_PEOPLE = 20
_SIMULATED = re.compile(r"UIT has \d+ simulated people now\.")
_END = "--- end of the block ---"


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _block_with(words: str, language: str = "bash") -> str:
    [block] = [block for block in _blocks(_README, language) if words in block]
    return block


class Shell:
    """One bash that stays open, so that a block finds the variables of the block before."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, block: str, *, until: str = _END) -> str:
        """Type *block* and return what it prints, at most to the line that begins with *until*."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        # A command that reads its input would swallow the commands after it.
        self.process.stdin.write(f"{{\n{block}}} < /dev/null\nprintf '\\n{_END}\\n'\n")
        self.process.stdin.flush()
        printed = []
        for line in self.process.stdout:
            printed.append(line)
            if line.startswith((until, _END)):
                return "".join(printed)
        pytest.fail(f"the shell ended:\n{''.join(printed)}")

    def interrupt(self) -> None:
        """End what runs, as Ctrl-C does."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.terminate()
        assert self.process.stdout is not None
        while not self.process.stdout.readline().startswith(_END):
            pass

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def up(ready_home: Path) -> Iterator[Running]:
    """Run what `make run` runs, in a school that `make demo` has filled with fewer people."""
    filled = call_command(ready_home, "demo", "--people", str(_PEOPLE))
    documented = _SIMULATED.search(_README)
    assert documented is not None
    assert documented[0].replace("400", str(_PEOPLE)) in filled.stdout
    with running_up(ready_home) as running:
        yield running


@pytest.fixture
def shell(up: Running, tmp_path: Path) -> Iterator[Shell]:
    """Give a terminal in a folder with a photo, beside a running Auto-Match."""
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("the blocks of the README need bash and curl")
    options = subprocess.run(
        ["curl", "--help", "all"], capture_output=True, text=True, check=True
    ).stdout
    if "--json" not in options:
        pytest.skip("the blocks of the README need curl 7.82 or newer")
    (tmp_path / "photo.jpg").write_bytes(encode(astronaut()))
    # psql is no part of Auto-Match; where it is not installed, the embedded Postgres has one.
    programs = [
        Path(sys.executable).parent,
        *os.environ["PATH"].split(":"),
        find_binaries() / "bin",
    ]
    shell = Shell(tmp_path, environment(up.home) | {"PATH": ":".join(map(str, programs))})
    yield shell
    shell.close()


def test_blocks_do_what_the_readme_says(up: Running, shell: Shell) -> None:
    sign_up, people, ask = (_block_with(words) for words in ("signup", "consent", "limit="))
    watch = _block_with("curl -sN")
    sign_up = sign_up.replace("http://127.0.0.1:8000", up.url)

    session = _answers(shell.run(f'{sign_up}echo "$session"\n'))
    told = _answers(shell.run(people))
    up.wait_for("job completed")
    events = shell.run(watch, until="event: match")
    shell.interrupt()
    asked = shell.run(ask)

    printed = [line.partition(": ")[0].strip() for line in up.lines]
    for line in _block_with("is ready", "text").splitlines():
        assert line.partition(": ")[0] in printed
    assert set(session[0]) >= {"access_token", "refresh_token", "user"}
    profile, consent, consented, uploaded = told
    assert profile["school"] == "UIT"
    assert (consent["granted"], consented["granted"]) == (False, True)
    [documented] = [json.loads(block) for block in _blocks(_README, "json")]
    assert _shape(uploaded) == _shape(documented)
    assert uploaded["message"] == documented["message"]
    assert uploaded["job"]["status"] == documented["job"]["status"]
    assert "event: match" in events
    matches, jobs = _answers(asked)
    assert matches["matches"]
    assert jobs["jobs"][0]["id"] == uploaded["job"]["id"]
    assert re.search(r"^ completed +\| +1$", asked, re.MULTILINE)


def test_python_works_as_it_is_written(
    tmp_path: Path, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode(astronaut()))
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(environment(tmp_path)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AUTOMATCH_HOME", str(tmp_path / "home"))
    pages = {"README.md": _README, "ai-service.md": (_ROOT / "docs/ai-service.md").read_text()}
    for name, text in pages.items():
        with subtests.test(name), contextlib.redirect_stdout(io.StringIO()) as printed:
            [block] = _blocks(text, "python")
            exec(compile(block, name, "exec"), {"__name__": "__main__"})

            assert "Box(left=" in printed.getvalue()
    assert len(_blocks(_README, "python")[0].split("\n")) == 3 + 1 + 1
    assert not (tmp_path / "home").exists()


def test_queries_of_all_pages_work_as_they_are_written(dsn: str) -> None:
    # That page's queries need a Supabase project, and the last of them takes everything away.
    pages = [page for page in _PAGES if page.name != "supabase.md"]
    queries = [block for page in pages for block in _blocks(page.read_text(), "sql")]

    with psycopg.connect(dsn) as conn:
        for query in queries:
            conn.execute(query.encode())

    assert len(queries) > 1


def test_every_command_line_is_run_by_a_test_or_exists() -> None:
    makefile = (_ROOT / "Makefile").read_text()
    blocks = _blocks(_README, "bash")
    typed = [
        line.split()[1] for block in blocks for line in block.splitlines() if line[:5] == "make "
    ]
    commands = re.findall(r"^automatch (\w+)$", _block_with("DATABASE_URL"), re.MULTILINE)
    known = COMMANDS.keys()

    assert typed == ["run", "demo"]
    assert commands == ["migrate", "serve", "worker"]
    assert set(commands) <= known
    for target in {*typed, *re.findall(r"`make (\w+)`", _README)}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    # Two of `make`, one of a Postgres elsewhere; the rest are those that are typed above.
    assert len(blocks) == len(typed) + 1 + 4


def test_settings_of_the_readme_have_their_defaults() -> None:
    rows = re.findall(r"^\| `AUTOMATCH_(\w+)` \| (?:`(.*)`|.*) \|", _README, re.MULTILINE)
    known = {name.upper(): name for name in setting_names()}

    for variable, default in rows:
        value = Settings.model_construct()
        for part in known[variable].split("__"):
            value = getattr(value, part)
        assert not default or str(value).lower() == default


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'<img src="([^"]+)"', text)

    missing = [
        link for link in links if not link.startswith("http") and not (page.parent / link).exists()
    ]

    assert missing == []


def _answers(printed: str) -> list[dict]:
    decoder, found, at = json.JSONDecoder(), [], 0
    # curl ends no line: the answers of a block stand one behind the other.
    while (at := printed.find("{", at)) >= 0:
        value, at = decoder.raw_decode(printed, at)
        found.append(value)
    return found


def _shape(value: object) -> object:
    return (
        {key: _shape(inner) for key, inner in value.items()}
        if isinstance(value, dict)
        else type(value)
    )
