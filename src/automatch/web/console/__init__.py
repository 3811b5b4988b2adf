"""The console at `/admin`, for operators: one module for each page."""

from automatch.web.console import (
    cases,
    duplicates,
    jobs,
    mail,
    models,
    operators,
    overview,
    password,
    people,
    schedule,
    schools,
    settings,
    threshold,
)

PAGES = (
    password,
    overview,
    jobs,
    people,
    cases,
    schools,
    duplicates,
    threshold,
    models,
    schedule,
    settings,
    mail,
    operators,
)
"""The modules with the routes."""

__all__ = ["PAGES"]
