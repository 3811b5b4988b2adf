"""`automatch mail`: an operator hands a link over, and tries the mail server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest

from automatch.store.accounts.accounts import hash_token
from tests.support.command import call_command
from tests.support.doctor import write_secrets
from tests.support.postgres import Database, TestCluster
from tests.support.smtp import mail_server, text_of

HER = "linh@example.org"


@pytest.fixture
def conn(database: Database):
    with psycopg.connect(database.owner, autocommit=True) as opened:
        opened.execute("select auth.create_user(%s, 'x', '{}')", [HER])
        for recipient in (HER, "nobody@example.org"):
            opened.execute("select public.enqueue_mail('recovery', %s)", [recipient])
        yield opened


def test_waiting_link_is_handed_over_and_that_is_recorded(
    conn: psycopg.Connection, cluster: TestCluster, database: Database, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    write_secrets(home, cluster.secrets)
    settings = {"DATABASE_URL": database.owner, "PUBLIC_URL": "https://match.example.org"}

    [mail] = json.loads(call_command(home, "mail", "list", "--json", **settings).stdout)
    assert (mail["recipient"], mail["attempts"]) == (HER, 0)
    assert HER in call_command(home, "mail", "list", **settings).stdout
    shown = call_command(home, "mail", "show", mail["id"], **settings)

    [token] = re.findall(r"https://match\.example\.org/reset-password\?token=(\S+)", shown.stdout)
    found = conn.execute(
        "select email from auth.find_one_time_token(%s, 'recovery')", [hash_token(token)]
    ).fetchall()
    assert found == [(HER,)]
    [(action, details)] = conn.execute(
        "select action, details - 'person' from automatch.audit_log where action = 'read_mail'"
    ).fetchall()
    assert (action, details) == ("read_mail", {"kind": "recovery"})
    conn.execute("delete from auth.users")
    assert "No mail waits." in call_command(home, "mail", "list", **settings).stderr
    assert (
        "No such mail waits." in call_command(home, "mail", "show", mail["id"], **settings).stderr
    )


def test_mail_server_is_tried(cluster: TestCluster, tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_secrets(home, cluster.secrets)
    unset = call_command(home, "mail", "test", HER)
    with mail_server() as box:
        settings = {"MAIL__SMTP_URL": box.url, "MAIL__SENDER": "no-reply@uit.example"}
        tried = call_command(home, "mail", "test", HER, **settings)
        message = box.arrived.get(timeout=60)
        wrong = call_command(home, "mail", "test", "linh", **settings)
    away = call_command(home, "mail", "test", HER, **settings)

    assert unset.returncode == 1
    assert "AUTOMATCH_MAIL__SMTP_URL" in unset.stderr
    assert (tried.returncode, message["To"]) == (0, HER)
    assert "E-mail works." in text_of(message)
    assert "valid e-mail address" in wrong.stderr
    assert "could not be used" in away.stderr
