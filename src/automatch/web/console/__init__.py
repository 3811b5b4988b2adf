"""The console at `/admin`, for operators: one module for each page."""

from automatch.web.console import cases, mail, operators, password, people, schools

PAGES = (password, people, cases, schools, mail, operators)
"""The modules with the routes."""

__all__ = ["PAGES"]
