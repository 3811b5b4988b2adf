"""What the queue reads for each step: the rows it needs and no others, whatever the table holds."""

from __future__ import annotations

import os
from uuid import UUID, uuid4

import pytest

from tests.support.backlog import add_finished_jobs, bulk_inserts, count_reads, enqueue_people
from tests.support.build import connect, one
from tests.support.postgres import create_database, drop_database

LONG = bool(os.environ.get("AUTOMATCH_TEST_LONG"))
SIZES = [0, 20_000, *([1_000_000] if LONG else [])]

pytestmark = pytest.mark.timeout(900 if LONG else 240)


@pytest.fixture(scope="module", params=SIZES, ids="{} finished".format)
def finished_jobs(request, cluster, template):
    """Give a database with so many finished jobs."""
    name = f"plans_{request.param}"
    create_database(cluster, name, template)
    database = cluster.address.named(name)
    with bulk_inserts(database) as conn:
        add_finished_jobs(conn, request.param)
    yield database
    drop_database(cluster, name)


@pytest.fixture(scope="module", params=["stale", "analyzed"], ids="{} statistics".format)
def waiting_jobs(request, finished_jobs):
    """Let 3,000 wait there; with the statistics of a time when none did, or with those of now."""
    with bulk_inserts(finished_jobs) as conn:
        conn.execute("delete from public.match_jobs where status = 'pending'")
        conn.execute("vacuum analyze public.match_jobs")
        for school in range(30):
            enqueue_people(conn, f"S{school}", 100)
        if request.param == "analyzed":
            conn.execute("analyze public.match_jobs")
    return finished_jobs


@pytest.fixture(scope="module")
def session(waiting_jobs):
    """Give a session that has read the catalogs and compiled functions."""
    with bulk_inserts(waiting_jobs) as conn:
        yield conn


@pytest.fixture(params=["force_generic_plan", "force_custom_plan"])
def conn(request, session):
    """Give a connection whose work is undone, with one way or the other to make plans."""
    session.execute("discard plans")
    with session.transaction(force_rollback=True):
        session.execute(f"set local plan_cache_mode = {request.param}")
        yield session


def claim(conn, limit=50, floor=0, worker=None):
    return conn.execute(
        "select id, lease_token, position from public.claim_match_jobs(%s, %s, '30 s', %s)",
        [worker or uuid4(), limit, floor],
    ).fetchall()


def ids_and_tokens(jobs):
    return [job for job, *_ in jobs], [token for _, token, _ in jobs]


def test_claim_reads_the_turns_in_order_and_only_those_it_takes(conn):
    claim(conn)
    with count_reads(conn) as read:
        jobs = claim(conn)

    assert len(jobs) == 50
    assert read.of_table == 0
    assert read.scans.keys() <= {
        *("match_jobs_position_idx", "match_jobs_pkey", "match_jobs_scheduled_idx"),
    }
    # Of 3,000. What other tests claimed, and undid, is in the index until it is vacuumed.
    assert read.entries["match_jobs_position_idx"] <= 500


def test_claims_and_renewals_write_to_no_index(conn):
    updates = """
        select pg_stat_get_xact_tuples_updated(c.oid), pg_stat_get_xact_tuples_hot_updated(c.oid)
        from pg_class as c where c.oid = 'public.match_jobs'::regclass
    """
    updated, hot = conn.execute(updates).fetchone()
    jobs = claim(conn)
    conn.execute("select public.renew_match_leases(%s, %s, '30 s')", [*ids_and_tokens(jobs)])
    updated_since, hot_since = conn.execute(updates).fetchone()

    assert updated_since - updated == 100
    assert hot_since - hot == 100


def test_claim_with_a_concurrency_counts_what_is_worked_on_only(conn):
    conn.execute("select public.set_match_concurrency(80)")
    worker = uuid4()
    claim(conn, 50, worker=worker)
    with count_reads(conn) as read:
        assert len(claim(conn, 50, worker=worker)) == 30

    assert read.of_table == 0
    # Of 3,000: those that are held, and those of the claim.
    assert read.entries["match_jobs_position_idx"] <= 500


# Planning for a person outside of the statistics looks up the ends of an index.
@pytest.mark.parametrize("person", [UUID(int=2**127), UUID(int=1)], ids=["middle", "first"])
@pytest.mark.parametrize("school", ["S7", "of nobody yet"])
def test_new_job_looks_at_the_ends_of_two_lines_and_at_nobody_else(conn, school, person):
    claim(conn)
    with count_reads(conn) as read:
        conn.execute("select automatch.next_position(%s, %s, 2::smallint)", [school, person])

    assert read.of_table == 0
    assert read.scans == {"match_jobs_school_position_idx": 1, "match_jobs_user_position_idx": 1}
    assert sum(read.entries.values()) <= 2


def test_new_job_of_another_school_does_not_walk_past_the_one_that_is_all_there_is(database):
    with bulk_inserts(database) as conn:
        enqueue_people(conn, "whale", 5_000)
        conn.execute("analyze public.match_jobs")
        with count_reads(conn) as read:
            conn.execute("select automatch.next_position('minnow', %s, 2::smallint)", [uuid4()])

    assert sum(read.entries.values()) == 0


