"""`/ai/v1`: face analysis as a service, for clients that hold the `service_role` key.

Photos go through the same confined decoder and the same limits as uploads, and nothing of them is
kept. The gate turns everybody without the key away before their body is read.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Request

from automatch.errors import AutomatchError
from automatch.errors.job import JobCrashedError
from automatch.errors.upload import BodyTooLargeError
from automatch.http.deps import check_service, claims_of
from automatch.http.multipart import form_of, read_photo, read_photos
from automatch.model.faces import FaceBox
from automatch.services.ai_requests import AiRequestsDep
from automatch.settings.server import UploadSettings
from automatch.vision import LocalAnalyzer
from automatch.vision.schemas import BatchFaces, Model, PhotoFaces, PhotoOutcome, Refusal

FACES = "/ai/v1/faces"
BATCH = "/ai/v1/faces/batch"

_BINARY = {"type": "string", "format": "binary"}

log = structlog.get_logger(__name__)


def _require_service(request: Request) -> None:
    check_service(claims_of(request))


router = APIRouter(tags=["ai"], dependencies=[Depends(_require_service)])

WithCopies = Annotated[
    bool, Query(description="Send the clean copy and the thumbnail along, in base64.")
]
Chosen = Annotated[
    str | None,
    Query(
        pattern=r"^[01](\.\d{1,6})?(,[01](\.\d{1,6})?){3}$",
        description="Of several faces the one that is meant: left, top, width and height of its "
        "box as shares of the photo's sides. The copies then show no other face.",
    ),
]


@router.get("/ai/v1/model", summary="Which model it runs")
async def read_model(ai_requests: AiRequestsDep) -> Model:
    """Return the model whose embeddings the service gives."""
    analyzer = await ai_requests.analyzer()
    return Model(model=analyzer.model_id, dimensions=analyzer.dimensions)


@router.post(FACES, summary="Every face of a photo", openapi_extra=form_of(_BINARY))
async def analyze_photo(
    request: Request, ai_requests: AiRequestsDep, copies: WithCopies = False, chosen: Chosen = None
) -> PhotoFaces:
    """Return each face with box, landmarks, confidence, quality, embedding and what is wrong."""
    async with ai_requests.seat() as analyzer:
        photo = await read_photo(request, ai_requests.settings.upload.max_bytes)
        analysis = await analyzer.analyze(photo, FaceBox.from_text(chosen) if chosen else None)
        return PhotoFaces.of(analysis, analyzer.dimensions, copies=copies)


@router.post(
    BATCH,
    summary="Every face of several photos",
    openapi_extra=form_of({"type": "array", "items": _BINARY}),
)
async def look_at_several(
    request: Request, ai_requests: AiRequestsDep, copies: WithCopies = False
) -> BatchFaces:
    """Return for each `file` of the form, in their order, its faces or its error."""
    async with ai_requests.seat() as analyzer:
        photos = await read_photos(
            request, ai_requests.settings.ai.max_batch_bytes, most=ai_requests.settings.ai.max_batch
        )
        outcomes = [
            _outcome(analyzer, photo, ai_requests.settings.upload, copies) for photo in photos
        ]
        return BatchFaces(photos=await asyncio.gather(*outcomes))


async def _outcome(
    analyzer: LocalAnalyzer, photo: bytes, limits: UploadSettings, copies: bool
) -> PhotoOutcome:
    if len(photo) > limits.max_bytes:
        return PhotoOutcome(error=Refusal.of(BodyTooLargeError()))
    error: AutomatchError
    try:
        analysis = await analyzer.analyze(photo)
    except AutomatchError as exc:
        error = exc
    except Exception as exc:
        # One photo of a batch costs the others nothing; what the log keeps is its kind and place.
        log.exception("photo of a batch crashed", exc_info=exc)
        error = JobCrashedError()
    else:
        return PhotoOutcome(result=PhotoFaces.of(analysis, analyzer.dimensions, copies=copies))
    return PhotoOutcome(error=Refusal.of(error))
