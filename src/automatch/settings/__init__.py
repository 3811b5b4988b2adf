"""Every setting with its default, bounds and meaning; the only reader of the environment."""

from automatch.settings.load import load_settings
from automatch.settings.settings import Settings

__all__ = ["Settings", "load_settings"]
