"""`automatch school`: the list of schools, codes and requests on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest

from tests.support.build import a_profile, acting, connect, one
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.postgres import Database, TestCluster


@pytest.fixture
def school(cluster: TestCluster, database: Database, tmp_path: Path):
    """Give a function that runs `automatch school` with some words."""
    home = tmp_path / "home"
    write_secrets(home, cluster.secrets)
    settings = {"DATABASE_URL": database.owner, "PUBLIC_URL": "https://match.example.org"}

    def run(*words: object, status: int = 0) -> str:
        ended = call_command(home, "school", *words, **settings)
        assert ended.returncode == status, ended.stderr
        return ended.stdout if status == 0 else ended.stderr

    return run


@pytest.fixture
def conn(database: Database):
    with connect(database.owner, autocommit=True) as opened:
        opened.execute("drop trigger a_school_is_open on public.profiles")
        yield opened


def listed(school, name: str) -> dict:
    return json.loads(school("show", name, "--json"))


def test_school_is_added_edited_renamed_merged_and_removed(school, conn) -> None:
    school("add", "HCMUS", "--domain", "@HCMUS.edu.vn", "--alias", "KHTN")
    assert "open" in school("add", "Uni of Science", "--open")
    a_profile(conn, school="Uni of Science")
    school("edit", "khtn", "--domain", "hcmus.vn", "--without-domain", "hcmus.edu.vn")
    assert "people: 0" in school("rename", "khtn", "Khoa học Tự nhiên")
    assert "people moved: 1" in school("merge", "uni of science", "khtn", "--yes")
    school("add", "Nowhere")
    school("remove", "nowhere", status=1)
    school("remove", "nowhere", "--yes")

    shown = listed(school, "HCMUS")
    assert (shown["name"], shown["domains"]) == ("Khoa học Tự nhiên", ["hcmus.vn"])
    assert shown["aliases"] == ["HCMUS", "KHTN", "Uni of Science"]
    assert (shown["people"], shown["members"], shown["open"]) == (1, 0, False)
    names = [each["name"] for each in json.loads(school("list", "--json"))]
    assert names == ["Khoa học Tự nhiên", "UIT"]
    assert "Khoa học Tự nhiên" in school("list")


def test_school_is_opened_and_closed(school, conn) -> None:
    assert "closed" in school("close", "uit", "--yes")
    assert listed(school, "UIT")["open"] is False
    assert "open" in school("open", "UIT", "--yes")
    assert listed(school, "UIT")["open"] is True


def test_code_is_shown_once_with_its_link(school, conn) -> None:
    told = school("invite", "UIT", "--single", "--expires", "12h")
    [code] = re.findall(r"^Code: ([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})$", told, re.MULTILINE)
    assert f"Link: https://match.example.org/join/{code}" in told
    assert one(conn, "select public.find_invitation(%s)", code) == "UIT"
    [invitation] = json.loads(school("invitations", "uit", "--json"))
    assert (invitation["uses"], invitation["max_uses"]) == (0, 1)
    assert code not in school("invitations")
    school("end-invitation", invitation["id"])

    assert one(conn, "select public.find_invitation(%s)", code) is None
    assert "12h or 30d" in school("invite", "UIT", "--expires", "soon", status=2)


def test_requests_are_listed_and_answered(school, conn: psycopg.Connection) -> None:
    school("add", "HCMUS")
    people = [a_profile(conn, school="HCMUS", name=name) for name in ("Linh", "Mai")]
    for person in people:
        with acting(conn, person):
            conn.execute("select public.request_membership('Class K18.')")
    waiting = json.loads(school("requests", "--json"))
    assert [(each["name"], each["message"]) for each in waiting] == [
        ("Linh", "Class K18."),
        ("Mai", "Class K18."),
    ]
    assert "Class K18." in school("requests", "hcmus")
    school("approve", people[0])
    school("refuse", people[1], "--reason", "Not enrolled")

    assert listed(school, "HCMUS")["members"] == 1
    assert json.loads(school("requests", "--json")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "Nowhere"], "There is no such school; choose one from the list."),
        (["add", "uit"], "uit is a spelling of UIT."),
        (["add", "X", "--domain", "not a domain"], "is not a mail domain"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(school, conn, words, told) -> None:
    assert told in school(*words, status=1)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("rename", "UIT", "HCMUS"), "HCMUS is already a school; merge them"),
        (("rename", "UIT", " "), "Give the school a name"),
        (("add", ""), "Give the school a name"),
        (("edit", "UIT", "--alias", ""), "Give the school a name"),
    ],
    ids=["taken", "blank", "empty", "alias"],
)
def test_name_that_cannot_be_given_is_answered_in_a_sentence(school, conn, words, advice) -> None:
    school("add", "HCMUS")

    assert advice in school(*words, status=1)
