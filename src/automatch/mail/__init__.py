"""Mails: their templates, the queue in the database, and the way out by SMTP."""
