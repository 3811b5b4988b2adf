"""`automatch verify`: passes on a healthy system, explains each failure, deletes its people."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx2
import numpy as np
import psycopg
import pytest
from PIL import Image

from automatch.auth.tokens import Tokens
from automatch.demo.portraits import read_similar_pair
from automatch.model.people import Role
from automatch.ops.smoke_test import criteria
from automatch.ops.smoke_test.criteria import Criterion, Outcome, Verdict, verify
from automatch.ops.smoke_test.live_server import LiveServer
from automatch.settings import Settings
from automatch.vision import Embedder
from automatch.vision.detect.hog_detector import HogDetector
from automatch.vision.detect.yunet_detector import YunetDetector
from tests.support.build import a_face, a_profile, record_consent, refused, unit
from tests.support.patience import patience
from tests.support.postgres import TestCluster
from tests.support.system import System, running_worker

pytestmark = pytest.mark.anyio

_YUNET = Path(__file__).parents[4] / "shared" / "models" / "face_detection_yunet_2023mar.onnx"


def _key(system: System, role: Role = Role.SERVICE) -> str:
    return Tokens(system.secrets.jwt_secret, system.settings.auth).issue_key(role)


async def _verified(
    system: System, *, within_s: float = 60, key: str | None = None, url: str | None = None
) -> dict[Criterion, Verdict]:
    verdicts: list[Verdict] = []
    async with httpx2.AsyncClient(base_url=url or system.url, timeout=60) as client:
        await verify(
            LiveServer(client, key or _key(system)),
            read_similar_pair(),
            verdicts.append,
            within_s=within_s,
        )
    assert len({verdict.criterion for verdict in verdicts}) == len(verdicts)
    return {verdict.criterion: verdict for verdict in verdicts}


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    with patience():
        yield


async def _leftovers(system: System) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        cursor = await conn.execute(
            "select name from profiles where simulated union all"
            " select school from automatch.smoke_test_runs union all"
            " select id::text from faces union all select id::text from match_jobs"
        )
        return await cursor.fetchall()


async def _run(system: System, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(system.database.owner) as conn:
        await conn.execute(statement)


async def test_every_criterion_is_met_on_a_healthy_system(system: System) -> None:
    verdicts = await _verified(system)

    assert {
        name: verdict.message
        for name, verdict in verdicts.items()
        if verdict.outcome is not Outcome.MET
    } == {}
    assert list(verdicts) == list(Criterion)
    assert verdicts[Criterion.LIVE].took_ms is not None
    assert await _leftovers(system) == []


async def test_smoke_test_passes_where_duplicates_do_not_match(system: System) -> None:
    await _run(system, "update match_settings set match_same_person = false")

    verdicts = await _verified(system)

    assert verdicts[Criterion.MATCHED].outcome is Outcome.MET, verdicts[Criterion.MATCHED].message


def test_people_of_a_smoke_test_are_no_duplicates(conn: psycopg.Connection) -> None:
    *_, her, him = conn.execute("select * from start_smoke_test()").fetchone()
    for person in (her, him):
        record_consent(conn, person, "granted")
        a_face(conn, person, unit(1))

    conn.execute("select detect_duplicates()")

    assert conn.execute("select * from list_suspected_duplicates()").fetchall() == []


async def test_real_people_are_not_matched_with_a_smoke_test(system: System) -> None:
    person = await system.join("male")
    # The same drawn face, so that only the school keeps them apart.
    await person.matched(read_similar_pair()[1])

    verdicts = await _verified(system)

    assert verdicts[Criterion.ELIGIBLE].outcome is Outcome.MET
    assert await person.feed() == []


def test_school_of_a_smoke_test_is_not_listed_and_cannot_be_joined(
    conn: psycopg.Connection,
) -> None:
    _, school, her, _ = conn.execute("select * from start_smoke_test()").fetchone()
    outsider = a_profile(conn, school="UIT")

    listed = conn.execute("select school from list_schools()").fetchall()
    assert listed == [("UIT",)]
    for person, new_school in ((outsider, school), (outsider, school.upper()), (her, "UIT")):
        with refused("input_invalid"), conn.transaction():
            conn.execute("update profiles set school = %s where id = %s", [new_school, person])
    conn.execute("update profiles set school = 'HCMUS' where id = %s", [outsider])


def test_interrupted_smoke_test_is_deleted_by_the_next(conn: psycopg.Connection) -> None:
    first, _, her, _ = conn.execute("select * from start_smoke_test()").fetchone()
    second, *_ = conn.execute("select * from start_smoke_test()").fetchone()
    running = conn.execute("select id from automatch.smoke_test_runs order by 1").fetchall()
    conn.execute(
        "update automatch.smoke_test_runs set started_at = started_at - interval '16 minutes'"
    )

    third, *_ = conn.execute("select * from start_smoke_test()").fetchone()

    assert running == sorted([(first,), (second,)])
    assert conn.execute("select id from automatch.smoke_test_runs").fetchall() == [(third,)]
    assert conn.execute("select from profiles where id = %s", [her]).fetchall() == []
    assert conn.execute("select count(*) from profiles where simulated").fetchone() == (2,)


def test_end_of_a_smoke_test_deletes_only_its_own_people(conn: psycopg.Connection) -> None:
    real = a_profile(conn, school="UIT")
    smoke_test, *_ = conn.execute("select * from start_smoke_test('cli:linh')").fetchone()

    ended = [conn.execute("select end_smoke_tests(%s)", [smoke_test]).fetchone() for _ in range(2)]

    assert ended == [(2,), (0,)]
    assert conn.execute("select id from profiles").fetchall() == [(real,)]
    acts = conn.execute("select actor, action from automatch.audit_log order by id").fetchall()
    assert [action for _, action in acts] == ["start_smoke_test", "end_smoke_test"]
    assert acts[0][0] == "cli:linh"


async def test_missing_worker_is_the_reason(server: System) -> None:
    verdicts = await _verified(server, within_s=0.3)

    assert verdicts[Criterion.ANSWERED].outcome is Outcome.MET
    assert verdicts[Criterion.PENDING].outcome is Outcome.MET
    assert verdicts[Criterion.COMPLETED].outcome is Outcome.NOT_MET
    assert "no worker claimed it" in verdicts[Criterion.COMPLETED].message
    assert verdicts[Criterion.LIVE].outcome is Outcome.NOT_TRIED
    assert verdicts[Criterion.CLEANED_UP].outcome is Outcome.MET
    assert await _leftovers(server) == []


async def test_late_answer_is_the_reason(server: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criteria, "_IMMEDIATE_MS", 0)

    verdicts = await _verified(server)

    assert verdicts[Criterion.ANSWERED].outcome is Outcome.NOT_MET
    assert "202, but only after" in verdicts[Criterion.ANSWERED].message
    assert await _leftovers(server) == []


async def test_paused_queue_is_the_reason(system: System) -> None:
    await _run(system, "select pause_match_jobs()")

    verdicts = await _verified(system, within_s=0.3)

    assert "the queue is paused" in verdicts[Criterion.COMPLETED].message


async def test_unreachable_threshold_is_the_reason(system: System) -> None:
    await _run(system, "update match_settings set threshold = 0.999999")

    verdicts = await _verified(system)

    assert verdicts[Criterion.COMPLETED].outcome is Outcome.MET
    assert verdicts[Criterion.MATCHED].outcome is Outcome.NOT_MET
    assert "threshold too high" in verdicts[Criterion.MATCHED].message
    assert await _leftovers(system) == []


async def test_refused_photo_is_the_reason(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> None:
    strict = settings.vision.model_copy(update={"hog_min_confidence": 9.0})
    worker = settings.model_copy(update={"vision": strict})
    async with running_worker(worker, cluster.secrets, embedder):
        verdicts = await _verified(server)

    assert verdicts[Criterion.COMPLETED].outcome is Outcome.NOT_MET
    assert "face_low_confidence" in verdicts[Criterion.COMPLETED].message


async def test_full_storage_is_the_reason(system: System) -> None:
    folder = system.settings.home / "photos"
    shutil.rmtree(folder)
    folder.write_text("")

    verdicts = await _verified(system)

    assert verdicts[Criterion.ANSWERED].outcome is Outcome.NOT_MET
    assert "answered with 5" in verdicts[Criterion.ANSWERED].message


@pytest.mark.parametrize(
    "stream",
    [
        "",
        "event: ready\ndata: {}\n\n",
        'event: ready\ndata: {}\n\nevent: job\ndata: {"status": "completed"}\n\n'
        f'event: match\ndata: {{"profile": {{"id": "{uuid4()}"}}}}\n\n',
    ],
    ids=["nothing", "only ready", "events of others"],
)
async def test_silent_feed_is_the_reason(
    system: System, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The feed alone is waited for in vain: the worker may take its time.
    for name in ("_wait_until_open", "_live"):
        wait = getattr(criteria, name)
        monkeypatch.setattr(
            criteria, name, lambda watching, told, _, wait=wait: wait(watching, told, 0.3)
        )
    async with _proxy_with_stream(system, stream) as url:
        verdicts = await _verified(system, url=url)

    assert verdicts[Criterion.COMPLETED].outcome is Outcome.MET
    assert verdicts[Criterion.LIVE].outcome is Outcome.NOT_MET
    assert await _leftovers(system) == []


@asynccontextmanager
async def _proxy_with_stream(system: System, stream: str) -> AsyncIterator[str]:
    """Give the address of a proxy whose live feed sends *stream* and then nothing."""
    port = int(system.url.rpartition(":")[2])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/api/matches/stream" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            writer.write(stream.encode())
            await writer.drain()
            await reader.read()
            writer.close()
            return
        near, there = await asyncio.open_connection("127.0.0.1", port)
        there.write(head.replace(b"keep-alive", b"close"))

        async def forward() -> None:
            while data := await reader.read(65536):
                there.write(data)

        forwarding = asyncio.create_task(forward())
        while data := await near.read(65536):
            writer.write(data)
        forwarding.cancel()
        writer.close()
        there.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("role", [Role.ANON])
async def test_wrong_key_is_the_reason(server: System, role: Role) -> None:
    verdicts = await _verified(server, key=_key(server, role))

    assert verdicts[Criterion.ANSWERED].outcome is Outcome.NOT_MET
    assert "service_role key" in verdicts[Criterion.ANSWERED].message
    assert Criterion.CLEANED_UP not in verdicts


async def test_unreachable_server_is_the_reason(server: System) -> None:
    verdicts = await _verified(server, url="http://127.0.0.1:1")

    assert "did not answer" in verdicts[Criterion.ANSWERED].message


async def test_cancelling_deletes_the_two_people(server: System) -> None:
    verdicts: list[Verdict] = []
    pending = asyncio.Event()

    def report(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if verdict.criterion is Criterion.PENDING:
            pending.set()

    async with httpx2.AsyncClient(base_url=server.url, timeout=60) as client:
        running = asyncio.create_task(
            verify(LiveServer(client, _key(server)), read_similar_pair(), report, within_s=60)
        )
        await pending.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert verdicts[-1].criterion is Criterion.CLEANED_UP
    assert verdicts[-1].outcome is Outcome.MET
    assert await _leftovers(server) == []


def test_drawn_faces_are_found_by_both_detectors() -> None:
    detectors = [HogDetector(640, 0.2)]
    if _YUNET.exists():
        detectors.append(YunetDetector(_YUNET, 640, 0.8))
    for photo in read_similar_pair():
        pixels = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
        for detector in detectors:
            confident = [
                face for face in detector.find(pixels) if face.confidence >= detector.min_confidence
            ]
            assert len(confident) == 1
