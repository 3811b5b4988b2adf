"""The answers of the AI service as they travel, for whoever gives and whoever reads them.

Numbers lose nothing on the way: JSON carries each float32 whole.
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


class _Told(BaseModel):
    # A service of a later version may tell more.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Model(_Told):
    """Which model the service runs."""

    model: str = Field(description="Embeddings of two models are never compared.")
    dimensions: int


class Refusal(_Told):
    """Why a face or a photo cannot be used."""

    code: str
    message: str

    @classmethod
    def of(cls, error: AutomatchError) -> Self:
        return cls(code=error.code, message=error.message)


class Corners(_Told):
    """A rectangle in pixels of the upright photo as it is kept."""

    left: int = Field(description="Boxes may reach past the photo.")
    top: int
    right: int = Field(description="Just outside, as is `bottom`.")
    bottom: int

    def as_box(self) -> Box:
        return Box(self.left, self.top, self.right, self.bottom)


class Face(_Told):
    """One face, whether it can be used or not."""

    box: Corners
    landmarks: list[tuple[float, float]] = Field(description="Five points, x and y.")
    confidence: float = Field(description="The detector's own score, no probability.")
    quality: dict[str, float] = Field(
        description="`face_side_px`, `sharpness`, `brightness`, `confidence`, `yaw_degrees`, "
        "`inside`; docs/vision.md says how each is measured."
    )
    refusal: Refusal | None = Field(
        description="Why a photo of this face alone would be refused; null when it would not."
    )
    embedding: list[float] = Field(description="Of length 1.")

    @classmethod
    def of(cls, result: FaceResult) -> Self:
        face = result.face
        return cls(
            box=Corners(
                left=face.box.left, top=face.box.top, right=face.box.right, bottom=face.box.bottom
            ),
            landmarks=list(face.landmarks),
            confidence=face.confidence,
            quality=result.quality,
            refusal=result.refusal and Refusal.of(result.refusal),
            embedding=np.asarray(face.embedding, np.float64).tolist(),
        )


class Copies(_Told):
    """The clean copies of the photo: upright JPEGs without metadata, in base64."""

    full: str
    thumbnail: str


class Timings(_Told):
    """Milliseconds of each stage."""

    decode: float
    detect: float
    embed: float


class PhotoFaces(Model):
    """What one photo shows."""

    width: int = Field(
        gt=0, description="Of the upright photo as it is kept, scaled down if large."
    )
    height: int = Field(gt=0)
    min_confidence: float = Field(description="A face that scores less is only guessed.")
    faces: list[Face] = Field(description="Every face, the largest first.")
    refusal: Refusal | None = Field(
        description="Why an upload of this photo would be refused; null when it would not."
    )
    timings_ms: Timings
    copies: Copies | None = Field(None, description="Only where `copies=true` asks for them.")

    @classmethod
    def of(cls, look: PhotoAnalysis, dimensions: int, *, copies: bool) -> Self:
        return cls(
            model=look.model_id,
            dimensions=dimensions,
            width=look.width,
            height=look.height,
            min_confidence=look.min_confidence,
            faces=[Face.of(face) for face in look.faces],
            refusal=look.refusal and Refusal.of(look.refusal),
            timings_ms=Timings(**{stage: round(ms, 2) for stage, ms in look.timings.items()}),
            copies=Copies(
                full=base64.b64encode(look.kept_jpeg).decode(),
                thumbnail=base64.b64encode(look.thumbnail_jpeg).decode(),
            )
            if copies
            else None,
        )


class PhotoOutcome(_Told):
    """What came of one photo of a batch: exactly one of the two is there."""

    result: PhotoFaces | None = None
    error: Refusal | None = None


class BatchFaces(_Told):
    """What the photos of a batch show, in their order."""

    photos: list[PhotoOutcome]
