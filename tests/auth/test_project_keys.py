"""The list of printed keys: an ended key is refused by processes that run already."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from automatch.auth.project_keys import ProjectKey, ProjectKeys
from automatch.auth.tokens import Tokens
from automatch.errors.auth import TokenInvalidError
from automatch.errors.configuration import SecretsError
from automatch.model.people import Role
from automatch.settings.secrets import load_or_create
from automatch.settings.server import AuthSettings
from tests.support.command import call_command


def key(name: str, *, lives_s: int = 3600) -> ProjectKey:
    now = int(time.time())
    return ProjectKey(name, "service_role", now, now + lives_s)


def test_ended_key_is_refused_by_whoever_reads_the_list(tmp_path: Path) -> None:
    server, command = ProjectKeys(tmp_path), ProjectKeys(tmp_path)
    tokens = Tokens("k" * 43, AuthSettings(), project_keys=server)
    token, other = (tokens.issue_key(Role.SERVICE, key_id=name) for name in ("a", "b"))
    for name in ("a", "b"):
        command.add(key(name))
    assert tokens.verify(token).role is Role.SERVICE

    assert command.end("a")
    assert not command.end("c")

    with pytest.raises(TokenInvalidError, match="ended"):
        tokens.verify(token)
    assert tokens.verify(other).role is Role.SERVICE
    assert tokens.verify(tokens.issue_key(Role.SERVICE)).role is Role.SERVICE
    assert [each.ended_at is None for each in server.list()] == [False, True]


def test_expired_keys_leave_the_list(tmp_path: Path) -> None:
    keys = ProjectKeys(tmp_path)
    keys.add(key("old", lives_s=-1))
    keys.add(key("new"))

    assert [each.id for each in keys.list()] == ["new"]
    assert "old" not in (tmp_path / "project_keys.json").read_text()


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"id": 1}]', "null"])
def test_damaged_list_refuses_every_key_that_may_be_in_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "project_keys.json").write_text(content)
    (tmp_path / "project_keys.json").chmod(0o600)
    keys = ProjectKeys(tmp_path)

    with pytest.raises(SecretsError, match="damaged"):
        keys.list()
    with pytest.raises(TokenInvalidError):
        keys.check("a")


def test_printed_key_lives_a_year_is_listed_and_can_be_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    load_or_create(home)
    printed = call_command(home, "token", "--role", "service_role").stdout.strip()
    call_command(home, "token", "--role", "anon", "--days", "1")

    service, anon = json.loads(call_command(home, "token", "list", "--json").stdout)
    done = call_command(home, "token", "end", service["id"])

    assert service["role"] == "service_role"
    assert service["expires_at"] - service["made_at"] == 365 * 86400
    assert anon["expires_at"] - anon["made_at"] == 86400
    assert done.returncode == 0, done.stderr
    listed = call_command(home, "token", "list").stdout
    assert service["id"] in listed
    assert printed not in listed
    assert json.loads((home / "project_keys.json").read_text())[0]["ended_at"] is not None
    assert call_command(home, "token", "end", "x").returncode == 1
