"""pg_cron and pg_net, and what stands in for them: one table of cases for both.

The stand-ins are always tried. The real ones are where `AUTOMATCH_TEST_DATABASE_URL` names a
server that has them; its user must be a superuser.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
import pytest

from automatch.supabase_compat import cron, http_queue
from tests.support.scheduling import eventually, running_schedule, server_with_extensions

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Extensions:
    """A database in which `cron` and `net` are there."""

    dsn: str
    schedule: str | None = None
    """The address of the login that stands in for them; None where they are real."""

    @property
    def are_real(self) -> bool:
        return self.schedule is None

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Have jobs run and requests sent."""
        if self.schedule is None:
            yield
        else:
            async with running_schedule(self.schedule):
                yield


@pytest.fixture(params=["stand-ins", "extensions"])
def extensions(request: pytest.FixtureRequest) -> Extensions:
    if request.param == "extensions":
        return Extensions(server_with_extensions())
    database = request.getfixturevalue("database")
    return Extensions(database.owner, database.schedule)


@pytest.fixture(autouse=True)
def _slow_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make polls too slow to hide a lost wake-up."""
    for part in (cron, http_queue):
        monkeypatch.setattr(part, "_POLL_S", 600.0)


@pytest.fixture
def conn(extensions: Extensions) -> Iterator[psycopg.Connection]:
    """Give a connection to it whose work is undone."""
    with psycopg.connect(extensions.dsn) as conn:
        # Begins it: a block of a test would else be the whole transaction, and commit.
        conn.execute("select")
        yield conn
        conn.rollback()


COLUMNS = {
    "cron.job": "jobid bigint, schedule text, command text, nodename text, nodeport integer, "
    "database text, username text, active boolean, jobname text",
    "cron.job_run_details": "jobid bigint, runid bigint, job_pid integer, database text, "
    "username text, command text, status text, return_message text, "
    "start_time timestamp with time zone, end_time timestamp with time zone",
    "net.http_request_queue": "id bigint, method text, url text, headers jsonb, body bytea, "
    "timeout_milliseconds integer",
    "net._http_response": "id bigint, status_code integer, content_type text, headers jsonb, "
    "content text, timed_out boolean, error_msg text, created timestamp with time zone",
}


@pytest.mark.parametrize("table", COLUMNS)
def test_table_has_these_columns(conn: psycopg.Connection, table: str) -> None:
    [(columns,)] = conn.execute(
        "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', '"
        " order by attnum) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
        [table],
    ).fetchall()

    # pg_net has a domain of text there.
    assert columns.replace("net.http_method", "text") == COLUMNS[table]


FUNCTIONS = {
    "cron.schedule(text,text,text)": "job_name text, schedule text, command text -> bigint",
    "cron.schedule(text,text)": "schedule text, command text -> bigint",
    "cron.unschedule(text)": "job_name text -> boolean",
    "cron.unschedule(bigint)": "job_id bigint -> boolean",
    "cron.alter_job(bigint,text,text,text,text,boolean)": "job_id bigint, "
    "schedule text DEFAULT NULL::text, command text DEFAULT NULL::text, "
    "database text DEFAULT NULL::text, username text DEFAULT NULL::text, "
    "active boolean DEFAULT NULL::boolean -> void",
    "net.http_get(text,jsonb,jsonb,integer)": "url text, params jsonb DEFAULT '{}'::jsonb, "
    "headers jsonb DEFAULT '{}'::jsonb, timeout_milliseconds integer DEFAULT 5000 -> bigint",
    "net.http_post(text,jsonb,jsonb,jsonb,integer)": "url text, body jsonb DEFAULT '{}'::jsonb, "
    "params jsonb DEFAULT '{}'::jsonb, "
    'headers jsonb DEFAULT \'{"Content-Type": "application/json"}\'::jsonb, '
    "timeout_milliseconds integer DEFAULT 5000 -> bigint",
    "net.http_delete(text,jsonb,jsonb,integer,jsonb)": "url text, "
    "params jsonb DEFAULT '{}'::jsonb, headers jsonb DEFAULT '{}'::jsonb, "
    "timeout_milliseconds integer DEFAULT 5000, body jsonb DEFAULT NULL::jsonb -> bigint",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_this_signature(conn: psycopg.Connection, name: str) -> None:
    [(signature,)] = conn.execute(
        "select pg_get_function_arguments(oid) || ' -> ' || format_type(prorettype, null)"
        " from pg_proc where oid = %s::regprocedure",
        [name],
    ).fetchall()

    assert signature == FUNCTIONS[name]


TAKEN = [
    *("* * * * *", "*/30 * * * *", "5 4 * * *", "0,15,30-45/5 8-18 1-15 * 1-5"),
    *("0 3 * * mon-fri", "0 3 1 JAN,jun *", "0 0 * * 0", "0 0 * * 7", "0 0 $ * *", "*,5 * * * *"),
    *("0 0 30 2 *", " 5\t4  * * * ", "*/59 * * * *"),
    *("30 seconds", "1 second", "59 SECONDS", "1second"),
    *("@hourly", "@daily", "@midnight", "@weekly", "@monthly"),
]
REFUSED = [
    *("", " ", "foo", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *"),
    *("* * * * 8", "5/10 * * * *", "*/60 * * * *", "*/0 * * * *", "1-70 * * * *", "* * * mon *"),
    *("mon * * * *", "* * L * *", "1,,2 * * * *", "1- * * * *", "$ * * * *"),
    *("0 seconds", "60 seconds", "30 minutes", "-1 seconds", "@often", "@"),
]
SEEN_OTHERWISE = {
    # pg_cron ignores what follows the fifth field, and so runs the guide's line every 30 minutes.
    "*/30 * * * * *": "taken by both, as every 30 seconds by the stand-in",
    "* * * * * nobody reads this": "pg_cron",
    "* * * * *x": "pg_cron",
    "5-1 * * * *": "pg_cron",
    # Of a server that several may take the lead of there is no start.
    "@reboot": "pg_cron",
}
"""Where the stand-in is no copy on purpose: who takes it."""


def takes(conn: psycopg.Connection, schedule: str) -> bool:
    refusal = None
    try:
        with conn.transaction():
            conn.execute("select cron.schedule(%s, 'select 1')", [schedule])
    except psycopg.errors.InvalidParameterValue as exc:
        refusal = exc.diag
    if refusal is not None:
        assert refusal.message_primary == f"invalid schedule: {schedule}"
        assert "[1-59] seconds" in (refusal.message_hint or "")
    return refusal is None


def test_schedules_are_accepted_or_refused_as_by_pg_cron(
    conn: psycopg.Connection, subtests: pytest.Subtests
) -> None:
    for schedule in TAKEN:
        with subtests.test(schedule):
            assert takes(conn, schedule)
    for schedule in REFUSED:
        with subtests.test(schedule):
            assert not takes(conn, schedule)


def test_schedules_that_pg_cron_reads_differently(
    conn: psycopg.Connection, extensions: Extensions, subtests: pytest.Subtests
) -> None:
    for schedule, who in SEEN_OTHERWISE.items():
        with subtests.test(schedule):
            assert takes(conn, schedule) == (extensions.are_real or who != "pg_cron")


def test_named_job_is_replaced_and_keeps_its_id(conn: psycopg.Connection) -> None:
    [(first,)] = conn.execute("select cron.schedule('am-a', '* * * * *', 'select 1')").fetchall()
    [(again,)] = conn.execute("select cron.schedule('am-a', '5 seconds', 'select 2')").fetchall()
    rows = conn.execute(
        "select jobid, schedule, command, database = current_database(),"
        " username = current_user, active from cron.job where jobname = 'am-a'"
    ).fetchall()

    assert first == again
    assert rows == [(first, "5 seconds", "select 2", True, True, True)]


def test_job_without_a_name_is_a_new_one_each_time(conn: psycopg.Connection) -> None:
    ids = [
        conn.execute("select cron.schedule('* * * * *', 'select 1')").fetchall()[0][0]
        for _ in range(2)
    ]

    rows = conn.execute("select jobname from cron.job where jobid = any (%s)", [ids]).fetchall()
    assert rows == [(None,), (None,)]


def test_jobs_are_unscheduled_by_name_and_by_id(conn: psycopg.Connection) -> None:
    conn.execute("select cron.schedule('am-a', '* * * * *', 'select 1')")
    [(job,)] = conn.execute("select cron.schedule('* * * * *', 'select 1')").fetchall()

    assert conn.execute("select cron.unschedule('am-a')").fetchall() == [(True,)]
    assert conn.execute("select cron.unschedule(%s::bigint)", [job]).fetchall() == [(True,)]
    rows = conn.execute("select from cron.job where jobname = 'am-a' or jobid = %s", [job])
    assert rows.fetchall() == []


def test_job_is_altered_and_deactivated(conn: psycopg.Connection) -> None:
    [(job,)] = conn.execute("select cron.schedule('am-a', '* * * * *', 'select 1')").fetchall()
    conn.execute("select cron.alter_job(%s, active => false)", [job])
    conn.execute("select cron.alter_job(job_id := %s, schedule := '@daily')", [job])

    rows = conn.execute("select schedule, command, active from cron.job where jobid = %s", [job])
    assert rows.fetchall() == [("@daily", "select 1", False)]


ERRORS = {
    "select cron.unschedule('am-none')": "could not find valid entry for job 'am-none'",
    "select cron.unschedule(987654321)": "could not find valid entry for job 987654321",
    "select cron.schedule(null, '* * * * *', 'select 1')": "job_name can not be NULL",
    "select cron.schedule('am-a', null, 'select 1')": "schedule can not be NULL",
    "select cron.schedule('am-a', '* * * * *', null)": "command can not be NULL",
    "select cron.alter_job(987654321, active => true)": "Job 987654321 does not exist or .*",
    "select net.http_post('http://127.0.0.1:9/', headers := '{\"content-type\": \"text/html\"}')": (
        'Content-Type header must be "application/json"'
    ),
    "select net.http_post(null)": 'null value in column "url" .*',
    "select net.http_get(null)": 'null value in column "url" .*',
}


@pytest.mark.parametrize("statement", ERRORS)
def test_statement_is_refused_with_this_message(conn: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        conn.execute(statement.encode())

    assert re.fullmatch(ERRORS[statement], refused.value.diag.message_primary or "")


def test_alter_job_needs_a_change(conn: psycopg.Connection) -> None:
    [(job,)] = conn.execute("select cron.schedule('am-a', '* * * * *', 'select 1')").fetchall()
    with pytest.raises(psycopg.Error, match="no updates specified"):
        conn.execute("select cron.alter_job(%s)", [job])


def test_request_is_queued_as_it_was_written(conn: psycopg.Connection) -> None:
    [(request,)] = conn.execute(
        "select net.http_post('http://127.0.0.1:9/a?b=1', '{\"c\": [1]}', '{\"d e\": \"f&ü\"}',"
        ' \'{"X-Key": "k"}\', 700)'
    ).fetchall()
    rows = conn.execute(
        "select method, url, headers, convert_from(body, 'UTF8'), timeout_milliseconds"
        " from net.http_request_queue where id = %s",
        [request],
    ).fetchall()

    headers = {"X-Key": "k", "Content-Type": "application/json"}
    [(method, url, *rest)] = rows
    assert (method, rest) == ("POST", [headers, '{"c": [1]}', 700])
    # libcurl's digits are in small letters from some version on.
    assert url.lower() == "http://127.0.0.1:9/a?b=1&d%20e=f%26%c3%bc"


RUNS = {
    "select 1": ("succeeded", "1 row"),
    "select generate_series(1, 3)": ("succeeded", "3 rows"),
    "delete from cron.job_run_details where false": ("succeeded", "DELETE 0"),
    "select 1; delete from cron.job_run_details where false": ("succeeded", "DELETE 0"),
    "select 1/0": ("failed", "ERROR:  division by zero"),
    "select current_user": ("succeeded", "1 row"),
    "vacuum cron.job": ("succeeded", "VACUUM"),
}


async def test_runs_are_recorded(extensions: Extensions, subtests: pytest.Subtests) -> None:
    async with (
        await psycopg.AsyncConnection.connect(extensions.dsn, autocommit=True) as conn,
        extensions.at_work(),
    ):
        schedule = "select cron.schedule('am-run-' || %s, '1 second', %s)"
        jobs = {
            command: (await (await conn.execute(schedule, [n, command])).fetchall())[0][0]
            for n, command in enumerate(RUNS)
        }
        try:
            runs = {
                command: await eventually(
                    extensions.dsn,
                    "select status, return_message, job_pid > 0, command,"
                    " database = current_database(), username = current_user,"
                    " end_time >= start_time from cron.job_run_details"
                    " where jobid = %s and status not in ('starting', 'running', 'sending',"
                    " 'connecting') order by runid limit 1",
                    job,
                )
                for command, job in jobs.items()
            }
        finally:
            for job in jobs.values():
                await conn.execute("select cron.unschedule(%s::bigint)", [job])
    for command, [(status, message, *others)] in runs.items():
        with subtests.test(command):
            assert (status, message.strip()) == RUNS[command]
            assert others == [True, command, True, True, True]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if "/slow" in head.split("\r\n")[0]:
        await reader.read()
    size = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
    body = (await reader.readexactly(int(size[1]))).decode() if size else ""
    key = re.search(r"x-key: (\S+)", head, re.IGNORECASE)
    told = f"{head.split()[0]} {head.split()[1]} {key and key[1]} {body}".encode()
    status = "302 Found\r\nlocation: /elsewhere" if "/moved" in head else "201 Created"
    writer.write(
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(told)}\r\nconnection: close\r\n\r\n".encode()
        + told
    )
    await writer.drain()
    writer.close()


@asynccontextmanager
async def _listener() -> AsyncIterator[str]:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


_RESPONSE = (
    "select status_code, content_type, content, timed_out, error_msg, headers ->> 'content-type'"
    " from net._http_response where id = %s"
)


async def test_requests_are_sent_and_responses_stored(extensions: Extensions) -> None:
    async with (
        _listener() as url,
        await psycopg.AsyncConnection.connect(extensions.dsn, autocommit=True) as conn,
        extensions.at_work(),
    ):

        async def ask(call: str) -> tuple[object, ...]:
            [(request,)] = await (
                await conn.execute(f"select {call}".encode(), {"url": url})
            ).fetchall()
            [response] = await eventually(extensions.dsn, _RESPONSE, request)
            return response

        # With the usual five seconds a busy machine might be told that the time is over.
        headers = 'headers := \'{"X-Key": "k"}\', timeout_milliseconds := 60000'
        post = await ask(f"net.http_post(%(url)s || '/a', '{{\"b\": 1}}', {headers})")
        get = await ask(f"net.http_get(%(url)s || '/g', '{{\"c\": \"d\"}}', {headers})")
        delete = await ask(f"net.http_delete(%(url)s || '/x', {headers})")
        slow = await ask("net.http_get(%(url)s || '/slow', timeout_milliseconds := 200)")
        nobody = await ask("net.http_get('http://127.0.0.1:9/', timeout_milliseconds := 60000)")

    text = "text/plain; charset=utf-8"
    assert post == (201, text, 'POST /a k {"b": 1}', False, None, text)
    assert get == (201, text, "GET /g?c=d k ", False, None, text)
    assert delete == (201, text, "DELETE /x k ", False, None, text)
    assert (slow[0], slow[3]) == (None, True)
    assert "Timeout of 200 ms reached" in str(slow[4])
    assert nobody[0] is None
    assert not nobody[3]
    assert re.match("Could ?n.t connect to server|Could not connect to server", str(nobody[4]))


async def test_request_of_a_transaction_that_failed_is_never_sent(extensions: Extensions) -> None:
    async with (
        _listener() as url,
        await psycopg.AsyncConnection.connect(extensions.dsn) as conn,
        extensions.at_work(),
    ):
        [(lost,)] = await (await conn.execute("select net.http_get(%s)", [url])).fetchall()
        await conn.rollback()
        [(kept,)] = await (await conn.execute("select net.http_get(%s)", [url])).fetchall()
        await conn.commit()
        await eventually(extensions.dsn, _RESPONSE, kept)
        rows = await (await conn.execute(_RESPONSE, [lost])).fetchall()

    # A sequence does not roll back, unlike the request.
    assert lost == kept or rows == []
