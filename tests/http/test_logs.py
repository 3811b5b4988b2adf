"""What the log of a running server keeps: that things happened, and nobody's data."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.support.command import call_command, environment, running_up
from tests.support.photos import astronaut, encode, scene_without_face

_EMAIL, _NAME, _SCHOOL = "canary-mail@example.org", "Canary Name", "Canary School"
_PASSWORD, _FILE, _DATE = "canary-password-1", "canary-file.jpg", "1999-12-31"

_TROUBLE = """
import asyncio, logging, sys
import structlog
from automatch.cli.runtime.logging_setup import configure_logging
from automatch.settings import Settings

configure_logging(Settings(log_json=True, log_level="debug"))
log = structlog.get_logger("ours")

def raising():
    raise ValueError("canary")

async def forgotten():
    async def task():
        raising()
    running = asyncio.create_task(task(), name="canary-task")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del running

try:
    raising()
except ValueError as exc:
    log.exception("ours broke")
    log.error("ours broke", exc_info=exc)
    logging.getLogger("theirs").exception("theirs broke\\ncanary")
asyncio.run(forgotten())
log.info("still here", number=1)
logging.getLogger("theirs").info("canary, too little to tell")
"""


def test_log_of_the_whole_way_holds_nobodys_data(ready_home: Path) -> None:
    with running_up(ready_home, settings={"LOG_LEVEL": "debug"}) as running:
        key = call_command(ready_home, "token", "--role", "anon").stdout.strip()
        assert call_command(ready_home, "school", "add", _SCHOOL, "--open").returncode == 0
        requests: list[str] = []
        with httpx2.Client(base_url=running.url, timeout=60) as client:
            secrets = [key, *_walk(client, requests), _listen(client, key)]
        running.stop()
        running.wait_for("Stopped")
    log = "".join(running.lines)

    assert "job completed" in log
    assert "no_face" in log
    # The lines of server and worker about one upload.
    for request, end in zip(requests, ("job not completed", "job completed"), strict=True):
        about = [line for line in running.lines if f"request={request}" in line]
        assert any(end in line for line in about)
        assert any("job told to its person" in line for line in about)
    words = (_EMAIL, _NAME, _SCHOOL, _PASSWORD, _FILE, _DATE, "eyJ", "postgresql:", "apikey")
    for secret in (*secrets, *words):
        assert secret
        assert secret not in log
    assert "canary" not in log.lower()
    assert "Traceback" not in log


def test_exceptions_are_told_by_kind_and_place_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TROUBLE],
        env=environment(Path("/nonexistent")),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert [entry["event"] for entry in entries] == [
        "ours broke",
        "ours broke",
        "theirs broke",
        "Task exception was never retrieved",
        "still here",
    ]
    for entry in entries[:4]:
        assert entry["error"] == "ValueError"
        assert entry["at"].startswith("<string>:")
    assert "canary" not in done.stderr
    assert done.stdout == ""


def _walk(client: httpx2.Client, requests: list[str]) -> list[str]:
    """Do what people do, and what goes wrong; return what must not be logged.

    The ids of the requests that upload a photo are added to *requests*.
    """
    credentials = {"email": _EMAIL, "password": _PASSWORD}
    reply = client.post("/auth/v1/signup", json=credentials).json()
    headers = {"authorization": f"Bearer {reply['access_token']}"}
    profile = {"name": _NAME, "school": _SCHOOL, "gender": "female", "birth_date": _DATE}
    assert client.put("/api/profile", headers=headers, json=profile).status_code == 200
    version = client.get("/api/profile/consent", headers=headers).json()["version"]
    client.put("/api/profile/consent", headers=headers, json={"version": version, "granted": True})
    ended = []
    for data in (encode(scene_without_face()), encode(astronaut())):
        files = {"file": (_FILE, data)}
        # A stream that opens after the end of a job tells nobody of it.
        with client.stream("GET", "/api/matches/stream", headers=headers) as stream:
            lines = stream.iter_lines()
            assert "event: ready" in lines
            answer = client.post("/api/faces", headers=headers, files=files)
            assert answer.status_code == 202
            requests.append(answer.headers["x-request-id"])
            ended.append(_ended(lines, answer.json()["job"]["id"]))
    assert ended == ["failed", "completed"]
    client.post("/api/faces", headers=headers, files={"file": (_FILE, b"canary")})
    client.post("/auth/v1/token", json=credentials | {"password": "canary-wrong"})
    client.post("/auth/v1/signup", json=credentials)
    client.get("/api/profile", headers={"authorization": "Bearer canary"})
    client.put("/api/profile", headers=headers, content=b'{"canary')
    client.post("/sign-in", data=credentials)
    photos = client.get("/api/faces", headers=headers).json()["faces"]
    link = next(photo["image_url"] for photo in photos if photo["image_url"])
    assert client.get(link).status_code == 200
    assert client.delete("/api/profile", headers=headers).status_code == 204
    return [reply["access_token"], reply["refresh_token"], link.partition("token=")[2]]


def _listen(client: httpx2.Client, key: str) -> str:
    """Do what goes right and wrong on a websocket; return a token that must not be logged."""
    credentials = {"email": _EMAIL, "password": _PASSWORD}
    token = str(client.post("/auth/v1/signup", json=credentials).json()["access_token"])
    address = str(client.base_url).replace("http", "ws").rstrip("/")
    url = f"{address}/realtime/v1/websocket?vsn=1.0.0&apikey="
    with connect(url + key) as connection:
        for each in (token, "canary"):
            config = {"postgres_changes": [{"table": "matches", "event": "INSERT"}]}
            join = {"config": config, "access_token": each}
            message = {"topic": "realtime:canary", "event": "phx_join", "payload": join}
            connection.send(json.dumps({**message, "ref": "1"}))
        connection.send("canary")
        with contextlib.suppress(ConnectionClosed):
            while True:
                connection.recv()
        assert connection.protocol.close_code == 1008
    with pytest.raises(InvalidStatus):
        connect(url + "canary")
    return token


def _ended(lines: Iterator[str], job_id: str) -> str:
    for line in lines:
        if line.startswith("data: ") and job_id in line:
            status = str(json.loads(line[6:])["status"])
            if status in {"completed", "failed"}:
                return status
    pytest.fail("the stream ended before the job did")
