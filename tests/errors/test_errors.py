"""Every error: its code, its status, its words, and its line in docs/errors.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from automatch import errors
from automatch.errors import AutomatchError
from automatch.errors.auth import TokenMissingError
from automatch.errors.embedder import ModelDamagedError, ModelMissingError
from automatch.errors.photo import NoFaceError, PhotoRejectedError, SeveralFacesError
from automatch.errors.request import ConsentRequiredError, NotFoundError, TooManyStreamsError
from automatch.errors.store import DatabaseUnavailableError, QueueFullError
from automatch.http.errors import (
    STATUSES,
    add_error_handlers,
    error_response,
    headers_of,
    status_of,
)

_DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
_EDGE = {"method_not_allowed": 405}
"""Codes that no class of ours has: the framework itself refuses."""


def all_kinds() -> list[type[AutomatchError]]:
    kinds = [AutomatchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return kinds


def documented() -> dict[str, tuple[int | None, str, str]]:
    """Return what the tables of docs/errors.md tell: code, status, meaning, what to do."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+|-) \| (.+?) \| (.+?) \|$", _DOCS.read_text(), re.M)
    codes = [row[0] for row in rows]
    assert len(codes) == len(set(codes)), "a code is told twice"
    return {
        code: (None if status == "-" else int(status), meaning, action)
        for code, status, meaning, action in rows
    }


def example(kind: type[AutomatchError]) -> AutomatchError:
    if kind in (ModelMissingError, ModelDamagedError):
        return kind(Path("model.dat"))  # type: ignore[arg-type]  # these two name a file
    return kind()


def test_message_tells_nothing_of_later_attempts() -> None:
    """It stays with a job that has used all of its attempts."""
    told = [example(kind).message for kind in all_kinds()]
    told += [meaning + action for _, meaning, action in documented().values()]

    assert not [text for text in told if re.search(r"(is|be|being) (re)?tried", text)]


def test_every_code_is_documented_and_no_other() -> None:
    codes = {kind.code for kind in all_kinds()} | set(_EDGE)

    assert set(documented()) == codes


def test_documented_status_is_the_one_that_is_sent() -> None:
    told = documented()
    for kind in all_kinds():
        status = told[kind.code][0]
        # A dash stands for what no request can meet.
        assert status in (status_of(example(kind)), None), kind.code
    for code, status in _EDGE.items():
        assert told[code][0] == status


def test_every_status_that_is_set_is_documented() -> None:
    told = documented()
    for kind, status in STATUSES.items():
        # Bases of kinds have no code that anyone meets.
        if kind is not PhotoRejectedError:
            assert told[kind.code][0] == status, kind.code


def test_every_documented_line_says_what_it_means_and_what_to_do() -> None:
    for code, (_, meaning, action) in documented().items():
        assert meaning.endswith("."), code
        assert action.endswith("."), code


@pytest.mark.parametrize("kind", all_kinds()[1:], ids=lambda kind: kind.__name__)
def test_every_error_has_a_sentence_and_a_code(kind: type[AutomatchError]) -> None:
    error = example(kind)

    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert kind.__name__.endswith("Error")
    assert error.message[0].isupper() or error.message.startswith("`")
    assert error.message.endswith((".", "`"))
    assert "\n" not in error.message


def test_tree_in_the_docstring_names_every_class_at_its_place() -> None:
    drawn = re.findall(r"^([│├└─ ]*)(\w+Error)\b", errors.__doc__ or "", re.M)
    parents: dict[str, str] = {}
    above: list[str] = []
    for lines, name in drawn:
        above[len(lines) // 4 :] = [name]
        parents[name] = above[-2] if len(above) > 1 else "Exception"

    assert parents == {kind.__name__: kind.__bases__[0].__name__ for kind in all_kinds()}


def test_codes_are_of_one_class_each_or_of_its_base() -> None:
    seen: dict[str, type[AutomatchError]] = {}
    for kind in all_kinds():
        other = seen.setdefault(kind.code, kind)
        assert other is kind or issubclass(kind, other), kind.code


def test_error_is_told_in_the_one_shape() -> None:
    answer = error_response(NoFaceError("No face."))

    assert answer.status_code == 422
    assert bytes(answer.body) == b'{"error":{"code":"no_face","message":"No face."}}'


def test_answers_say_how_to_sign_in_and_when_to_come_back() -> None:
    assert headers_of(TokenMissingError()) == {"www-authenticate": "Bearer"}
    assert headers_of(TooManyStreamsError()) == {"retry-after": "5"}
    assert headers_of(DatabaseUnavailableError()) == {"retry-after": "5"}
    assert headers_of(QueueFullError()) == {"retry-after": "30"}
    assert headers_of(NotFoundError()) == {}


def test_what_broke_on_our_side_is_told_without_details() -> None:
    answer = error_response(ModelMissingError(Path("/srv/secret/model.dat")))

    assert answer.status_code == 500
    assert b"internal" in answer.body
    assert b"secret" not in answer.body


def test_refusals_of_the_database_keep_their_kind() -> None:
    assert status_of(ConsentRequiredError("words")) == 403
    assert status_of(SeveralFacesError(3)) == 422


def test_handlers_are_added_for_all_errors() -> None:
    app = FastAPI()
    before = set(app.exception_handlers)

    add_error_handlers(app)

    assert AutomatchError in set(app.exception_handlers) - before
