"""Photos looked at by an AI service on another machine; satisfies `FaceAnalyzer`.

The service tells what it sees and this side judges, by its own settings, so that a photo is refused
for the same reason wherever it was looked at. A service that cannot be reached, refuses the key or
runs another model is trouble of the machine: no photo is to blame, and nothing is asked of it
until `ready` has found it well again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import random
from typing import TYPE_CHECKING, Self

import httpx2
import numpy as np
import structlog
from pydantic import ValidationError

from automatch.errors import AutomatchError
from automatch.errors.embedder import AiBusyError, AiUnavailableError, EmbeddingInvalidError
from automatch.errors.job import JobCrashedError
from automatch.errors.photo import SeveralFacesError
from automatch.vision.decode.upload_check import refusal_named
from automatch.vision.detect.detector import Detection
from automatch.vision.detect.quality import check_quality, choose_face
from automatch.vision.results import DetectedFace, FaceExtraction
from automatch.vision.schemas import Model, PhotoFaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from automatch.model.faces import FaceBox
    from automatch.settings import Settings
    from automatch.settings.vision import VisionSettings

_RETRIES_S = (0.1, 0.4)
"""Pauses before a connection that broke is tried again."""
_FIRST_PROBE_S = 0.5
_BUSY_S = 5.0
"""Longest pause before a busy service is asked again, whatever it says."""
_MOST_BYTES = 64 * 1024**2
_MOST_BREAKS = 3
"""So often the connection may break over one photo before that photo is held to be the reason."""
_MOST_REMEMBERED = 1000
_CONNECT_S = 5.0
_JPEG = b"\xff\xd8\xff"

log = structlog.get_logger(__name__)


class RemoteAnalyzer:
    """Asks the AI service at `settings.ai_url`. Use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, *, model_id: str, key: Callable[[], str]) -> None:
        """Connect to nothing yet.

        Args:
            settings: `ai_url` must be set.
            model_id: the model whose embeddings are wanted; those of another are refused.
            key: gives the key to show with the next request.
        """
        self.model_id = model_id
        self._settings = settings
        self._key = key
        self._client = httpx2.AsyncClient(
            base_url=settings.ai_url or "",
            timeout=httpx2.Timeout(settings.ai.timeout_s, connect=_CONNECT_S),
            limits=httpx2.Limits(
                max_connections=settings.ai.connections + 1,
                max_keepalive_connections=settings.ai.connections + 1,
            ),
        )
        self._in_trouble = True
        self._probing = asyncio.Lock()
        self._breaks: dict[bytes, int] = {}

    async def __aenter__(self) -> Self:
        """Open the client; whether the service is there is for `ready` to find out."""
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def is_ready(self) -> bool:
        """Whether the service was well when last heard of."""
        return not self._in_trouble

    async def ready(self) -> None:
        """Wait until the service answers and runs the model that is wanted."""
        async with self._probing:
            pause = _FIRST_PROBE_S
            while self._in_trouble:
                try:
                    async with asyncio.timeout(self._settings.ai.timeout_s):
                        await self._check_model()
                except (AiUnavailableError, AiBusyError, TimeoutError, httpx2.HTTPError) as exc:
                    log.warning("AI service not there yet", reason=_reason(exc))
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  spreads workers, keeps no secret
                    pause = min(2 * pause, self._settings.worker.outage_pause_max_s)
                else:
                    self._in_trouble = False
                    log.info("AI service answers", model=self.model_id)

    async def extract(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str | None = None,
        enforce_quality: bool = True,
    ) -> FaceExtraction:
        """Return what an encoded photo shows; see `FaceAnalyzer.extract`."""
        if model is not None and model != self.model_id:
            # The model in use has changed: the service is waited for until it runs that one.
            self.model_id, self._in_trouble = model, True
        if self._in_trouble:
            raise AiUnavailableError
        try:
            async with asyncio.timeout(self._settings.ai.timeout_s):
                told = await self._ask(photo, chosen)
        except TimeoutError as exc:
            raise self._trouble(exc) from exc
        except AiUnavailableError as exc:
            raise self._trouble(exc) from exc
        return _extraction(told, self._settings.vision if enforce_quality else None, chosen)

    async def _ask(self, photo: bytes, chosen: FaceBox | None) -> PhotoFaces:
        path = "/ai/v1/faces?copies=true"
        if chosen is not None:
            path += f"&chosen={chosen.as_text()}"
        pauses = iter(_RETRIES_S)
        while True:
            try:
                answer = await self._request("POST", path, files={"file": ("photo", photo)})
                told = PhotoFaces.model_validate_json(answer)
            except AiBusyError as exc:
                await asyncio.sleep(min(exc.retry_after_s, _BUSY_S))
            except httpx2.TransportError as exc:
                self._count_break(photo, exc)
                pause = next(pauses, None)
                if pause is None:
                    raise AiUnavailableError(f"{type(exc).__name__}.") from exc
                await asyncio.sleep(pause)
            except ValidationError as exc:
                raise AiUnavailableError("Its answer is none of an AI service.") from exc
            else:
                self._check(told)
                self._breaks.pop(hashlib.sha256(photo).digest(), None)
                return told

    async def _check_model(self) -> None:
        try:
            self._check(Model.model_validate_json(await self._request("GET", "/ai/v1/model")))
        except ValidationError as exc:
            raise AiUnavailableError("Its answer is none of an AI service.") from exc

    def _check(self, told: Model) -> None:
        if told.model != self.model_id:
            raise AiUnavailableError(
                f"It runs the model {told.model}, and {self.model_id} is the active one."
            )

    async def _request(
        self, method: str, path: str, *, files: dict[str, tuple[str, bytes]] | None = None
    ) -> bytes:
        """Return the body of an answer that is no error.

        Raises:
            AutomatchError: the refusal that was told, or what an answer without one means.
            httpx2.TransportError: there was no answer.
        """
        headers = {"authorization": f"Bearer {self._key()}"}
        body = bytearray()
        async with self._client.stream(method, path, headers=headers, files=files) as answer:
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise AiUnavailableError("Its answer is too large.")
        if answer.status_code == httpx2.codes.OK:
            return bytes(body)
        raise _error_of(answer.status_code, bytes(body), answer.headers.get("retry-after", ""))

    def _trouble(self, exc: Exception) -> AiUnavailableError:
        if not self._in_trouble:
            self._in_trouble = True
            log.warning("AI service in trouble; jobs wait", reason=_reason(exc))
        return AiUnavailableError()

    def _count_break(self, photo: bytes, exc: httpx2.TransportError) -> None:
        """Blame the photo that takes the service down each time: else it would for ever.

        Raises:
            JobCrashedError: this photo has done so too often.
        """
        if isinstance(exc, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            # The service never saw it.
            return
        if len(self._breaks) >= _MOST_REMEMBERED:
            self._breaks.clear()
        name = hashlib.sha256(photo).digest()
        self._breaks[name] = self._breaks.get(name, 0) + 1
        if self._breaks[name] > _MOST_BREAKS:
            raise JobCrashedError from exc


def _error_of(status: int, body: bytes, retry_after: str) -> AutomatchError:
    try:
        told = json.loads(body)["error"]
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        code = message = ""
    if status == httpx2.codes.SERVICE_UNAVAILABLE and code == AiBusyError.code:
        return AiBusyError(retry_after_s=float(retry_after) if retry_after.isdigit() else 1.0)
    refusal = refusal_named(code, message)
    if refusal is not None:
        return refusal
    if status == httpx2.codes.INTERNAL_SERVER_ERROR:
        return JobCrashedError()
    if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
        return AiUnavailableError("It refuses the key; set AUTOMATCH_AI_KEY to the same on both.")
    return AiUnavailableError(f"It answers {status} {code}.")


def _reason(exc: Exception) -> str:
    return exc.message if isinstance(exc, AutomatchError) else type(exc).__name__


def _extraction(
    told: PhotoFaces, vision: VisionSettings | None, chosen: FaceBox | None
) -> FaceExtraction:
    """Choose and judge the face as `FaceAnalyzer.extract` does."""
    detections = [Detection(face.box.as_box(), face.confidence) for face in told.faces]
    by_certainty = sorted(detections, key=lambda detection: detection.confidence, reverse=True)
    # Only the size of the photo is asked for; this takes no memory.
    photo = np.broadcast_to(np.uint8(0), (told.height, told.width, 3))
    try:
        own = choose_face(by_certainty, told.min_confidence, photo, chosen)
    except SeveralFacesError as exc:
        exc.copies = _copies(told)
        raise
    face = told.faces[detections.index(own)]
    try:
        if vision is not None:
            check_quality(face.quality, vision)
    except KeyError as exc:
        raise JobCrashedError from exc
    embedding = np.asarray(face.embedding, np.float32)
    if len(embedding) != told.dimensions or not np.isclose(np.linalg.norm(embedding), 1, atol=1e-3):
        raise EmbeddingInvalidError
    kept, thumbnail = _copies(told)
    return FaceExtraction(
        face=DetectedFace(own.box, face.confidence, tuple(face.landmarks), embedding),
        quality=face.quality,
        kept_jpeg=kept,
        thumbnail_jpeg=thumbnail,
        timings=told.timings_ms.model_dump(),
    )


def _copies(told: PhotoFaces) -> tuple[bytes, bytes]:
    if told.copies is None:
        raise JobCrashedError
    try:
        full = base64.b64decode(told.copies.full, validate=True)
        thumbnail = base64.b64decode(told.copies.thumbnail, validate=True)
    except binascii.Error as exc:
        raise JobCrashedError from exc
    if not (full.startswith(_JPEG) and thumbnail.startswith(_JPEG)):
        # They are shown to people as they are.
        raise JobCrashedError
    return full, thumbnail
