"""What runs the schedule where no extension does: one leader, no overlap, nobody else's rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from automatch.store.installation.migrate import COMPAT
from automatch.supabase_compat import cron_runner
from automatch.supabase_compat.cron_job import run_job_now
from tests.support.build import connect, one
from tests.support.postgres import Database
from tests.support.scheduling import eventually, running_schedule
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

_ENDED = (
    "select status, return_message, start_time, end_time from cron.job_run_details"
    " where jobid = %s and end_time is not null order by runid"
)


@pytest.fixture
def conn(database: Database):
    """Give the owner's connection to the test's own database."""
    with connect(database.owner, autocommit=True) as conn:
        yield conn


def schedule(conn: psycopg.Connection, line: str, command: str, name: str = "job") -> int:
    return int(one(conn, "select cron.schedule(%s, %s, %s)", name, line, command))


async def runs_of(database: Database, job: int, count: int) -> list[tuple]:
    """Return the first runs of a job once there are so many."""
    return await eventually(
        database.owner,
        f"select * from ({_ENDED}) as runs where (select count(*) from ({_ENDED}) as r) >= %s",
        *(job, job, count),
    )


async def test_one_of_two_servers_runs_a_job_and_the_other_takes_over(
    database: Database, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cron_runner, "_TRY_S", 0.05)
    names = {"ERROR:  first", "ERROR:  second"}
    one_server, other = (
        running_schedule(make_conninfo(database.schedule, options=f"-c tests.server={name}"))
        for name in ("first", "second")
    )
    tell_server = "do $$ begin raise '%', current_setting('tests.server'); end $$"
    job = schedule(conn, "1 second", tell_server)
    leader = (
        "select pid from pg_locks where locktype = 'advisory' and granted"
        " and database = (select oid from pg_database where datname = current_database())"
        " and (classid::bigint << 32 | objid::bigint) = automatch.lock_key('cron')"
    )
    async with one_server, other:
        runs = await runs_of(database, job, 3)
        [(first,)] = await eventually(database.owner, leader)

        one(conn, "select pg_terminate_backend(%s)", first)

        [(second,)] = await eventually(database.owner, f"{leader} and pid <> %s", first)
        done = one(conn, "select count(*) from cron.job_run_details")
        await runs_of(database, job, done + 1)

    assert {status for status, *_ in runs} == {"failed"}
    [name] = {message.partition("\n")[0] for _, message, *_ in runs}
    assert name in names
    assert second != first


async def test_job_does_not_overlap_with_itself_and_delays_no_other(
    database: Database, conn: psycopg.Connection
) -> None:
    slow = schedule(conn, "1 second", "select pg_advisory_lock_shared(1)", "slow")
    quick = schedule(conn, "1 second", "select 1", "quick")
    conn.execute("select pg_advisory_lock(1)")
    async with running_schedule(database.schedule):
        run = "select from cron.job_run_details where jobid = %s and status = 'running'"
        await eventually(database.owner, run, slow)
        done = len(conn.execute(_ENDED, [quick]).fetchall())
        await runs_of(database, quick, done + 3)
        # It was due again meanwhile.
        begun = one(conn, "select count(*) from cron.job_run_details where jobid = %s", slow)
        conn.execute("select pg_advisory_unlock(1)")
        runs = await runs_of(database, slow, 2)

    assert begun == 1
    assert runs[1][2] >= runs[0][3]


async def test_job_runs_again_while_the_session_of_its_last_run_still_ends(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute(
        sql.SQL("grant temporary on database {} to automatch_schedule").format(
            sql.Identifier(conn.info.dbname)
        )
    )
    # A session ends once it has dropped its temporary tables, which another may have locked.
    command = "begin; create temp table held (); commit; select pg_advisory_lock_shared(1)"
    held = "select oid::regclass::text from pg_class where relname = 'held'"
    job = schedule(conn, "0 0 1 1 *", f"{command}; select pg_advisory_unlock_shared(1)")
    conn.execute("select pg_advisory_lock(1)")
    first = asyncio.create_task(run_job_now(database.schedule, job))
    [(table,)] = await eventually(database.owner, held)
    with connect(database.owner) as holder:
        holder.execute(sql.SQL("lock table {} in access share mode").format(sql.SQL(table)))
        conn.execute("select pg_advisory_unlock(1)")
        await first
        session = "select from pg_stat_activity where application_name = %s"
        assert conn.execute(session, [f"automatch job {job}"]).fetchall()

        await run_job_now(database.schedule, job)

    assert [status for status, *_ in conn.execute(_ENDED, [job])] == ["succeeded"] * 2


async def test_job_of_any_id_runs_and_its_failure_ends_no_other(
    database: Database, conn: psycopg.Connection
) -> None:
    large, other = (
        schedule(conn, "1 second", command, command) for command in ("select 1", "select 2")
    )
    conn.execute("update cron.job set jobid = 1::bigint << 40 where jobid = %s", [large])
    async with running_schedule(database.schedule):
        [(status, *_), *_] = await runs_of(database, 1 << 40, 1)
        assert status == "succeeded"
        # A run that cannot be written down.
        conn.execute(
            "alter table cron.job_run_details add constraint small check (jobid < 1000) not valid"
        )
        done = len(conn.execute(_ENDED, [other]).fetchall())
        await runs_of(database, other, done + 2)


async def test_job_runs_with_few_rights_and_is_told_which_login_lacks_one(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("create table public.proof (by text)")
    insert = "insert into public.proof values (current_user)"
    job = schedule(conn, "1 second", insert)
    async with running_schedule(database.schedule):
        # Asked on this connection: any other of the owner would be seen below until it has ended.
        await until(lambda: conn.execute(_ENDED, [job]).fetchall())
        (status, message, *_), *_ = conn.execute(_ENDED, [job]).fetchall()
        assert status == "failed"
        assert "permission denied for table proof" in message
        assert "Jobs run as automatch_schedule: grant it" in message
        # Neither the leader nor a job is the owner.
        assert conn.execute(
            "select distinct usename from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
            " and backend_type = 'client backend'"
            # Without the session that emptied the database before this test.
            " and backend_start > (select s.backend_start from pg_stat_activity as s"
            "  where s.pid = pg_backend_pid())"
        ).fetchall() == [("automatch_schedule",)]

        conn.execute("grant insert on public.proof to automatch_schedule")
        rows = await eventually(database.owner, "select distinct by from public.proof")
    assert rows == [("automatch_schedule",)]


async def test_login_of_the_schedule_sees_the_key_of_the_schedule_alone(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("select automatch.rotate_trigger_key()")
    key = one(conn, "select secret from vault.secrets")
    with connect(database.schedule, autocommit=True) as login:
        assert one(login, "select automatch.read_trigger_key()") == key
        for statement in (
            "select * from vault.decrypted_secrets",
            "select automatch.rotate_trigger_key()",
            "select cron.schedule('own', '* * * * *', 'select 1')",
            "update cron.job set command = 'select 1'",
            "insert into net.http_request_queue values (1, 'GET', 'http://x', null, null, 1)",
            "select public.get_match_job_stats()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                login.execute(statement)


async def test_job_of_another_login_is_not_run_as_the_owner(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute("create table public.proof (by text)")
    job = schedule(conn, "1 second", "insert into public.proof values (current_user)")
    conn.execute("update cron.job set username = 'automatch_api'")
    async with running_schedule(database.schedule):
        [(status, message, *_), *_] = await runs_of(database, job, 1)

    assert status == "failed"
    assert "automatch_api" in message
    assert one(conn, "select count(*) from public.proof") == 0


def test_no_other_login_schedules_in_the_owners_name(conn: psycopg.Connection) -> None:
    conn.execute("create role clerk")
    try:
        conn.execute("grant usage on schema cron to clerk")
        conn.execute("grant execute on all functions in schema cron to clerk")
        conn.execute("grant all on cron.job to clerk")
        schedule(conn, "@daily", "select 1", "of the owner")
        conn.execute("set role clerk")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(
                "insert into cron.job (schedule, command, username)"
                " values ('* * * * *', 'select 1', 'postgres')"
            )
        schedule(conn, "@daily", "select 1", "of the owner")
        conn.execute("update cron.job set command = 'select 2'")
        assert one(conn, "select count(*) from cron.job") == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("update cron.job set username = 'postgres'")
        conn.execute("reset role")
        rows = conn.execute("select username, command from cron.job order by 1").fetchall()
        assert rows == [("clerk", "select 2"), ("postgres", "select 1")]
    finally:
        conn.execute("reset role")
        conn.execute("drop owned by clerk")
        conn.execute("drop role clerk")


async def test_run_of_a_stopped_server_is_marked_as_failed(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute(
        "insert into cron.job_run_details (jobid, status, start_time, username)"
        " values (7, 'running', now(), current_user)"
    )
    async with running_schedule(database.schedule):
        [(status, message, *_)] = await runs_of(database, 7, 1)

    assert (status, message) == ("failed", "server restarted")


async def test_stopped_job_is_cancelled(database: Database, conn: psycopg.Connection) -> None:
    schedule(conn, "1 second", "select pg_sleep(600)")
    working = "select pid from pg_stat_activity where application_name like 'automatch job %%'"
    async with running_schedule(database.schedule):
        await eventually(database.owner, f"{working} and state = 'active'")

    await eventually(database.owner, f"select 1 where not exists ({working})")


async def test_jobs_of_the_guide_are_created_once_and_keep_the_server_address(
    database: Database, conn: psycopg.Connection
) -> None:
    address = "select substring(command from 'http://[^'']+') from cron.job where jobname = %s"
    process = "process-match-jobs"
    async with running_schedule(database.schedule):
        await eventually(database.owner, address, process)
    assert one(conn, address, process) == "http://automatch.localhost/functions/v1/match-generator"
    jobs = "select jobname, schedule, active from cron.job order by jobname desc"
    assert conn.execute(jobs).fetchall() == [
        (process, "* * * * *", True),
        ("cleanup-match-jobs", "0 3 * * *", True),
    ]

    conn.execute("select cron.unschedule('cleanup-match-jobs')")
    own = "select net.http_post('http://127.0.0.1:3/functions/v1/match-generator')"
    schedule(conn, "5 seconds", own, process)
    assert one(conn, "select automatch.ensure_match_schedule('http://127.0.0.1:4/x')") == "kept"
    rows = conn.execute("select jobname, schedule, command from cron.job").fetchall()
    assert rows == [(process, "5 seconds", own)]


_ADDRESS = (
    "select command from cron.job where jobname = 'process-match-jobs'"
    " and command like '%%''http://' || %s || '/functions/v1/match-generator''%%'"
)


@asynccontextmanager
async def _answering(name: str) -> AsyncIterator[str]:
    """Serve the name of a server; give its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(name)}\r\nconnection: close\r\n\r\n"
        writer.write(f"{head}{name}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_one_schedule_calls_whichever_server_leads_and_serves(
    database: Database, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cron_runner, "_TRY_S", 0.05)
    started = asyncio.Event()
    answer = "select content from net._http_response where id = %s"

    async def ask() -> list[tuple]:
        request = one(conn, "select net.http_get('http://automatch.localhost/')")
        return await eventually(database.owner, answer, request)

    async with (
        _answering("first") as first,
        _answering("second") as second,
        running_schedule(
            database.schedule, local_url=first, net_origins=["http://x"], started=started
        ),
    ):
        async with running_schedule(database.schedule, local_url=second, net_origins=["http://x"]):
            made = await eventually(database.owner, _ADDRESS, "automatch.localhost")
            started.set()
            # The first tries to lead, and does not.
            await eventually(
                database.owner,
                "select from pg_stat_activity where datname = current_database()"
                " and application_name = 'automatch-schedule' and query like '%%advisory_lock%%'"
                " and state = 'idle'",
            )
            assert await ask() == [("second",)]
        assert await ask() == [("first",)]
        assert await eventually(database.owner, _ADDRESS, "automatch.localhost") == made

    async with running_schedule(
        database.schedule, local_url=first, public_url="http://m.example.org"
    ):
        await eventually(database.owner, _ADDRESS, "m.example.org")


