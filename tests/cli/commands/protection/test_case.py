"""`automatch case`: what a state is called, and a ban that is lifted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.build import a_face, a_profile, connect, one
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.postgres import Database, TestCluster


@pytest.fixture
def case(cluster: TestCluster, tmp_path: Path, database: Database):
    """Give a function that runs `automatch case` with some words."""
    home = tmp_path / "home"
    write_secrets(home, cluster.secrets)

    def run(*words: object, status: int = 0) -> str:
        ended = call_command(home, "case", *words, DATABASE_URL=database.owner)
        assert ended.returncode == status, ended.stderr
        return ended.stdout + ended.stderr

    return run


@pytest.fixture
def appeal(database: Database):
    """Give a case with an appeal, whose person is frozen and banned."""
    with connect(database.owner) as conn:
        person = a_profile(conn)
        made = one(
            conn,
            "insert into automatch.cases (kind, reason, profile_id, face_id)"
            " values ('report', 'fake', %s, %s) returning id",
            *(person, a_face(conn, person)),
        )
        conn.execute("select public.ban_address('cli:hoa', %s, 'hash')", [made])
        conn.execute(
            "update automatch.cases set state = 'open', decided_at = null,"
            " appealed_at = automatch.now() where id = %s",
            [made],
        )
    return made


def test_appeal_is_called_one_wherever_it_is_shown(case, appeal) -> None:
    assert "appeal" in case("list")
    assert "appeal" in case("show", appeal)


def test_who_hides_one_of_several_photos_learns_how_to_name_it(case, appeal, database) -> None:
    with connect(database.owner) as conn:
        person = one(conn, "update automatch.cases set face_id = null returning profile_id")
        a_face(conn, person)

    assert "`--face ID` names a photo" in case("hide", appeal, status=1)


def test_who_lifts_a_ban_learns_that_the_person_is_still_frozen(case, appeal) -> None:
    assert f"still frozen: `automatch case unfreeze {appeal}`" in case("unban", appeal)