def test_numbers_for_operators_do_not_read_the_whole_table(conn):
    for query in (
        "select automatch.measure_history(date_bin('5 minutes', automatch.now(), 'epoch'))",
        "select public.get_job_rates()",
        "select public.list_failure_reasons('1 hour')",
    ):
        with count_reads(conn) as read:
            conn.execute(query)

        assert read.of_table == 0, query


def test_settling_and_renewing_look_up_the_jobs_they_are_given(conn):
    jobs = [claim(conn, 20) for _ in range(4)]
    for query, more, batch in (
        ("select public.renew_match_leases(%s, %s, '30 s')", [], jobs[0]),
        ("select public.release_match_jobs(%s, %s)", [], jobs[1]),
        ("select public.fail_match_jobs(%s, %s, %s, %s)", [["x"] * 20] * 2, jobs[2]),
        ("select public.retry_match_jobs(%s, %s, %s, %s, 1, 1)", [["x"] * 20] * 2, jobs[3]),
        ("select automatch.complete_jobs(%s, %s, '{}', automatch.now())", [], jobs[0]),
    ):
        with count_reads(conn) as read:
            assert conn.execute(query, [*ids_and_tokens(batch), *more]).fetchall()

        assert read.of_table == 0, query
        # 20 for each of the steps of a statement; 80 are being worked on, of 3,000 (PostgreSQL 15
        # and 16 read 6,200 when the open jobs had an index by status).
        assert sum(read.entries.values()) <= 20 * 10, (query, read)


def test_jobs_that_wait_are_in_no_index_where_those_worked_on_are_looked_for(dsn):
    """Older versions of Postgres read it from end to end for each heartbeat; 18 seldom does."""
    with connect(dsn) as conn:
        conn.execute("set enable_seqscan = off")
        plan = conn.execute(
            "explain select from public.match_jobs where status = 'processing' and lease_token = 1"
        ).fetchall()
        conn.rollback()

    assert "Seq Scan" in str(plan)


@pytest.mark.parametrize("login", ["api", "worker", "schedule"])
def test_no_statement_is_compiled(database, login):
    with connect(getattr(database, login)) as conn:
        # The cluster of the tests has it off for everybody; others have not.
        jit = conn.execute("select setting, source from pg_settings where name = 'jit'").fetchone()

    assert jit == ("off", "user")


def test_sweep_reads_what_is_worked_on(conn):
    claim(conn, 50)
    with count_reads(conn) as read:
        assert one(conn, "select public.sweep_match_jobs()") == 0

    assert read.of_table == 0
    assert read.entries["match_jobs_position_idx"] <= 500


def test_idle_worker_reads_the_heads_of_the_waiting(conn):
    with count_reads(conn) as read:
        assert one(conn, "select public.seconds_to_next_match_job()") == 0
        assert one(conn, "select public.count_waiting_match_jobs(100)") == 100

    assert read.of_table == 0
    assert sum(read.entries.values()) <= 250


def test_idle_worker_reads_no_finished_job_although_statistics_say_that_many_wait(database):
    with bulk_inserts(database) as conn:
        enqueue_people(conn, "UIT", 500)
        conn.execute("analyze public.match_jobs")
        conn.execute("delete from public.match_jobs")
        add_finished_jobs(conn, 2_000)
        with count_reads(conn) as read:
            assert one(conn, "select public.seconds_to_next_match_job()") is None
            assert one(conn, "select public.count_waiting_match_jobs(50000)") == 0

    assert read.of_table == 0
    assert sum(read.entries.values()) <= 1_000, "the rows that are gone, and none that ended"


def test_cleanup_reads_no_table_from_end_to_end(conn):
    with count_reads(conn) as read:
        assert one(conn, "select public.cleanup_old_match_jobs()") == 0

    assert read.of_table == 0
    assert read.scans["match_jobs_created_idx"] == 1
    # What the planner looks at is counted too.
    assert sum(read.entries.values()) - read.entries.get("match_jobs_created_idx", 0) <= 4


@pytest.mark.parametrize("floor", [True, False], ids=["with its floor", "without"])
def test_claim_does_not_step_over_what_a_long_transaction_keeps(database, floor):
    with bulk_inserts(database) as conn, connect(database.owner) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from public.match_jobs")
        enqueue_people(conn, "UIT", 4_000)
        last = 0
        for _ in range(79):
            jobs = claim(conn, 50, last)
            last = jobs[0][2]
            told = [["x"] * len(jobs)] * 2
            conn.execute(
                "select public.fail_match_jobs(%s, %s, %s, %s)", [*ids_and_tokens(jobs), *told]
            )
        with count_reads(conn) as read:
            assert len(claim(conn, 50, last if floor else 0)) == 50
        a_turn = enqueue_people(conn, "UIT")
        with count_reads(conn) as end:
            conn.execute("select automatch.next_position('UIT', %s, 2::smallint)", [uuid4()])

    assert a_turn
    entries = read.entries["match_jobs_position_idx"]
    # Whether there is anything to step over at all shows in the claim without a floor. Two versions
    # of each row of the last claim, where its page had no room for the second.
    assert entries <= 151 if floor else entries >= 3_950
    assert sum(end.entries.values()) <= 4
