"""Fetching a model file from a server on this machine that misbehaves in every way."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from automatch.errors.embedder import ModelMissingError, ModelRefusedError, ModelUnreachableError
from automatch.vision.models.model_fetch import fetch_file
from automatch.vision.models.onnx_writer import bytes_field, text_field
from automatch.vision.models.registry import ModelFile
from tests.support.command import call_command
from tests.support.file_server import FileServer, file_server
from tests.support.onnx_models import tiny_model

MODEL = tiny_model(16) + bytes(300_000)
"""A model and, behind it, zeros: a field of number 0, which is no model but bytes to carry."""


@pytest.fixture(autouse=True)
def no_proxy_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(MODEL) as server:
        yield server


def file_at(url: str | None, data: bytes = MODEL, name: str = "model.bin") -> ModelFile:
    return ModelFile(name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), url=url)


def fetch(file: ModelFile, folder: Path, brought: Path | None = None) -> tuple[bytes, list[int]]:
    """Return the file and how it grew."""
    steps: list[int] = []
    path = fetch_file(file, folder, steps.append, local=brought)
    assert path == folder / file.name
    assert [left.name for left in folder.iterdir()] == [file.name]
    return path.read_bytes(), steps


def test_the_file_arrives_whole_and_closed_to_others(server: FileServer, tmp_path: Path) -> None:
    data, steps = fetch(file_at(server.url), tmp_path / "models")

    assert data == MODEL
    assert steps == sorted(steps)
    assert steps[-1] == len(MODEL)
    assert (tmp_path / "models").stat().st_mode & 0o077 == 0
    assert (tmp_path / "models" / "model.bin").stat().st_mode & 0o077 == 0


def test_a_file_that_is_there_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    fetch(file_at(server.url), tmp_path)
    fetch(file_at(server.url), tmp_path)

    assert len(server.asked) == 1


def test_a_damaged_file_is_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(MODEL[:-1] + b"x")

    assert fetch(file_at(server.url), tmp_path)[0] == MODEL


def test_a_broken_connection_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    server.cut_after, server.cuts = 70_000, 3

    data, _ = fetch(file_at(server.url), tmp_path)

    assert data == MODEL
    assert server.asked[0] == ""
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.asked[1:]]
    assert len(starts) == 3
    assert starts == sorted(set(starts))


def test_a_command_that_was_stopped_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(MODEL[:123_456])

    assert fetch(file_at(server.url), tmp_path)[0] == MODEL
    assert server.asked == ["bytes=123456-"]


def test_a_server_without_ranges_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "model.bin.part").write_bytes(b"?" * 1000)

    assert fetch(file_at(server.url), tmp_path)[0] == MODEL


def test_what_arrived_of_another_file_is_thrown_away(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(b"?" * 1000)
    with pytest.raises(ModelRefusedError, match="SHA-256 differs"):
        fetch(file_at(server.url), tmp_path)

    assert fetch(file_at(server.url), tmp_path)[0] == MODEL


@pytest.mark.parametrize("rest", [0, 5])
def test_more_than_the_file_has_starts_over(server: FileServer, tmp_path: Path, rest: int) -> None:
    (tmp_path / "model.bin.part").write_bytes(MODEL + b"?" * rest)

    assert fetch(file_at(server.url), tmp_path)[0] == MODEL
    assert len(server.asked) == (1 if rest else 0)


def test_a_server_that_only_hangs_up_is_given_up_and_what_came_is_kept(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "model.bin.part").write_bytes(MODEL[:1000])
    server.cut_after, server.cuts = 0, 99

    with pytest.raises(ModelUnreachableError, match="run the command again to resume"):
        fetch(file_at(server.url), tmp_path)

    assert len(server.asked) == 4
    assert (tmp_path / "model.bin.part").read_bytes() == MODEL[:1000]
    assert not (tmp_path / "model.bin").exists()


def test_another_file_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.data = MODEL[:-1] + b"x"

    with pytest.raises(ModelRefusedError, match="SHA-256 differs"):
        fetch(file_at(server.url), tmp_path)
    assert (tmp_path / "model.bin.part").read_bytes() == b""
    assert not (tmp_path / "model.bin").exists()


@pytest.mark.parametrize("data", [MODEL + b"x", MODEL[:-1]])
def test_another_size_is_refused_before_it_is_read(
    server: FileServer, tmp_path: Path, data: bytes
) -> None:
    server.data = data

    with pytest.raises(ModelRefusedError, match="it should be"):
        fetch(file_at(server.url), tmp_path)

    assert not (tmp_path / "model.bin").exists()


def test_another_part_than_was_asked_for_is_not_taken(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(MODEL[:1000])
    server.wrong_range = True

    with pytest.raises(ModelUnreachableError, match="another part"):
        fetch(file_at(server.url), tmp_path)


def test_a_page_that_is_not_there_is_told(server: FileServer, tmp_path: Path) -> None:
    server.status = 404

    with pytest.raises(ModelUnreachableError, match="answers 404"):
        fetch(file_at(server.url), tmp_path)


def test_a_redirect_on_this_machine_is_followed(server: FileServer, tmp_path: Path) -> None:
    server.redirect = "/moved.onnx"

    assert fetch(file_at(server.url), tmp_path)[0] == MODEL


def test_a_redirect_to_another_host_without_https_is_refused_unasked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.redirect = "http://models.example/moved.onnx"
    with file_server(b"") as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with pytest.raises(ModelRefusedError, match=r"redirects to models\.example without https"):
            fetch(file_at(server.url), tmp_path)

    assert proxy.proxied == []


def test_an_endless_redirect_ends(server: FileServer, tmp_path: Path) -> None:
    server.redirect = "/again"

    with pytest.raises(ModelUnreachableError, match="redirects too often"):
        fetch(file_at(server.url), tmp_path)


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with file_server(MODEL) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        data, _ = fetch(file_at(server.url), tmp_path)

    assert data == MODEL
    assert proxy.proxied == [f"GET {server.url} HTTP/1.1"]
    assert server.asked == []


def test_https_goes_through_the_proxy_as_a_tunnel_for_every_redirect_too(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.redirect = "https://models.example/moved.onnx"
    with file_server(b"") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(ModelUnreachableError, match="HTTPS_PROXY"):
            fetch(file_at(server.url), tmp_path)

    assert set(proxy.proxied) == {"CONNECT models.example:443 HTTP/1.1"}


def test_two_commands_do_not_write_into_one_file(server: FileServer, tmp_path: Path) -> None:
    with (tmp_path / "model.bin.part").open("wb") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        with pytest.raises(ModelUnreachableError, match="another command"):
            fetch(file_at(server.url), tmp_path)


def test_a_link_in_place_of_the_unfinished_file_is_not_followed(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.bin.part").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        fetch_file(file_at(server.url), tmp_path / "models", lambda _: None)
    assert not (tmp_path / "elsewhere").exists()


def test_a_model_with_numbers_in_other_files_is_refused(tmp_path: Path) -> None:
    tensor = bytes_field(13, text_field(1, "location") + text_field(2, "/etc/passwd"))
    data = bytes_field(7, bytes_field(5, tensor))
    with file_server(data) as server, pytest.raises(ModelRefusedError, match="external data"):
        fetch(file_at(server.url, data, "model.onnx"), tmp_path)

    assert not (tmp_path / "model.onnx").exists()


def test_a_file_of_the_operator_is_checked_like_any_other(tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    brought.write_bytes(MODEL)
    assert fetch(file_at(None), tmp_path / "models", brought)[0] == MODEL

    for data, message in ((MODEL[:-1] + b"x", "SHA-256 differs"), (MODEL + b"x", "more than its")):
        brought.write_bytes(data)
        with pytest.raises(ModelRefusedError, match=message):
            fetch(file_at(None), tmp_path / "other", brought)
    with pytest.raises(ModelMissingError, match="can be read"):
        fetch(file_at(None), tmp_path / "other", tmp_path / "nothing")


def test_a_file_without_an_address_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="bring the file"):
        fetch(file_at(None), tmp_path)


def test_the_commands_tell_what_they_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    data = tiny_model(16)
    with file_server(data) as server:
        (home / "models.toml").write_text(f"""
