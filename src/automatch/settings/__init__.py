"""Every setting with its default, bounds and meaning; the only reader of the environment."""

from automatch.settings.settings import Settings, load_settings

__all__ = ["Settings", "load_settings"]
