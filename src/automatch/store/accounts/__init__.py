"""Accounts: sign-in, mail, news to devices, and limits on trying."""
