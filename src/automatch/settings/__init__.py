"""Every setting, its default, its bounds and what it means; the only reader of the environment."""

from automatch.settings.settings import Settings, load_settings

__all__ = ["Settings", "load_settings"]
