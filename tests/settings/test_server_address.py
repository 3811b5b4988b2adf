from __future__ import annotations

from pathlib import Path

import pytest

from automatch.settings import Settings
from automatch.settings.server_address import find_server_url, note_address


def test_running_server_is_found_where_it_listens(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=8000)
    with note_address(tmp_path, "http://127.0.0.1:4711"):
        assert find_server_url(settings) == "http://127.0.0.1:4711"
        assert find_server_url(settings, "http://there/") == "http://there"
        public = settings.model_copy(update={"public_url": "https://match.example.org"})
        assert find_server_url(public) == "https://match.example.org"

    assert find_server_url(settings) == "http://127.0.0.1:8000"


def test_address_of_a_later_server_is_kept(tmp_path: Path) -> None:
    with note_address(tmp_path, "http://127.0.0.1:1"):
        later = note_address(tmp_path, "http://127.0.0.1:2")
        later.__enter__()

    assert find_server_url(Settings(home=tmp_path)) == "http://127.0.0.1:2"
    later.__exit__(None, None, None)


def test_folder_that_takes_no_file_stops_nobody(tmp_path: Path) -> None:
    with note_address(tmp_path / "missing", "http://127.0.0.1:1"):
        pass


@pytest.mark.parametrize(
    ("host", "public_url", "is_in_development"),
    [
        ("127.0.0.1", None, True),
        ("::1", None, True),
        ("localhost", None, True),
        ("0.0.0.0", None, False),
        ("match.example.org", None, False),
        ("127.0.0.1", "https://match.example.org", False),
    ],
)
def test_installation_that_only_its_machine_reaches_is_in_development(
    host: str, public_url: str | None, *, is_in_development: bool
) -> None:
    settings = Settings(host=host, public_url=public_url)

    assert settings.is_in_development is is_in_development
