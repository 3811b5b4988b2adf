"""The doctor's checks of the search: each test breaks one thing, and its check reports it."""

from __future__ import annotations

import pytest

from automatch.ops.doctor.check import Health
from tests.support.build import a_face, a_profile, connect, unit
from tests.support.doctor import Installation

pytestmark = pytest.mark.anyio


async def test_extreme_threshold_is_repaired(installation: Installation) -> None:
    await installation.run("update match_settings set threshold = 0.01")
    assert (await installation.check("search.threshold")).health is Health.FAIL

    assert (await installation.repair("search.threshold")).health is Health.OK
    assert await installation.run("select threshold from match_settings") == [(0.5,)]
    assert await installation.audit_log() == [{"check": "search.threshold", "threshold": 0.5}]


async def test_old_pgvector_fails(installation: Installation) -> None:
    await installation.run("update pg_extension set extversion = '0.7.4' where extname = 'vector'")

    found = await installation.check("search.vector")

    assert found.health is Health.FAIL
    assert found.fix == "alter extension vector update"


async def test_invalid_index_fails(installation: Installation) -> None:
    assert (await installation.check("search.indexes")).health is Health.OK
    await installation.run(
        "update pg_index set indisvalid = false where indrelid in"
        " (select relid from pg_partition_tree('face_index') where isleaf)"
    )

    assert (await installation.check("search.indexes")).health is Health.FAIL


async def test_wrong_rows_of_face_index_are_repaired(installation: Installation) -> None:
    with connect(installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))
        hidden = a_profile(conn)
        a_face(conn, hidden, unit(2))
        conn.execute("set session_replication_role = replica")
        conn.execute("delete from face_index where profile_id <> %s", [hidden])
        conn.execute("update profiles set discoverable = false where id = %s", [hidden])
    found = await installation.check("search.faces")
    assert found.health is Health.FAIL
    assert "2 people" in found.message

    assert (await installation.repair("search.faces")).health is Health.OK
    assert await installation.run("select count(*) from face_index") == [(1,)]


async def test_low_recall_fails(installation: Installation) -> None:
    await installation.run(
        "insert into automatch.search_audits (job_id, school, gender, expected, found)"
        " values (gen_random_uuid(), 'UIT', 'male', 20, 10)"
    )

    assert (await installation.check("search.recall")).health is Health.FAIL


async def test_large_group_without_an_index_is_a_warning(installation: Installation) -> None:
    await installation.run("update automatch.search_settings set index_from = 1, index_until = 1")
    with connect(installation.owner) as conn:
        a_face(conn, a_profile(conn), unit(1))

    assert (await installation.check("search.groups")).fix == "automatch tune --build"
