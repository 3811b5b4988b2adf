"""The only reader of the environment: every setting, its default, its bounds and what it means."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from automatch.errors import SettingsError

_PREFIX = "AUTOMATCH_"

# In the clear only where no stranger listens: this machine, or a name of a container network.
_SERVICE_URL = (
    r"^(https://[^/\s@?#]+|http://(localhost|127\.0\.0\.1|\[::1\]|[a-z0-9-]+)(:\d+)?)(/[^\s?#]*)?$"
)

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PostgresSettings(_Group):
    """The embedded Postgres; unused when `database_url` names a server of yours."""

    system_user: str = Field(
        "automatch",
        description="Unprivileged user the embedded Postgres runs as when Auto-Match runs as root; "
        "made when missing.",
    )
    shared_buffers_mb: int = Field(128, ge=16, description="Postgres page cache in MiB.")
    max_connections: int = Field(60, ge=10, description="Connections Postgres accepts.")


class PoolSettings(_Group):
    """Connections that one process keeps to Postgres."""

    min_size: int = Field(1, ge=0, description="Connections kept open.")
    max_size: int = Field(8, ge=1, description="Connections at most.")
    timeout_s: float = Field(5, gt=0, description="Seconds a request waits for a connection.")
    answer_s: float = Field(
        20, gt=0, description="A connection is given up when a transaction takes longer."
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.min_size > self.max_size:
            raise ValueError("pool.min_size must not exceed pool.max_size")
        return self


class AuthSettings(_Group):
    """Sign-up, sign-in and the tokens they give."""

    access_token_s: int = Field(900, ge=60, le=86400, description="Life of an access token.")
    refresh_token_s: int = Field(
        30 * 86400, ge=3600, description="A session unused for so long must sign in again."
    )
    refresh_reuse_s: int = Field(
        10, ge=0, description="A refresh token may be used again for so long, for parallel tabs."
    )
    leeway_s: int = Field(30, ge=0, le=120, description="Clock difference a token may have.")


class UploadSettings(_Group):
    """What a photo may be before anything looks at it."""

    max_bytes: int = Field(15 * 1024**2, ge=1024, description="Largest request body in bytes.")
    body_timeout_s: float = Field(30, gt=0, description="Seconds a request body may take.")
    max_waiting: int = Field(
        50_000, ge=1, description="Uploads are refused when more photos than this wait."
    )
    max_pixels: int = Field(50_000_000, ge=10_000, description="Most pixels of a photo.")
    min_side: int = Field(160, ge=1, description="Fewest pixels on a photo's shorter side.")
    max_aspect: float = Field(4, gt=1, description="Longest side over shortest side, at most.")


class VisionSettings(_Group):
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
    max_turn_degrees: float = Field(
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


class AiSettings(_Group):
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


class WorkerSettings(_Group):
    """How jobs are claimed, kept and tried again."""

    lanes: int = Field(2, ge=1, le=16, description="Batches of jobs worked on side by side.")
    batch: int = Field(100, ge=1, le=500, description="Jobs claimed at once, at most.")
    batch_s: float = Field(
        0.2, gt=0, description="Seconds of work claimed at once, judged by the jobs before."
    )
    search_cache_mb: int = Field(
        256,
        ge=0,
        description="Memory in MiB for copies of the groups that batches of jobs look through; "
        "0 leaves every search to the database.",
    )
    poll_s: float = Field(5, gt=0, description="Seconds between looks when no wake-up comes.")
    lease_s: float = Field(30, gt=0, description="A claim that is not renewed for so long is lost.")
    heartbeat_s: float = Field(10, gt=0, description="Seconds between renewals of a claim.")
    sweep_s: float = Field(5, gt=0, description="Seconds between looks for lost claims.")
    job_timeout_s: float = Field(60, gt=0, description="A job running longer than this is retried.")
    backoff_s: float = Field(2, gt=0, description="Delay before the first retry; then it doubles.")
    backoff_max_s: float = Field(600, gt=0, description="Longest delay before a retry.")
    trouble_max_s: float = Field(
        30, gt=0, description="Longest pause when the database or the disk is in trouble."
    )
    stop_s: float = Field(10, gt=0, description="Seconds to finish what is held when stopping.")

    @model_validator(mode="after")
    def _lease_outlives_heartbeat(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("worker.lease_s must be at least twice worker.heartbeat_s")
        return self


class FeedSettings(_Group):
    """The live feed."""

    poll_s: float = Field(5, gt=0, description="Seconds between looks when no wake-up comes.")
    ping_s: float = Field(15, gt=0, description="Seconds between keep-alive comments on a stream.")
    max_streams_per_person: int = Field(6, ge=1, description="Open streams of one person.")


class RealtimeSettings(_Group):
    """Websockets of supabase clients."""

    max_connections: int = Field(1000, ge=1, description="Open connections of one server.")
    max_channels_per_person: int = Field(30, ge=1, description="Open channels of one person.")
    idle_s: float = Field(
        60,
        gt=0,
        description="A connection that is silent for so long is closed; clients send "
        "a heartbeat every 25 seconds.",
    )


class PhotoSettings(_Group):
    """Photos in a bucket of S3, or of what speaks its protocol; needs `automatch[s3]`."""

    bucket: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$",
        description="Private bucket; the photos are in the data folder when it is not set.",
    )
    endpoint: str | None = Field(
        None,
        pattern=_SERVICE_URL,
        description="Address of the storage, if it is not Amazon's: "
        "`https://PROJECT.storage.supabase.co/storage/v1/s3`.",
    )
    region: str = Field("us-east-1", min_length=1, description="Region of the bucket.")
    access_key_id: SecretStr | None = Field(
        None, description="Access key; without it that of the machine's role."
    )
    secret_access_key: SecretStr | None = Field(None, description="Its secret.")
    timeout_s: float = Field(
        15, gt=0, description="Seconds that the storage may take for a request, tries included."
    )

    @model_validator(mode="after")
    def _key_has_its_secret(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("photos.access_key_id and photos.secret_access_key go together")
        return self


class RetentionSettings(_Group):
    """What leaves by itself."""

    jobs_days: int = Field(7, ge=1, description="Finished jobs are deleted after so many days.")
    orphan_photos_s: int = Field(
        3600, ge=60, description="A photo file without a face is deleted after so many seconds."
    )
    refused_uploads_s: int = Field(
        86400,
        ge=60,
        description="The file of a refused photo is deleted after so many seconds, and a photo "
        "with several faces whose owner did not say which is theirs.",
    )
    min_free_mb: int = Field(
        1024,
        ge=0,
        description="Uploads are refused when less space is left for photos or the embedded "
        "Postgres.",
    )


def _default_home() -> Path:
    return platformdirs.user_data_path("automatch", appauthor=False)


class Settings(BaseSettings):
    """Everything that can be configured; built once by the command line and passed as a value.

    Nested fields are written with two underscores: `AUTOMATCH_WORKER__LEASE_S=60`.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    home: Path = Field(
        default_factory=_default_home, description="Data folder: database, photos and secrets."
    )
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the web server; 0 picks one.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+/?$",
        description="Address people reach the server at, when it is behind a proxy.",
    )
    web_origins: str = Field(
        "",
        pattern=r"^(\*|(https?://[^/\s*]+ ?)*)$",
        description="Origins of web apps that may call the API from a browser, with spaces "
        "between; `*` for any. The server's own pages need none.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Postgres of yours (owner login); turns the embedded Postgres off.",
    )
    ai_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s?#@]+/?$",
        description="AI service that the workers use instead of looking at photos themselves.",
    )
    ai_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="Key of the AI service, the same where it is served and where it is used; "
        "without one it takes the project's service_role key.",
    )
    supabase_url: str | None = Field(
        None,
        pattern=_SERVICE_URL,
        description="Address of a Supabase project; people then sign in at its Auth and not here.",
    )
    jwks_url: str | None = Field(
        None,
        pattern=_SERVICE_URL,
        description="Address of the public keys that tokens are signed with, if it is not that of "
        "the Supabase project.",
    )
    jwt_issuer: str | None = Field(
        None,
        min_length=1,
        description="`iss` of the tokens, if it is not that of the Supabase project.",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret shared with the issuer of the tokens (HS256): the legacy JWT secret of "
        "a Supabase project.",
    )
    secret_keys: SecretStr | None = Field(
        None,
        description="Secret keys (`sb_secret_…`, with commas between) that are as good as the "
        "service_role key, in the header `apikey`.",
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
    )
    log_json: bool = Field(False, description="Log one JSON object a line instead of text.")

    postgres: PostgresSettings = PostgresSettings()
    pool: PoolSettings = PoolSettings()
    auth: AuthSettings = AuthSettings()
    upload: UploadSettings = UploadSettings()
    vision: VisionSettings = VisionSettings()
    ai: AiSettings = AiSettings()
    worker: WorkerSettings = WorkerSettings()
    feed: FeedSettings = FeedSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    photos: PhotoSettings = PhotoSettings()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _home_is_absolute(self) -> Self:
        if not self.home.is_absolute():
            object.__setattr__(self, "home", Path.cwd() / self.home)
        return self

    @model_validator(mode="after")
    def _photos_travel_unread(self) -> Self:
        if self.ai_url and not self.ai.allow_http and not _is_private(self.ai_url):
            raise ValueError(
                "ai_url must be https://, or http:// on this machine; "
                "AUTOMATCH_AI__ALLOW_HTTP=true is for a network that nobody else can read"
            )
        return self

    @model_validator(mode="after")
    def _job_outlives_ai(self) -> Self:
        if self.ai_url and self.ai.timeout_s >= self.worker.job_timeout_s:
            raise ValueError("worker.job_timeout_s must exceed ai.timeout_s")
        return self

    @model_validator(mode="after")
    def _issuer_and_keys_come_together(self) -> Self:
        if self.issuer_url is None and (self.jwks_url or self.jwt_secret):
            raise ValueError("keys of whom? set supabase_url or jwt_issuer too")
        if self.issuer_url is not None and not (self.keys_url or self.jwt_secret):
            raise ValueError(
                "jwt_issuer needs jwks_url or jwt_secret: what are its tokens checked by?"
            )
        return self

    @model_validator(mode="after")
    def _secret_keys_are_no_words(self) -> Self:
        if not all(re.fullmatch(r"sb_secret_[\w-]{16,}", key) for key in self.listed_secret_keys):
            raise ValueError(
                "secret_keys takes keys that begin with sb_secret_, with commas between"
            )
        return self

    def local_url(self, port: int) -> str:
        """Return where a server on *port* is reached from its own machine."""
        host = _ANYWHERE.get(self.host, self.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def server_url(self, port: int | None = None) -> str:
        """Return where people and their clients reach the server, on *port* or as it is set."""
        local = self.local_url(self.port if port is None else port)
        return (self.public_url or local).rstrip("/")

    @property
    def listed_secret_keys(self) -> list[str]:
        """The secret keys, one by one."""
        named = self.secret_keys.get_secret_value() if self.secret_keys else ""
        return [key.strip() for key in named.split(",") if key.strip()]

    @property
    def issuer_url(self) -> str | None:
        """The `iss` of whoever else signs people in; None when they sign in here."""
        if self.jwt_issuer is not None or self.supabase_url is None:
            return self.jwt_issuer
        return self.supabase_url.rstrip("/") + "/auth/v1"

    @property
    def keys_url(self) -> str | None:
        """Where the issuer publishes its keys."""
        if self.jwks_url is not None or self.supabase_url is None:
            return self.jwks_url
        return self.supabase_url.rstrip("/") + "/auth/v1/.well-known/jwks.json"


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: values from the command line; `None` means not given.

    Raises:
        SettingsError: a value is out of bounds, two contradict each other, or the environment
            has an `AUTOMATCH_` name that no setting has (a typing error would else pass unseen).
    """
    _refuse_unknown_names()
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as exc:
        first = exc.errors()[0]
        name = _PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{name}: {first['msg']}.") from exc


def _refuse_unknown_names() -> None:
    known = {f"{_PREFIX}{path}".upper() for path in setting_names()}
    for name in os.environ:
        if (
            name.startswith(_PREFIX)
            and name not in known
            and not name.startswith("AUTOMATCH_TEST_")
        ):
            raise SettingsError(f"{name} is no setting of Auto-Match; see docs/settings.md.")


def setting_names() -> list[str]:
    """Return every setting as its environment name without the prefix, groups expanded."""
    names: list[str] = []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, _Group):
            names += [f"{name}__{sub}" for sub in group.model_fields]
        else:
            names.append(name)
    return names
