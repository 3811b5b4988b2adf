"""An installation as a client sees it: its HTTP API, with the service key."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

_ANSWER_S = 20.0


class NotAnsweredError(Exception):
    """A request got no answer, or not the one that it should get; the message says which."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the trial."""

    id: str
    gender: str
    token: str


@dataclass(frozen=True, slots=True)
class SmokeTestPair:
    """Two people who do not exist."""

    id: str
    school: str
    her: Person
    him: Person


@dataclass(frozen=True, slots=True)
class Upload:
    """What came back for a photo."""

    status: int
    job_id: str
    job_status: str
    took_ms: float


class LiveServer:
    """Asks a server; every failure is a `NotAnsweredError` with a sentence."""

    def __init__(self, client: httpx2.AsyncClient, key: str) -> None:
        self._client = client
        self._key = key

    async def start_trial(self) -> SmokeTestPair:
        told = await self._ask("POST", "/api/admin/trials", self._key)
        her, him = (Person(one["id"], one["gender"], one["access_token"]) for one in told["people"])
        return SmokeTestPair(told["id"], told["school"], her, him)

    async def end_trial(self, trial: SmokeTestPair) -> int:
        """Erase the two; how many were still there."""
        told = await self._ask("DELETE", f"/api/admin/trials/{trial.id}", self._key)
        return int(told["count"])

    async def consent(self, person: Person) -> None:
        """Agree to the current text, as a person does."""
        text = await self._ask("GET", "/api/profile/consent", person.token)
        await self._ask(
            "PUT",
            "/api/profile/consent",
            person.token,
            json={"version": text["version"], "granted": True},
        )

    async def upload(self, person: Person, photo: bytes) -> Upload:
        """Upload a photo; whatever the answer says, its status tells."""
        began = time.perf_counter()
        files = {"file": ("photo.jpg", photo, "image/jpeg")}
        answer = await self._send("POST", "/api/faces", person.token, files=files)
        took_ms = (time.perf_counter() - began) * 1000
        told = _checked("POST", "/api/faces", answer)
        return Upload(answer.status_code, told["job"]["id"], told["job"]["status"], took_ms)

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the operator sees it."""
        told = await self._ask("GET", f"/api/admin/jobs/{job_id}", self._key)
        return dict(told["job"])

    async def queue(self) -> dict[str, Any]:
        told = await self._ask("GET", "/api/admin/queue", self._key)
        return dict(told["queue"])

    async def matches(self, person: Person) -> list[dict[str, Any]]:
        told = await self._ask("GET", "/api/matches", person.token, params={"limit": "100"})
        return list(told["matches"])

    @asynccontextmanager
    async def stream(self, person: Person) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """Open the live feed of a person: (kind, data) of each event."""
        timeout = httpx2.Timeout(_ANSWER_S, read=None)
        try:
            async with self._client.stream(
                "GET", "/api/matches/stream", headers=_bearer(person.token), timeout=timeout
            ) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    _checked("GET", "/api/matches/stream", answer)
                yield _events(answer)
        except httpx2.HTTPError as exc:
            raise NotAnsweredError(f"The live feed broke ({type(exc).__name__}).") from exc

    async def _ask(self, method: str, path: str, token: str, **more: Any) -> Any:
        return _checked(method, path, await self._send(method, path, token, **more))

    async def _send(self, method: str, path: str, token: str, **more: Any) -> httpx2.Response:
        try:
            return await self._client.request(
                method, path, headers=_bearer(token), timeout=_ANSWER_S, **more
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            raise NotAnsweredError(
                f"{self._client.base_url} did not answer ({type(exc).__name__})."
            ) from exc


def _bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}"}


def _checked(method: str, path: str, answer: httpx2.Response) -> Any:
    """Return what a good answer holds."""
    if answer.is_success:
        try:
            return answer.json()
        except ValueError as exc:
            raise NotAnsweredError(f"{method} {path} was not answered by Auto-Match.") from exc
    try:
        error = answer.json()["error"]
        reason = f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        reason = "not an answer of Auto-Match"
    raise NotAnsweredError(f"{method} {path} was answered with {answer.status_code}, {reason}")


async def _events(answer: httpx2.Response) -> AsyncIterator[tuple[str, Any]]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "event" in fields:
                yield fields["event"], json.loads(fields.get("data", "{}"))
            fields = {}