async def test_both_jobs_survive_the_change_to_an_extension_and_back(
    database: Database, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cron_runner, "_TRY_S", 0.05)
    monkeypatch.setattr(cron_runner, "_PROBE_S", 0.05)
    jobs = (
        "select jobname, schedule, command from cron.job order by jobname"
        " limit (select case count(*) when 2 then 2 else 0 end from cron.job)"
    )
    stand_in = (COMPAT / "30_cron.sql").read_bytes()
    async with running_schedule(database.schedule, public_url="http://m.example.org"):
        await eventually(database.owner, jobs)
        one(conn, "select automatch.set_match_schedule('30 seconds', 'http://other.example.org')")
        before = conn.execute(jobs).fetchall()
        assert before[1][:2] == ("process-match-jobs", "30 seconds")

        for comment in (b"comment on schema cron is null", b""):
            with conn.transaction():
                conn.execute("drop schema cron cascade")
                conn.execute(stand_in + comment)
            assert await eventually(database.owner, jobs) == before

        assert one(conn, "select automatch.set_match_schedule(null, null)")
        with conn.transaction():
            conn.execute("drop schema cron cascade")
            conn.execute(stand_in)
        await eventually(database.owner, "select from cron.job")
    # What was switched off stays off.
    assert one(conn, "select array_agg(jobname) from cron.job") == ["cleanup-match-jobs"]


