"""Settings of the web server: sign-in, uploads, the feed, realtime."""

from __future__ import annotations

from pydantic import Field

from automatch.settings.group import SettingsGroup


class AuthSettings(SettingsGroup):
    """Sign-up, sign-in and the tokens they give."""

    access_token_s: int = Field(900, ge=60, le=86400, description="Life of an access token.")
    refresh_token_s: int = Field(
        30 * 86400, ge=3600, description="A session unused for so long must sign in again."
    )
    refresh_reuse_s: int = Field(
        10, ge=0, description="A refresh token may be used again for so long, for parallel tabs."
    )
    leeway_s: int = Field(30, ge=0, le=120, description="Clock difference a token may have.")


class UploadSettings(SettingsGroup):
    """What a photo may be before anything looks at it."""

    max_bytes: int = Field(15 * 1024**2, ge=1024, description="Largest request body in bytes.")
    body_timeout_s: float = Field(30, gt=0, description="Seconds a request body may take.")
    max_waiting: int = Field(
        50_000, ge=1, description="Uploads are refused when more photos than this wait."
    )
    max_pixels: int = Field(50_000_000, ge=10_000, description="Most pixels of a photo.")
    min_side: int = Field(160, ge=1, description="Fewest pixels on a photo's shorter side.")
    max_aspect: float = Field(4, gt=1, description="Longest side over shortest side, at most.")


class FeedSettings(SettingsGroup):
    """The live feed."""

    poll_s: float = Field(5, gt=0, description="Seconds between looks when no wake-up comes.")
    ping_s: float = Field(15, gt=0, description="Seconds between keep-alive comments on a stream.")
    max_streams_per_person: int = Field(6, ge=1, description="Open streams of one person.")


class RealtimeSettings(SettingsGroup):
    """Websockets of supabase clients."""

    max_connections: int = Field(1000, ge=1, description="Open connections of one server.")
    max_channels_per_person: int = Field(30, ge=1, description="Open channels of one person.")
    idle_s: float = Field(
        60,
        gt=0,
        description="A connection that is silent for so long is closed; clients send "
        "a heartbeat every 25 seconds.",
    )
