"""Settings of face analysis, local and remote."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from automatch.settings.group import SettingsGroup


class VisionSettings(SettingsGroup):
    """How a photo is decoded and what a usable face is."""

    decode_cpu_s: int = Field(5, ge=1, description="CPU seconds the decoder may take per photo.")
    decode_timeout_s: float = Field(10, gt=0, description="Seconds the decoder may take per photo.")
    decode_memory_mb: int = Field(768, ge=256, description="Address space of the decoder in MiB.")
    max_scans: int = Field(50, ge=1, description="Most scans of a progressive JPEG.")
    kept_side: int = Field(1600, ge=640, description="Longest side of the copy that is kept.")
    thumbnail_side: int = Field(320, ge=64, description="Longest side of the thumbnail.")
    detect_side: int = Field(640, ge=320, description="Longest side the face detector looks at.")
    yunet_file: Path | None = Field(
        None,
        description="File of the YuNet face detector, which then replaces dlib's: "
        "`face_detection_yunet_2023mar.onnx`.",
    )
    hog_min_confidence: float = Field(
        0.2, ge=0.1, description="Least score of a face by dlib's detector."
    )
    yunet_min_confidence: float = Field(
        0.8, ge=0.6, le=1, description="Least score of a face by YuNet, from 0 to 1."
    )
    min_face_side: int = Field(
        60, ge=20, description="Fewest pixels on a face's side in the kept copy."
    )
    min_sharpness: float = Field(
        5, ge=0, description="Least sharpness of a face: the variance of its chip's Laplacian."
    )
    min_brightness: float = Field(
        25, ge=0, le=255, description="Least mean brightness of a face, of 255."
    )
    max_brightness: float = Field(
        225, ge=0, le=255, description="Greatest mean brightness of a face, of 255."
    )
    max_yaw_degrees: float = Field(
        30, ge=0, le=90, description="Degrees a face may be turned to a side, by its landmarks."
    )
    min_inside: float = Field(
        0.7, ge=0, le=1, description="Share of a face's chip that must lie inside the photo."
    )
    threads: int = Field(2, ge=1, le=64, description="Photos looked at side by side per worker.")

    @model_validator(mode="after")
    def _some_light_is_right(self) -> Self:
        if self.min_brightness >= self.max_brightness:
            raise ValueError("vision.min_brightness must be less than vision.max_brightness")
        return self


class AiSettings(SettingsGroup):
    """The AI service: what it bears where it is served, and how a worker uses one elsewhere."""

    model: str = Field(
        "dlib",
        description="Model that the AI service runs; workers that use it wait until that is the "
        "one in use.",
    )
    max_requests: int = Field(
        16, ge=1, description="Requests answered side by side; further ones get 503 `ai_busy`."
    )
    max_batch: int = Field(16, ge=1, le=256, description="Photos in one batch, at most.")
    max_batch_bytes: int = Field(
        64 * 1024**2, ge=1024, description="Largest body of a batch in bytes."
    )
    connections: int = Field(
        8, ge=1, le=256, description="Photos that one worker sends to `ai_url` side by side."
    )
    timeout_s: float = Field(
        30, gt=0, description="Seconds after which an answer of `ai_url` is given up."
    )
    allow_http: bool = Field(
        False,
        description="Let `ai_url` be http to another machine: photos and key then travel readable.",
    )
