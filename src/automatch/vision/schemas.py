"""The JSON answers of the AI service, shared by the service and its client.

JSON represents every float32 exactly, so embeddings arrive unchanged.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from automatch.vision.results import Box

if TYPE_CHECKING:
    from automatch.errors import AutomatchError
    from automatch.vision.results import FaceResult, PhotoAnalysis


class _Schema(BaseModel):
    # A service of a later version may send further fields.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Model(_Schema):
    """The model that the service runs."""

    model: str = Field(description="Embeddings of different models are never compared.")
    dimensions: int


class Refusal(_Schema):
    """Why a face or a photo cannot be used."""

    code: str
    message: str

    @classmethod
    def of(cls, error: AutomatchError) -> Self:
        return cls(code=error.code, message=error.message)


class Corners(_Schema):
    """A rectangle in pixels of the kept copy, which is upright."""

    left: int = Field(description="A box may extend past the photo.")
    top: int
    right: int = Field(description="Exclusive, as is `bottom`.")
    bottom: int

    def as_box(self) -> Box:
        return Box(self.left, self.top, self.right, self.bottom)


class Face(_Schema):
    """One face, usable or not."""

    box: Corners
    landmarks: list[tuple[float, float]] = Field(description="Five points (x, y).")
    eyes: list[tuple[float, float]] = Field(
        default=[], description="Their centres (x, y), the left one of the picture first."
    )
    confidence: float = Field(description="The detector's own score; no probability.")
    quality: dict[str, float] = Field(
        description="`face_side_px`, `sharpness`, `brightness`, `contrast`, `confidence`, "
        "`yaw_degrees`, `inside`; docs/vision.md defines each."
    )
    refusal: Refusal | None = Field(
        description="Why a photo of this face alone would be refused; null if it would be accepted."
    )
    embedding: list[float] = Field(description="A unit vector.")

    @classmethod
    def of(cls, result: FaceResult) -> Self:
        face = result.face
        return cls(
            box=Corners(
                left=face.box.left, top=face.box.top, right=face.box.right, bottom=face.box.bottom
            ),
            landmarks=list(face.landmarks),
            eyes=list(face.eyes),
            confidence=face.confidence,
            quality=result.quality,
            refusal=result.refusal and Refusal.of(result.refusal),
            embedding=np.asarray(face.embedding, np.float64).tolist(),
        )


class Copies(_Schema):
    """The clean copies of the photo, upright, without metadata, in base64: a JPEG and a WebP."""

    full: str
    thumbnail: str


class Timings(_Schema):
    """Milliseconds of each stage."""

    decode: float
    detect: float
    embed: float


class PhotoFaces(Model):
    """The faces of one photo."""

    width: int = Field(
        gt=0, description="Of the kept copy, which is upright and scaled down if large."
    )
    height: int = Field(gt=0)
    min_confidence: float = Field(
        description="A face with a lower confidence is too uncertain to use."
    )
    faces: list[Face] = Field(description="Every face, the largest first.")
    refusal: Refusal | None = Field(
        description="Why an upload of this photo would be refused; null if it would be accepted."
    )
    timings_ms: Timings
    copies: Copies | None = Field(None, description="Only with `copies=true`.")

    @classmethod
    def of(cls, analysis: PhotoAnalysis, dimensions: int, *, copies: bool) -> Self:
        return cls(
            model=analysis.model_id,
            dimensions=dimensions,
            width=analysis.width,
            height=analysis.height,
            min_confidence=analysis.min_confidence,
            faces=[Face.of(face) for face in analysis.faces],
            refusal=analysis.refusal and Refusal.of(analysis.refusal),
            timings_ms=Timings(
                **{stage: round(ms, 2) for stage, ms in analysis.timings_ms.items()}
            ),
            copies=Copies(
                full=base64.b64encode(analysis.kept_jpeg).decode(),
                thumbnail=base64.b64encode(analysis.thumbnail).decode(),
            )
            if copies
            else None,
        )


class PhotoOutcome(_Schema):
    """The result of one photo of a batch, or its error."""

    result: PhotoFaces | None = None
    error: Refusal | None = None


class BatchFaces(_Schema):
    """The results of the photos of a batch, in their order."""

    photos: list[PhotoOutcome]
