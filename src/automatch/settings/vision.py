"""Settings of face analysis, local and remote."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from automatch.settings.group import SettingsGroup


class VisionSettings(SettingsGroup):
    """How a photo is decoded, and the quality limits of a face."""

    decode_cpu_s: int = Field(20, ge=1, description="CPU seconds that decoding a photo may take.")
    decode_timeout_s: float = Field(
        45, gt=0, description="Seconds after which decoding a photo is stopped and retried."
    )
    decode_memory_mb: int = Field(768, ge=256, description="Address space of the decoder in MiB.")
    max_scans: int = Field(
        50,
        ge=1,
        description="Maximum number of scans of a JPEG of up to 15 megapixels; a larger one may "
        "have as many fewer.",
    )
    kept_side: int = Field(1600, ge=640, description="Longest side of the stored copy in pixels.")
    thumbnail_side: int = Field(320, ge=64, description="Longest side of the thumbnail in pixels.")
    detect_side: int = Field(
        640, ge=320, description="Longest side of the image that the face detector gets, in pixels."
    )
    yunet_file: Path | None = Field(
        None,
        description="File of the YuNet face detector, which then replaces dlib's: "
        "`face_detection_yunet_2023mar.onnx`.",
    )
    hog_min_confidence: float = Field(
        0.2, ge=0.1, description="Minimum score of a face with dlib's detector."
    )
    yunet_min_confidence: float = Field(
        0.8, ge=0.6, le=1, description="Minimum score of a face with YuNet, from 0 to 1."
    )
    min_face_side: int = Field(
        60, ge=20, description="Minimum side of a face in the stored copy, in pixels."
    )
    min_sharpness: float = Field(
        5,
        ge=0,
        description="Minimum sharpness of a face: the variance of the Laplacian of its chip.",
    )
    min_contrast: float = Field(
        20, ge=0, le=255, description="Minimum contrast of a dark face, light to shade, of 255."
    )
    max_brightness: float = Field(
        225, ge=0, le=255, description="Maximum mean brightness of a face, of 255."
    )
    max_yaw_degrees: float = Field(
        30,
        ge=0,
        le=90,
        description="Maximum yaw of a face in degrees, estimated from its landmarks.",
    )
    min_inside: float = Field(
        0.7, ge=0, le=1, description="Minimum share of a face's chip that lies inside the photo."
    )
    threads: int = Field(2, ge=1, le=64, description="Photos analyzed at a time per worker.")


class AiSettings(SettingsGroup):
    """The AI service: limits of the server, and how a worker uses it."""

    model: str = Field(
        "dlib",
        description="Model that the AI service runs; workers that use it wait until it is the "
        "active one.",
    )
    max_requests: int = Field(
        16, ge=1, description="Maximum number of concurrent requests; more get 503 `ai_busy`."
    )
    max_batch: int = Field(16, ge=1, le=256, description="Maximum number of photos in one batch.")
    max_batch_bytes: int = Field(
        64 * 1024**2, ge=1024, description="Maximum size of the body of a batch in bytes."
    )
    connections: int = Field(
        8, ge=1, le=256, description="Photos that one worker sends to `ai_url` at a time."
    )
    timeout_s: float = Field(50, gt=0, description="Seconds that a request to `ai_url` may take.")
    allow_http: bool = Field(
        False,
        description="Allow http in `ai_url` to another machine; photos and key are then not "
        "encrypted.",
    )
