from __future__ import annotations

from pathlib import Path

import pytest

from tools import try_servers
from tools.try_servers import BEGIN, END, PAGE, Row, Server


def test_page_has_a_place_for_the_table() -> None:
    text = PAGE.read_text("utf-8")

    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)


@pytest.mark.parametrize("mode", [None, "session"])
def test_what_this_machine_lacks_is_a_row_that_says_so(
    mode: try_servers.Mode | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(try_servers, "find_pgbouncer", lambda: None)
    monkeypatch.setattr(try_servers, "describe", lambda _: "18.4, pgvector 0.8.5")
    server = Server("Debian 12", tmp_path if mode else None, "" if mode else "is not installed")

    row = try_servers.try_server(server, mode)

    assert "not installed" in row.result
    assert f"| Debian 12 | {row.reached} | not tried:" in try_servers.write_table([row])


def test_server_that_does_not_start_is_a_row_and_no_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(try_servers, "describe", lambda _: "18.4, pgvector 0.8.5")

    row = try_servers.try_server(Server("nowhere", tmp_path), None)

    assert row == Row("18.4, pgvector 0.8.5", "nowhere", "directly", row.result)
    assert row.result.startswith("failed: ")
