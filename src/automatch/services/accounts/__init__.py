"""Accounts: signing in, links by mail, limits on trying, news to devices."""
