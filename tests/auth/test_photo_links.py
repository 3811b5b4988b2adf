"""Links to photos: bound to one photo and one viewer, for five minutes."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from itsdangerous import URLSafeTimedSerializer
from itsdangerous.timed import TimestampSigner

from automatch.auth.photo_links import LIFE_S, PhotoLinks
from automatch.errors.request import NotFoundError
from automatch.model.people import Claims, Role

KEY = "k" * 43
FACE = uuid4()
VIEWER = Claims(Role.AUTHENTICATED, subject=uuid4(), session_id=uuid4())


def token_of(link: str) -> str:
    path, _, token = link.partition("?token=")
    assert path == f"/api/faces/{FACE}/image"
    return token


def aged(seconds: int) -> str:
    """Return a token that was made some while ago."""

    class Signer(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time.time()) - seconds

    serializer = URLSafeTimedSerializer(KEY, salt="photo-link", signer=Signer)
    return str(serializer.dumps([str(FACE), VIEWER.as_json()]))


def test_link_tells_whom_it_was_made_for() -> None:
    links = PhotoLinks(KEY)

    assert links.viewer_of(token_of(links.sign(FACE, VIEWER)), FACE) == VIEWER


def test_link_lives_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    links = PhotoLinks(KEY)

    assert links.viewer_of(aged(LIFE_S), FACE) == VIEWER
    with pytest.raises(NotFoundError):
        links.viewer_of(aged(LIFE_S + 1), FACE)


def test_link_from_the_future_is_none() -> None:
    with pytest.raises(NotFoundError):
        PhotoLinks(KEY).viewer_of(aged(-60), FACE)


def test_link_is_of_one_photo_and_one_key() -> None:
    token = token_of(PhotoLinks(KEY).sign(FACE, VIEWER))

    with pytest.raises(NotFoundError):
        PhotoLinks(KEY).viewer_of(token, uuid4())
    with pytest.raises(NotFoundError):
        PhotoLinks("x" * 43).viewer_of(token, FACE)


def test_every_letter_of_a_link_counts() -> None:
    links = PhotoLinks(KEY)
    token = token_of(links.sign(FACE, VIEWER))
    # The last letter holds two bits that mean nothing; all others are part of the mark.
    for at in range(len(token) - 1):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(NotFoundError):
            links.viewer_of(changed, FACE)
