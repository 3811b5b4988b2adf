"""`/ai/v1`: face analysis as a service of its own, for the holder of its key.

Photos pass the same sandboxed decoder and the same limits as uploads, and nothing of them is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from automatch.errors import AutomatchError
from automatch.errors.embedder import AiBusyError, EmbedderError
from automatch.errors.job import DecodeTimeoutError
from automatch.errors.photo import PhotoRejectedError
from automatch.errors.request import InputInvalidError
from automatch.errors.upload import UploadError
from automatch.http.declaration import (
    Access,
    DeclaredRoute,
    declare,
    photo_batch_body,
    photo_body,
)
from automatch.http.deps import AiRequestsDep
from automatch.http.multipart import describe_form, read_photo, read_photos
from automatch.model.faces import FaceBox
from automatch.vision.schemas import BatchFaces, Model, PhotoFaces, PhotoOutcome, Refusal

router = APIRouter(prefix="/ai/v1", tags=["ai"], route_class=DeclaredRoute)

_BINARY = {"type": "string", "format": "binary"}
_ANALYZE_ERRORS = (
    AiBusyError,
    DecodeTimeoutError,
    EmbedderError,
    InputInvalidError,
    UploadError,
    PhotoRejectedError,
)

WithCopies = Annotated[
    bool, Query(description="Send the clean copy and the thumbnail along, in base64.")
]
ChosenBox = Annotated[
    str | None,
    Query(
        pattern=r"^[01](\.\d{1,6})?(,[01](\.\d{1,6})?){3}$",
        description="Of several faces the one that is meant: left, top, width and height of its "
        "box as shares of the photo's sides. The copies then show no other face.",
    ),
]


@router.get("/model", summary="Which model it runs")
@declare(Access.AI_KEY, errors=(EmbedderError,))
async def read_model(ai_requests: AiRequestsDep) -> Model:
    """Return the model whose embeddings the service gives."""
    analyzer = await ai_requests.analyzer()
    return Model(model=analyzer.model_id, dimensions=analyzer.dimensions)


@router.post(
    "/faces",
    summary="Every face of a photo",
    response_model=PhotoFaces,
    openapi_extra=describe_form(_BINARY),
)
@declare(Access.AI_KEY, max_body_bytes=photo_body, errors=_ANALYZE_ERRORS)
async def analyze_photo(
    request: Request,
    ai_requests: AiRequestsDep,
    copies: WithCopies = False,
    chosen: ChosenBox = None,
) -> Response:
    """Return each face with box, landmarks, confidence, quality, embedding and what is wrong."""
    async with ai_requests.slot() as analyzer:
        photo = await read_photo(request)
        analysis = await analyzer.analyze(photo, FaceBox.from_text(chosen) if chosen else None)
        return await _respond(lambda: PhotoFaces.of(analysis, analyzer.dimensions, copies=copies))


@router.post(
    "/faces/batch",
    summary="Every face of several photos",
    response_model=BatchFaces,
    openapi_extra=describe_form({"type": "array", "items": _BINARY}),
)
@declare(Access.AI_KEY, max_body_bytes=photo_batch_body, errors=_ANALYZE_ERRORS)
async def analyze_photos(
    request: Request, ai_requests: AiRequestsDep, copies: WithCopies = False
) -> Response:
    """Return for each `file` of the form, in their order, its faces or its error."""
    async with ai_requests.slot() as analyzer:
        photos = await read_photos(request, max_files=ai_requests.settings.ai.max_batch)
        outcomes = await ai_requests.analyze_each(analyzer, photos)
        return await _respond(
            lambda: BatchFaces(
                photos=[
                    PhotoOutcome(error=Refusal.of(outcome))
                    if isinstance(outcome, AutomatchError)
                    else PhotoOutcome(
                        result=PhotoFaces.of(outcome, analyzer.dimensions, copies=copies)
                    )
                    for outcome in outcomes
                ]
            )
        )


async def _respond(make: Callable[[], BaseModel]) -> Response:
    """Make an answer and its JSON in a thread: the copies of a batch are many megabytes."""
    content = await asyncio.to_thread(lambda: make().model_dump_json())
    return Response(content, media_type="application/json")
