"""The base of a group of settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

# http only where nobody else can listen: on this machine, or by a name of a container network.
SERVICE_URL = (
    r"^(https://[^/\s@?#]+|http://(localhost|127\.0\.0\.1|\[::1\]|[a-z0-9-]+)(:\d+)?)(/[^\s?#]*)?$"
)


class SettingsGroup(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
