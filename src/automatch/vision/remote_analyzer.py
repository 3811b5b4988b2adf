"""Analyzes photos by an AI service on another machine; satisfies `FaceAnalyzer`.

The service measures, and this side applies its own settings to the figures, so a photo is refused
for the same reason wherever it was analyzed. A service that cannot be reached, refuses the key or
runs another model is an infrastructure error and no fault of a photo; it gets no further photo
until `ready` has found it available again.
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
from automatch.errors.job import DecodeTimeoutError, JobCrashedError
from automatch.errors.photo import (
    FaceUnclearError,
    PhotoRejectedError,
    RefusedPicture,
    SeveralFacesError,
)
from automatch.errors.upload import UploadsBusyError
from automatch.model.faces import FaceBox
from automatch.vision.decode.upload_check import refusal_named
from automatch.vision.detect.detector import Detection
from automatch.vision.detect.photo_copies import place_eyes
from automatch.vision.detect.quality import check_quality, choose_face
from automatch.vision.results import DetectedFace, FaceExtraction
from automatch.vision.schemas import Model, PhotoFaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from automatch.settings import Settings
    from automatch.settings.vision import VisionSettings
    from automatch.vision.schemas import Face

_RETRIES_S = (0.1, 0.4)
"""Pauses before a request is repeated after its connection broke."""
_FIRST_PAUSE_S = 0.5
_MAX_BUSY_PAUSE_S = 5.0
"""Longest pause after a busy answer, whatever its Retry-After says."""
_MAX_BYTES = 64 * 1024**2
_MAX_DISCONNECTS = 3
"""After more broken connections over one photo, that photo is taken for their cause."""
_MAX_COUNTED_PHOTOS = 1000
_CONNECT_S = 5.0
_JPEG, _WEBP = b"\xff\xd8\xff", b"RIFF"

log = structlog.get_logger(__name__)


class RemoteAnalyzer:
    """Asks the AI service at `settings.ai_url`. Use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, *, model_id: str, key: Callable[[], str]) -> None:
        """Connect to nothing yet.

        Args:
            settings: `ai_url` must be set.
            model_id: the model that the service must run.
            key: returns the key for the next request.
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
        self._unavailable = True
        self._ready_lock = asyncio.Lock()
        self._disconnects: dict[bytes, int] = {}

    async def __aenter__(self) -> Self:
        """Open the client; only `ready` connects."""
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def is_ready(self) -> bool:
        """Whether the last request found the service available."""
        return not self._unavailable

    async def ready(self) -> None:
        """Wait until the service answers and runs `model_id`."""
        async with self._ready_lock:
            pause = _FIRST_PAUSE_S
            while self._unavailable:
                try:
                    async with asyncio.timeout(self._settings.ai.timeout_s):
                        await self._check_model()
                except (AiUnavailableError, AiBusyError, TimeoutError, httpx2.HTTPError) as exc:
                    log.warning("AI service not available yet", reason=_reason(exc))
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  spreads workers, keeps no secret
                    pause = min(2 * pause, self._settings.worker.outage_pause_max_s)
                else:
                    self._unavailable = False
                    log.info("AI service is available", model=self.model_id)

    async def extract(
        self,
        photo: bytes,
        chosen: FaceBox | None = None,
        *,
        model: str | None = None,
        enforce_quality: bool = True,
    ) -> FaceExtraction:
        """Return the one face of a photo; see `FaceAnalyzer.extract`."""
        if model is not None and model != self.model_id:
            # The model in use has changed; wait until the service runs the new one.
            self.model_id, self._unavailable = model, True
        if self._unavailable:
            raise AiUnavailableError
        try:
            async with asyncio.timeout(self._settings.ai.timeout_s):
                answer = await self._ask(photo, chosen)
                own = await asyncio.to_thread(_choose, answer, self._settings.vision, chosen)
                if (
                    chosen is None
                    and answer.refusal
                    and answer.refusal.code == SeveralFacesError.code
                ):
                    # By the settings of the service several faces can be used, so its copies still
                    # show all of them.
                    answer = await self._ask(photo, _place_of(own, answer))
        except TimeoutError as exc:
            raise self._mark_unavailable(exc) from exc
        except AiUnavailableError as exc:
            raise self._mark_unavailable(exc) from exc
        vision = self._settings.vision if enforce_quality else None
        return await asyncio.to_thread(_extraction, answer, own, vision)

    async def _ask(self, photo: bytes, chosen: FaceBox | None) -> PhotoFaces:
        path = "/ai/v1/faces?copies=true"
        if chosen is not None:
            path += f"&chosen={chosen.as_text()}"
        pauses = iter(_RETRIES_S)
        while True:
            try:
                body = await self._request("POST", path, files={"file": ("photo", photo)})
                answer = await asyncio.to_thread(PhotoFaces.model_validate_json, body)
            except AiBusyError as exc:
                await asyncio.sleep(min(exc.retry_after_s, _MAX_BUSY_PAUSE_S))
            except httpx2.TransportError as exc:
                self._count_disconnect(await asyncio.to_thread(_digest, photo), exc)
                pause = next(pauses, None)
                if pause is None:
                    raise AiUnavailableError(f"{type(exc).__name__}.") from exc
                await asyncio.sleep(pause)
            except ValidationError as exc:
                raise AiUnavailableError("Its answer is not that of an AI service.") from exc
            else:
                self._check(answer)
                if self._disconnects:
                    self._disconnects.pop(await asyncio.to_thread(_digest, photo), None)
                return answer

    async def _check_model(self) -> None:
        try:
            self._check(Model.model_validate_json(await self._request("GET", "/ai/v1/model")))
        except ValidationError as exc:
            raise AiUnavailableError("Its answer is not that of an AI service.") from exc

    def _check(self, answer: Model) -> None:
        if answer.model != self.model_id:
            raise AiUnavailableError(
                f"It runs the model {answer.model}, and {self.model_id} is the active one."
            )

    async def _request(
        self, method: str, path: str, *, files: dict[str, tuple[str, bytes]] | None = None
    ) -> bytes:
        """Return the body of a successful answer.

        Raises:
            AutomatchError: the error in the answer, or what its status means.
            httpx2.TransportError: there was no answer.
        """
        headers = {"authorization": f"Bearer {self._key()}"}
        body = bytearray()
        async with self._client.stream(method, path, headers=headers, files=files) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise AiUnavailableError("Its answer is too large.")
        if response.status_code == httpx2.codes.OK:
            return bytes(body)
        raise _error_of(response.status_code, bytes(body), response.headers.get("retry-after", ""))

    def _mark_unavailable(self, exc: Exception) -> AiUnavailableError:
        if not self._unavailable:
            self._unavailable = True
            log.warning("AI service unavailable; jobs wait", reason=_reason(exc))
        return AiUnavailableError()

    def _count_disconnect(self, name: bytes, exc: httpx2.TransportError) -> None:
        """Fail a photo that breaks the connection every time, or it would do so forever.

        Raises:
            JobCrashedError: this photo has done so too often.
        """
        if isinstance(exc, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            # The service never received the photo.
            return
        if len(self._disconnects) >= _MAX_COUNTED_PHOTOS:
            self._disconnects.clear()
        self._disconnects[name] = self._disconnects.get(name, 0) + 1
        if self._disconnects[name] > _MAX_DISCONNECTS:
            raise JobCrashedError from exc


def _error_of(status: int, body: bytes, retry_after: str) -> AutomatchError:
    try:
        error = json.loads(body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        code = message = ""
    is_busy = code in {AiBusyError.code, UploadsBusyError.code}
    if status == httpx2.codes.SERVICE_UNAVAILABLE and is_busy:
        return AiBusyError(retry_after_s=float(retry_after) if retry_after.isdigit() else 1.0)
    if code == DecodeTimeoutError.code:
        return DecodeTimeoutError()
    refusal = refusal_named(code, message)
    if refusal is not None:
        return refusal
    if status == httpx2.codes.INTERNAL_SERVER_ERROR:
        return JobCrashedError()
    if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
        return AiUnavailableError("It refuses the key; set AUTOMATCH_AI_KEY to the same on both.")
    return AiUnavailableError(f"It answers {status} {code}.")


def _digest(photo: bytes) -> bytes:
    return hashlib.sha256(photo).digest()


def _reason(exc: Exception) -> str:
    return exc.message if isinstance(exc, AutomatchError) else type(exc).__name__


def _choose(answer: PhotoFaces, vision: VisionSettings, chosen: FaceBox | None) -> Face:
    """Choose the face as the local analyzer does."""
    detections = [Detection(face.box.as_box(), face.confidence) for face in answer.faces]
    by_confidence = sorted(detections, key=lambda detection: detection.confidence, reverse=True)
    # `choose_face` needs only the size of the photo; this array takes no memory.
    photo = np.broadcast_to(np.uint8(0), (answer.height, answer.width, 3))
    try:
        own = choose_face(
            by_confidence, answer.min_confidence, photo, chosen, min_side=vision.min_face_side
        )
    except SeveralFacesError as exc:
        exc.copies = _copies(answer)
        raise
    except PhotoRejectedError as exc:
        # The copies of several faces show them all, as nobody's is chosen yet.
        if chosen is None and len(answer.faces) <= 1:
            exc.picture = _picture(answer, *answer.faces)
        raise
    return answer.faces[detections.index(own)]


def _place_of(face: Face, answer: PhotoFaces) -> FaceBox:
    return FaceBox.of_corners(*face.box.as_box().shares_of(answer.width, answer.height))


def _extraction(answer: PhotoFaces, face: Face, vision: VisionSettings | None) -> FaceExtraction:
    """Check the quality of the chosen face, as the local analyzer does."""
    try:
        if vision is not None:
            check_quality(face.quality, vision)
    except KeyError as exc:
        raise JobCrashedError from exc
    except FaceUnclearError as exc:
        exc.picture = _picture(answer, face)
        raise
    embedding = np.asarray(face.embedding, np.float32)
    if len(embedding) != answer.dimensions or not np.isclose(
        np.linalg.norm(embedding), 1, atol=1e-3
    ):
        raise EmbeddingInvalidError
    kept, thumbnail = _copies(answer)
    own = Detection(face.box.as_box(), face.confidence)
    eyes = tuple(face.eyes) if len(face.eyes) == 2 else ()
    return FaceExtraction(
        face=DetectedFace(own.box, own.confidence, tuple(face.landmarks), embedding, eyes=eyes),
        quality=face.quality,
        kept_jpeg=kept,
        thumbnail=thumbnail,
        timings_ms=answer.timings_ms.model_dump(),
        eyes=place_eyes((answer.width, answer.height), own, eyes),
    )


def _picture(answer: PhotoFaces, face: Face | None = None) -> RefusedPicture:
    width, height = answer.width, answer.height
    sides = face.box.as_box().shares_of(width, height) if face else None
    return RefusedPicture(*_copies(answer), width, height, sides)


def _copies(answer: PhotoFaces) -> tuple[bytes, bytes]:
    if answer.copies is None:
        raise JobCrashedError
    try:
        full = base64.b64decode(answer.copies.full, validate=True)
        thumbnail = base64.b64decode(answer.copies.thumbnail, validate=True)
    except binascii.Error as exc:
        raise JobCrashedError from exc
    if not (full.startswith(_JPEG) and thumbnail.startswith((_JPEG, _WEBP))):
        # They are shown to people unchanged.
        raise JobCrashedError
    return full, thumbnail
