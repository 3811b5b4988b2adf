"""The secrets file: made once, closed to others, refused when it is not."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from automatch.errors.configuration import SecretsError, SettingsError
from automatch.settings import Settings
from automatch.settings.secrets import SECRET_NAMES, is_weak, load_or_create, rotate, secrets_of

if TYPE_CHECKING:
    from pathlib import Path


def test_first_start_makes_a_closed_folder_and_file(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"

    load_or_create(home)

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "secrets.json").stat().st_mode) == 0o600


def test_later_starts_find_the_same_secrets(tmp_path: Path) -> None:
    first = load_or_create(tmp_path)

    assert load_or_create(tmp_path) == first


def test_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)

    with pytest.raises(SecretsError, match="free space on the disk of"):
        load_or_create(tmp_path)


def test_secrets_that_the_settings_give_need_no_file(tmp_path: Path) -> None:
    given = load_or_create(tmp_path / "one")
    content = (tmp_path / "one" / "secrets.json").read_text()
    settings = Settings(home=tmp_path / "other", secrets=SecretStr(content))

    assert secrets_of(settings) == secrets_of(settings, create=True) == given
    assert not settings.home.exists()


def test_secrets_that_the_settings_give_are_checked_and_not_quoted(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, secrets=SecretStr('{"jwt_secret": "quoted"}'))

    with pytest.raises(SecretsError, match="AUTOMATCH_SECRETS are damaged") as caught:
        secrets_of(settings)

    assert "quoted" not in str(caught.value)


def test_every_secret_is_long_and_its_own(tmp_path: Path) -> None:
    secrets = load_or_create(tmp_path)
    values = [getattr(secrets, name) for name in SECRET_NAMES]

    assert len(set(values)) == len(values)
    assert min(len(value) for value in values) >= 43


def test_twenty_first_starts_at_once_agree(tmp_path: Path) -> None:
    home = tmp_path / "home"

    with ThreadPoolExecutor(20) as pool:
        found = set(pool.map(load_or_create, [home] * 20))

    assert len(found) == 1
    assert {path.name for path in home.iterdir()} <= {"secrets.json", ".made-by-automatch"}


def test_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    load_or_create(tmp_path)

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_neither_repr_nor_str_shows_a_secret(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    secrets = rotate(tmp_path, "jwt_secret", overlap_s=60)

    values = [secrets.old_jwt_secret, *(getattr(secrets, name) for name in SECRET_NAMES)]
    assert not any(value in f"{secrets!r} {secrets}" for value in values)


def test_rotated_secret_is_new_and_the_others_stay(tmp_path: Path) -> None:
    before = load_or_create(tmp_path)

    after = rotate(tmp_path, "photo_key")

    assert load_or_create(tmp_path) == after == replace(before, photo_key=after.photo_key)
    assert after.photo_key != before.photo_key
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_secret_that_signed_tokens_is_kept_for_the_overlap_alone(tmp_path: Path) -> None:
    before = load_or_create(tmp_path)

    after = rotate(tmp_path, "jwt_secret", overlap_s=60)
    last = rotate(tmp_path, "jwt_secret")

    assert after.old_jwt_secret == before.jwt_secret
    assert 0 < after.old_jwt_until - time.time() <= 60
    assert (last.old_jwt_secret, last.old_jwt_until) == ("", 0)


@pytest.mark.parametrize(
    "secret",
    [
        "s" * 64,
        "abcd" * 16,
        "0123456789abcdefghijklmnopqrstuvwxyz",
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "your-256-bit-secret-goes-right-into-here",
        "a1" * 32,
        "k8Jd02mFq7Xz" * 3,
    ],
)
def test_weak_secret_is_refused_until_it_is_rotated(tmp_path: Path, secret: str) -> None:
    load_or_create(tmp_path)
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "jwt_secret": secret}))

    with pytest.raises(SecretsError, match="automatch secrets rotate jwt-secret") as caught:
        load_or_create(tmp_path)
    assert secret not in caught.value.message
    rotate(tmp_path, "jwt_secret", overlap_s=60)
    assert load_or_create(tmp_path).old_jwt_secret == ""


def test_random_secrets_are_not_weak() -> None:
    # The same in each run: one in ten million is refused.
    drawn = Random(1)
    made = [drawn.randbytes(length).hex() for length in (16, 32) for _ in range(500)]
    made += [urlsafe_b64encode(drawn.randbytes(32)).decode().rstrip("=") for _ in range(500)]

    assert not any(map(is_weak, made))
    # More than half of its digits are near to the one before, as in 14 of a million.
    assert not is_weak("dd776574ccde86fcd562eeefccbcd567")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create(tmp_path)
    (tmp_path / "secrets.json").chmod(mode)

    with pytest.raises(SecretsError, match="chmod 600"):
        load_or_create(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '"jwt_secret"', '{"jwt_secret": 5}', '{"jwt_secret": "short"}', "\xff"],
)
def test_damaged_file_is_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o600)

    with pytest.raises(SecretsError, match="damaged") as caught:
        load_or_create(tmp_path)

    assert str(path) in caught.value.message
    assert caught.value.__cause__ is None


def test_file_with_one_short_secret_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "photo_key": "weak"}))

    with pytest.raises(SecretsError, match="damaged"):
        load_or_create(tmp_path)


def test_link_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "other")
    (tmp_path / "secrets.json").symlink_to(tmp_path / "other" / "secrets.json")

    with pytest.raises(SecretsError, match="is a link"):
        load_or_create(tmp_path)


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").mkdir()

    with pytest.raises(SecretsError, match=r"secrets\.json"):
        load_or_create(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    os.chown(tmp_path / "secrets.json", 65534, 65534)

    with pytest.raises(SecretsError, match="another user"):
        load_or_create(tmp_path)


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()

    with pytest.raises(SettingsError, match="AUTOMATCH_HOME"):
        load_or_create(home)
