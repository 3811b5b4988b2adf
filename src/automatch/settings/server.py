"""Settings of the web server: sign-in, uploads, the live feed, Realtime."""

from __future__ import annotations

from pydantic import Field

from automatch.settings.group import SettingsGroup


class AuthSettings(SettingsGroup):
    """Sign-up, sign-in and their tokens."""

    access_token_s: int = Field(
        900, ge=60, le=86400, description="Seconds until an access token expires."
    )
    refresh_token_s: int = Field(
        30 * 86400, ge=3600, description="A session unused for so many seconds ends and is deleted."
    )
    refresh_reuse_s: int = Field(
        10,
        ge=0,
        description="Seconds in which a refresh token may be used again, for parallel tabs.",
    )
    fresh_sign_in_s: int = Field(
        600,
        ge=0,
        description="Seconds after a sign-in in which a new password or address needs no current "
        "password.",
    )
    allow_impersonation: bool = Field(
        False,
        description="Let an operator sign in as somebody else (`automatch token --email`). The "
        "person is told by mail and on their page, with the reason.",
    )
    mailed_link_s: int = Field(
        3600,
        ge=60,
        le=86400,
        description="Seconds for which a mailed link works.",
    )
    invitation_s: int = Field(
        7 * 86400,
        ge=3600,
        le=90 * 86400,
        description="Seconds for which the link of an invitation works.",
    )
    max_waiting: int = Field(
        16,
        ge=1,
        description="Sign-ins and sign-ups that may wait for their password to be hashed; more get "
        "503 `sign_in_busy`. People who signed in from their address before have as many more.",
    )
    leeway_s: int = Field(
        30, ge=0, le=120, description="Seconds by which the clock of a token's issuer may differ."
    )


class UploadSettings(SettingsGroup):
    """Limits of an upload."""

    max_bytes: int = Field(15 * 1024**2, ge=1024, description="Largest request body in bytes.")
    stall_timeout_s: float = Field(
        15, gt=0, description="A request whose body stands still for this many seconds is ended."
    )
    min_bytes_per_s: int = Field(
        4096,
        ge=0,
        description="A request whose body arrives more slowly than this for 30 seconds is ended.",
    )
    memory_mb: int = Field(
        256,
        ge=1,
        description="Uploads that are being received may take this many MiB in all; more get 503 "
        "`uploads_busy`.",
    )
    memory_per_person_mb: int = Field(
        32, ge=1, description="The same for one person; more get 429 `uploads_at_once`."
    )
    max_waiting: int = Field(
        50_000, ge=1, description="Uploads are refused when more jobs than this are pending."
    )
    max_pixels: int = Field(
        51_000_000, ge=10_000, description="Maximum number of pixels of a photo."
    )
    min_side: int = Field(160, ge=1, description="Minimum pixels of the shorter side of a photo.")
    max_aspect: float = Field(
        4, gt=1, description="Maximum ratio of the longer to the shorter side."
    )
    first_photo_challenge: bool = Field(
        False,
        description="Whether a person's first photo waits until they have turned their head before "
        "the camera as asked, or an operator has decided.",
    )


class FeedSettings(SettingsGroup):
    """The live feed."""

    poll_s: float = Field(5, gt=0, description="Seconds between two polls without a notification.")
    ping_s: float = Field(
        3,
        gt=0,
        description="Seconds between signs of life on a stream; a page that misses one says that "
        "it is offline.",
    )
    max_streams_per_person: int = Field(
        6, ge=1, description="Maximum number of open streams of one person."
    )


class RealtimeSettings(SettingsGroup):
    """The Realtime websocket of supabase clients."""

    max_connections: int = Field(
        1000, ge=1, description="Maximum number of open connections of one server."
    )
    max_channels_per_person: int = Field(
        30, ge=1, description="Maximum number of open channels of one person."
    )
    idle_s: float = Field(
        60,
        gt=0,
        description="A connection without a message for this many seconds is closed; clients send "
        "a heartbeat every 25 seconds.",
    )
