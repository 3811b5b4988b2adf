"""The fixtures of the browser tests; no other test needs Playwright."""

from tests.support.browser import browser, installation, phones

__all__ = ["browser", "installation", "phones"]
