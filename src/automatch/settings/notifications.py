"""Settings of what people are told while no page is open."""

from __future__ import annotations

from pydantic import Field

from automatch.settings.group import SettingsGroup


class NotificationSettings(SettingsGroup):
    """News to devices, by web push."""

    quiet_s: float = Field(
        3600,
        ge=0,
        description="Seconds between two notifications on one device; news of that time comes "
        "together.",
    )
    push_hosts: str = Field(
        "fcm.googleapis.com *.push.services.mozilla.com *.push.apple.com *.notify.windows.com",
        description="Push services that devices may be told through, separated by spaces; nothing "
        "is ever sent elsewhere. Empty turns notifications on devices off.",
    )