async def test_schedule_survives_closed_connections(
    database: Database, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cron_runner, "_TRY_S", 0.05)
    job = schedule(conn, "1 second", "select 1")
    async with running_schedule(database.schedule):
        await runs_of(database, job, 1)
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like 'automatch%%' and pid <> pg_backend_pid()"
        )
        done = one(conn, "select count(*) from cron.job_run_details where end_time is not null")
        await runs_of(database, job, done + 1)


async def test_installed_extension_is_used(database: Database, conn: psycopg.Connection) -> None:
    # Told apart by the schema's comment, which only ours has.
    conn.execute("comment on schema cron is null")
    conn.execute("comment on schema net is null")
    schedule(conn, "1 second", "select 1")
    async with running_schedule(database.schedule, public_url="https://match.example.org/"):
        await eventually(
            database.owner,
            "select 1 from cron.job where command like '%%https://match.example.org/functions%%'",
        )
        assert one(conn, "select count(*) from cron.job_run_details") == 0


async def test_requests_go_to_allowed_origins_only_and_the_refusal_is_a_response(
    database: Database, conn: psycopg.Connection
) -> None:
    allowed = ["http://127.0.0.1:9", "https://localhost"]
    urls = {
        # Nobody answers there, which is tried.
        "http://127.0.0.1:9/functions/v1/match-generator": "Could not connect to server",
        "HTTPS://LOCALHOST:443/x": "Could not connect to server",
        **dict.fromkeys(
            [
                *("http://127.0.0.1:10/", "https://127.0.0.1:9/", "http://127.0.0.2:9/"),
                *("http://localhost/", "http://127.0.0.1:9@127.0.0.2:9/", "http://[::1"),
                "http://127.0.0.1:9\\@127.0.0.2:9/",
            ],
            "The address is none that AUTOMATCH_NET_ORIGINS allows",
        ),
    }
    # Whoever is told that nobody answers has been given time to find that out.
    ask = "select net.http_get(%s, timeout_milliseconds := 60000)"
    sent = {int(one(conn, ask, url)): url for url in urls}
    async with running_schedule(database.schedule, net_origins=allowed):
        answers = await eventually(
            database.owner,
            # The schedule may send requests of its own.
            "select id, error_msg from net._http_response where id = any (%s)"
            " and (select count(*) from net._http_response where id = any (%s)) = %s",
            *(list(sent), list(sent), len(sent)),
        )

    assert {sent[number]: message for number, message in answers} == urls
