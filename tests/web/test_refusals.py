"""What pages say of an error, by its code and case."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import automatch
from automatch.errors import AutomatchError
from automatch.errors.auth import AuthError
from automatch.errors.job import JobError
from automatch.errors.photo import FaceTooSmallError, PhotoRejectedError
from automatch.errors.request import InputInvalidError, RateLimitedError
from automatch.errors.upload import UploadError
from automatch.services.accounts.rate_limits import Limit
from automatch.web import refusals
from automatch.web.photo_reasons import REFUSALS
from automatch.web.refusals import describe, describe_code

SOURCES = Path(automatch.__file__).parent


def cases_of_the_sources() -> set[str]:
    """Return the code and case of each error that is raised with a case."""
    kinds: list[type[AutomatchError]] = [AutomatchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    codes = {kind.__name__: kind.code for kind in kinds}
    return {
        f"{codes[node.func.id]}.{word.value.value}"
        for path in SOURCES.rglob("*.py")
        if "case=" in (source := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        for word in node.keywords
        if word.arg == "case" and isinstance(word.value, ast.Constant)
    }


def test_each_case_that_is_raised_has_a_sentence() -> None:
    assert cases_of_the_sources() - set(refusals._SENTENCES) == set()


@pytest.mark.parametrize("root", [AuthError, JobError, PhotoRejectedError, UploadError])
def test_each_code_a_person_may_meet_has_a_sentence(root: type[AutomatchError]) -> None:
    unsaid = {"job_failed", "lease_lost"}

    assert root.codes() - set(refusals._SENTENCES) - set(REFUSALS) <= unsaid


def test_refused_photo_is_explained_in_the_words_on_its_picture() -> None:
    error = FaceTooSmallError("English")

    assert describe(error) == describe_code(error.code)
    assert describe(error) == f"{REFUSALS[error.code].title}. {REFUSALS[error.code].advice}"


@pytest.mark.parametrize("limit", list(Limit))
def test_whoever_did_something_too_often_reads_what_and_for_how_long(limit: Limit) -> None:
    sentence = describe(RateLimitedError("English", retry_after_s=61, case=limit.value))

    assert sentence.endswith(" in 2 minutes.")


def test_numbers_of_the_moment_are_in_the_sentence() -> None:
    error = InputInvalidError("English", case="statement_long", most=500)

    assert describe(error) == "Write at most 500 characters."


def test_a_page_never_shows_the_text_of_the_api() -> None:
    assert "secret" not in describe(InputInvalidError("secret"))
    assert describe(AutomatchError("secret")) == describe_code("no such code")


@pytest.mark.parametrize("name", sorted(refusals._SENTENCES))
def test_a_sentence_is_whole_and_takes_only_values_that_there_are(name: str) -> None:
    sentence = refusals._SENTENCES[name]

    assert sentence[0].isupper()
    assert sentence[-1] in ".!?"
    assert "; " not in sentence
    assert set(re.findall(r"%\((\w+)\)s", sentence)) <= {"wait", "most"}
