"""`automatch serve --only` as a process: an AI service without a database, or the rest."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.ai import HEADERS, KEY
from tests.support.command import call_command, running_server_command


def _get(url: str, path: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, headers=HEADERS)) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        return exc.code, json.loads(exc.read())


def test_the_ai_service_needs_a_key_and_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_server_command(home, "serve", "--only", "ai", settings={"AI_KEY": KEY}) as served:
        assert _get(served.url, "/readyz") == (200, {"status": "ready"})
        assert _get(served.url, "/ai/v1/model") == (200, {"model": "dlib", "dimensions": 128})
        assert _get(served.url, "/api/profile")[0] == 404
        assert served.stop() == 0
    assert not home.exists()


def test_an_ai_service_without_a_key_of_its_own_takes_the_projects(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_server_command(home, "serve", "--only", "ai") as served:
        assert _get(served.url, "/ai/v1/model")[0] == 401
        key = call_command(home, "token", "--role", "service_role").stdout.strip()
        request = urllib.request.Request(
            served.url + "/ai/v1/model", headers={"authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200


def test_a_model_that_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    done = call_command(
        tmp_path / "home",
        *("serve", "--only", "ai", "--port", "0"),
        VISION__YUNET_FILE=str(tmp_path / "none.onnx"),
    )

    assert done.returncode == 1
    assert re.fullmatch(r"automatch: The model file .*none\.onnx is missing;.*\n", done.stderr)


def test_help_says_what_is_left_out(tmp_path: Path) -> None:
    told = " ".join(call_command(tmp_path, "serve", "--help").stdout.split())

    assert "--only" in told
    assert "AUTOMATCH_AI_URL" in told
