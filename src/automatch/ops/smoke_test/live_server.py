"""The HTTP API of a running installation, as the smoke test uses it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

_TIMEOUT_S = 20.0


class NotAnsweredError(Exception):
    """A request got no answer or an unexpected one; the message says which."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person of the smoke test."""

    id: str
    gender: str
    token: str


@dataclass(frozen=True, slots=True)
class SmokeTestPair:
    """The two temporary people of a smoke test."""

    id: str
    school: str
    her: Person
    him: Person


@dataclass(frozen=True, slots=True)
class Upload:
    """The answer to an upload."""

    status: int
    job_id: str
    job_status: str
    took_ms: float


class LiveServer:
    """Sends requests to a server; every failure is a `NotAnsweredError`."""

    def __init__(self, client: httpx2.AsyncClient, key: str) -> None:
        self._client = client
        self._key = key

    async def create_pair(self) -> SmokeTestPair:
        """Create the two people, and delete those of interrupted smoke tests."""
        body = await self._send("POST", "/api/admin/smoke-tests", self._key)
        her, him = (
            Person(person["id"], person["gender"], person["access_token"])
            for person in body["people"]
        )
        return SmokeTestPair(body["id"], body["school"], her, him)

    async def delete_pair(self, pair: SmokeTestPair) -> int:
        """Delete the two people; return how many still existed."""
        body = await self._send("DELETE", f"/api/admin/smoke-tests/{pair.id}", self._key)
        return int(body["count"])

    async def consent(self, person: Person) -> None:
        """Consent to the current text."""
        text = await self._send("GET", "/api/profile/consent", person.token)
        await self._send(
            "PUT",
            "/api/profile/consent",
            person.token,
            json={"version": text["version"], "granted": True},
        )

    async def upload(self, person: Person, photo: bytes) -> Upload:
        """Upload a photo."""
        began = time.perf_counter()
        files = {"file": ("photo.jpg", photo, "image/jpeg")}
        response = await self._request("POST", "/api/faces", person.token, files=files)
        took_ms = (time.perf_counter() - began) * 1000
        job = _body("POST", "/api/faces", response)["job"]
        return Upload(response.status_code, job["id"], job["status"], took_ms)

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the admin API shows it."""
        body = await self._send("GET", f"/api/admin/jobs/{job_id}", self._key)
        return dict(body["job"])

    async def queue(self) -> dict[str, Any]:
        body = await self._send("GET", "/api/admin/queue", self._key)
        return dict(body["queue"])

    async def matches(self, person: Person) -> list[dict[str, Any]]:
        body = await self._send("GET", "/api/matches", person.token, params={"limit": "100"})
        return list(body["matches"])

    @asynccontextmanager
    async def stream(self, person: Person) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """Open the live feed of a person; yields (kind, data) of each event."""
        timeout = httpx2.Timeout(_TIMEOUT_S, read=None)
        try:
            async with self._client.stream(
                "GET", "/api/matches/stream", headers=_bearer(person.token), timeout=timeout
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    _body("GET", "/api/matches/stream", response)
                yield _events(response)
        except httpx2.HTTPError as exc:
            raise NotAnsweredError(
                f"The live feed was interrupted ({type(exc).__name__})."
            ) from exc

    async def _send(self, method: str, path: str, token: str, **more: Any) -> Any:
        return _body(method, path, await self._request(method, path, token, **more))

    async def _request(self, method: str, path: str, token: str, **more: Any) -> httpx2.Response:
        try:
            return await self._client.request(
                method, path, headers=_bearer(token), timeout=_TIMEOUT_S, **more
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            raise NotAnsweredError(
                f"{self._client.base_url} did not answer ({type(exc).__name__})."
            ) from exc


def _bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}"}


def _body(method: str, path: str, response: httpx2.Response) -> Any:
    """Return the JSON body of a successful response."""
    if response.is_success:
        try:
            return response.json()
        except ValueError as exc:
            raise NotAnsweredError(f"{method} {path} was not answered by Auto-Match.") from exc
    try:
        error = response.json()["error"]
        reason = f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        reason = "not an answer of Auto-Match"
    raise NotAnsweredError(f"{method} {path} was answered with {response.status_code}, {reason}")


async def _events(response: httpx2.Response) -> AsyncIterator[tuple[str, Any]]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "event" in fields:
                yield fields["event"], json.loads(fields.get("data", "{}"))
            fields = {}