[tiny]
purpose = "embedder"
runs_as = "onnx"
dimensions = 16
alignment = "arcface"
input = {{ side = 112 }}
licence = {{ name = "Not-For-Sale", forbids_commercial_use = true }}
scale = {{ midpoint = 1.2, width = 0.05, same_person_u = 1.0 }}
[[tiny.files]]
name = "tiny.onnx"
bytes = {len(data)}
url = "{server.url}"
sha256 = "{hashlib.sha256(data).hexdigest()}"
""")
        listed = call_command(home, "models", "list")
        missing = call_command(home, "models", "verify", "tiny")
        refused = call_command(home, "models", "fetch", "tiny")
        wrong = call_command(home, "models", "fetch", "tiny", "--accept-licence", "MIT")
        asked = list(server.asked)
        fetched = call_command(home, "models", "fetch", "tiny", "--accept-licence", "Not-For-Sale")
    verified = call_command(home, "models", "verify")
    (home / "models" / "tiny.onnx").write_bytes(data[:-1] + b"x")
    damaged = call_command(home, "models", "verify")
    known = call_command(home, "models", "fetch", "dlib")
    unknown = call_command(home, "models", "fetch", "nobody")

    assert "tiny" in listed.stdout
    assert "CC0-1.0" in listed.stdout
    assert missing.returncode == 1
    assert "models fetch tiny" in missing.stdout
    for answer in (refused, wrong):
        assert answer.returncode == 1
        assert "--accept-licence Not-For-Sale" in answer.stderr
    assert asked == []
    assert fetched.returncode == 0, fetched.stderr
    assert "is complete" in fetched.stdout
    assert "tiny: files are right, model works" in verified.stdout
    assert "dlib: files are right, model works" in verified.stdout
    assert "sface: no files on this machine" in verified.stdout
    assert verified.returncode == 0
    assert damaged.returncode == 1
    assert "SHA-256 differs" in damaged.stdout
    assert "comes with the package" in known.stdout
    assert unknown.returncode == 1
    assert "there are dlib" in unknown.stderr
