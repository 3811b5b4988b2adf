"""The fixtures of the browser tests; no other test needs Playwright."""

from tests.support.browser import browser, browsers, chromium, installation, phones

__all__ = ["browser", "browsers", "chromium", "installation", "phones"]
