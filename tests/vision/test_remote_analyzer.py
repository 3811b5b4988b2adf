"""A worker that uses an AI service: found, lost, found again, never trusted blindly."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psycopg
import pytest

from automatch.errors import AutomatchError
from automatch.errors.embedder import AiUnavailableError, EmbeddingInvalidError
from automatch.errors.job import DecodeTimeoutError, JobCrashedError
from automatch.errors.photo import SeveralFacesError
from automatch.model.faces import FaceBox
from automatch.settings import Settings
from automatch.settings.vision import VisionSettings
from automatch.vision import Embedder, LocalAnalyzer
from automatch.worker_app import open_worker
from tests.support.ai import KEY, remote_analyzer, running_ai, using
from tests.support.command import running_server_command
from tests.support.embedder import FakeEmbedder
from tests.support.photos import astronaut, encode, hopper, portrait, scene_without_face, two_people
from tests.support.postgres import TestCluster
from tests.support.system import System, running_worker
from tests.support.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.anyio

_SETTINGS = Settings(vision=VisionSettings(threads=1))


async def test_photo_goes_from_upload_to_feed_by_a_service_elsewhere(
    server: System, settings: Settings, cluster: TestCluster, embedder: Embedder
) -> None:
    linh, minh = await server.join(), await server.join("male")
    async with running_ai(_SETTINGS, embedder) as ai:
        remote = using(str(ai.base_url), settings)
        async with running_worker(remote, cluster.secrets, FakeEmbedder()):
            first = await linh.matched(encode(astronaut()))
            matched = await minh.matched(encode(astronaut(), quality=90))
            refused = await minh.matched(encode(scene_without_face()))

    assert (first["status"], matched["status"], matched["match_count"]) == (
        "completed",
        "completed",
        1,
    )
    assert (refused["status"], refused["error"]["code"]) == ("failed", "no_face")
    assert len(await linh.feed()) == 1
    face = (await linh.get("/api/faces")).json()["faces"][0]
    assert face["quality"]["face_side_px"] > 60
    image = await linh.client.get(face["image_url"])
    assert image.headers["content-type"] == "image/jpeg"


async def test_key_of_the_project_is_enough_where_both_have_its_secrets(
    server: System, settings: Settings, cluster: TestCluster
) -> None:
    linh = await server.join()
    remote = using(server.url, settings).model_copy(update={"ai_key": None})
    async with running_worker(remote, cluster.secrets, FakeEmbedder()):
        job = await linh.matched(encode(astronaut()))

    assert job["status"] == "completed"


async def test_service_that_dies_and_comes_back_costs_no_attempt(
    server: System, settings: Settings, cluster: TestCluster, tmp_path: Path
) -> None:
    people = [await server.join() for _ in range(3)]
    env = {"AI_KEY": KEY, "LOG_JSON": "true"}
    alone = ("serve", "--only", "ai")
    with running_server_command(tmp_path / "ai", *alone, settings=env) as ai:
        port = int(ai.url.rpartition(":")[2])
        remote = using(ai.url, settings, connections=2)
        async with open_worker(remote, cluster.secrets) as worker:
            working = asyncio.create_task(worker.run())
            try:
                await people[0].matched(portrait(0))
                # Frozen, it dies with photos in hand.
                ai.process.send_signal(signal.SIGSTOP)
                queued = [
                    (person, (await person.upload(portrait(n))).json()["job"]["id"])
                    for n in range(1, 3)
                    for person in people
                ]
                await asyncio.to_thread(wait_until, partial(_in_hand, server), "a photo in hand")
                ai.process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(ai.process.wait)
                analyzer = worker._context.analyzer
                await asyncio.to_thread(
                    wait_until, lambda: not analyzer.is_ready, "the loss noticed"
                )
                # Uploads are accepted while no photo can be analyzed.
                queued.append(
                    (people[0], (await people[0].upload(portrait(9))).json()["job"]["id"])
                )
                with running_server_command(
                    tmp_path / "ai", *alone, port=port, settings=env
                ) as again:
                    assert again.url == ai.url
                    jobs = [await person.ended(job) for person, job in queued]
            finally:
                worker.stop()
                await working

    assert {job["status"] for job in jobs} == {"completed"}
    assert {job["attempts"] for job in jobs} == {1}
    assert not (tmp_path / "ai").exists(), "a machine with the key alone needs no secrets"


def _in_hand(server: System) -> bool:
    with psycopg.connect(server.database.owner) as conn:
        row = conn.execute("select 1 from match_jobs where status = 'processing' limit 1")
        return row.fetchone() is not None


async def test_worker_waits_for_a_service_that_is_not_there_and_stops_at_once(
    server: System, settings: Settings, cluster: TestCluster
) -> None:
    linh = await server.join()
    job = (await linh.upload(encode(astronaut()))).json()["job"]["id"]
    async with open_worker(using("http://127.0.0.1:9", settings), cluster.secrets) as worker:
        working = asyncio.create_task(worker.run())
        # It has tried by now: the lanes claim nothing before the analyzer is ready.
        with pytest.raises(AiUnavailableError):
            await worker._context.analyzer.extract(b"")
        worker.stop()
        async with asyncio.timeout(PATIENCE_S):
            await working

    with psycopg.connect(server.database.owner) as conn:
        row = conn.execute("select status, attempts from match_jobs where id = %s", [job])
        assert row.fetchone() == ("pending", 0)


async def test_embeddings_of_another_model_are_never_taken() -> None:
    async with (
        running_ai(_SETTINGS, FakeEmbedder()) as ai,
        remote_analyzer(str(ai.base_url), _SETTINGS, "dlib") as analyzer,
    ):
        analyzer._unavailable = False
        with pytest.raises(AiUnavailableError):
            await analyzer.extract(encode(astronaut()))

        assert not analyzer.is_ready
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(analyzer.ready(), 0.3)


async def test_photo_of_several_faces_asks_and_its_chosen_face_is_seen(embedder: Embedder) -> None:
    photo = encode(two_people())
    async with (
        LocalAnalyzer(_SETTINGS, embedder) as here,
        running_ai(_SETTINGS, embedder) as ai,
        remote_analyzer(str(ai.base_url), _SETTINGS) as elsewhere,
    ):
        await elsewhere.ready()
        asked = []
        for analyzer in (here, elsewhere):
            with pytest.raises(SeveralFacesError) as caught:
                await analyzer.extract(photo)
            asked.append((caught.value.boxes, caught.value.copies))
        assert asked[0] == asked[1]

        boxes = asked[0][0]
        for box in boxes:
            extractions = [
                await analyzer.extract(photo, FaceBox.of_corners(*box))
                for analyzer in (here, elsewhere)
            ]
            assert extractions[0].face.box == extractions[1].face.box
            np.testing.assert_array_equal(
                extractions[0].face.embedding, extractions[1].face.embedding
            )
            assert extractions[0].kept_jpeg == extractions[1].kept_jpeg != asked[0][1][0]
            assert extractions[0].thumbnail == extractions[1].thumbnail
            assert extractions[0].eyes == extractions[1].eyes is not None
        assert len(boxes) == 2


async def test_wrong_key_is_trouble_and_no_verdict_on_a_photo(embedder: Embedder) -> None:
    async with running_ai(_SETTINGS, embedder) as ai:
        analyzer = remote_analyzer(str(ai.base_url), _SETTINGS)
        analyzer._key = lambda: "x" * 40
        async with analyzer:
            analyzer._unavailable = False
            with pytest.raises(AiUnavailableError):
                await analyzer.extract(encode(hopper()))


class _Odd:
    """A service that answers each request with the next answer of a list."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes] | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        # Else the system would reset the connection, and drop the answer with it.
        await reader.readexactly(int(head.partition("content-length: ")[2].split("\r")[0]))
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            status, headers, body = answer
            lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def _odd(
    *answers: tuple[int, dict[str, str], bytes] | None,
) -> AsyncIterator[tuple[Any, Any]]:
    service = _Odd(*answers)
    server = await asyncio.start_server(service.answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, remote_analyzer(url, _SETTINGS, timeout_s=60) as analyzer:
        analyzer._unavailable = False
        yield analyzer, service


async def _real(embedder: Embedder) -> dict[str, Any]:
    async with running_ai(_SETTINGS, embedder) as ai:
        answer = await ai.post(
            "/ai/v1/faces", params={"copies": "true"}, files={"file": ("a", encode(astronaut()))}
        )
    return dict(answer.json())


def _error(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "Words."}}).encode()


async def test_a_busy_service_is_asked_again(embedder: Embedder) -> None:
    busy = (503, {"retry-after": "0"}, _error("ai_busy"))
    crowded = (503, {"retry-after": "0"}, _error("uploads_busy"))
    good = (200, {}, json.dumps(await _real(embedder)).encode())
    async with _odd(busy, crowded, good) as (analyzer, service):
        extraction = await analyzer.extract(encode(astronaut()))

    assert extraction.face.box.width > 60
    assert service.asked == 3


async def test_a_connection_that_breaks_is_tried_again(embedder: Embedder) -> None:
    async with _odd(None, None, (200, {}, json.dumps(await _real(embedder)).encode())) as (
        analyzer,
        _,
    ):
        await analyzer.extract(encode(astronaut()))

        assert analyzer.is_ready


async def test_a_photo_that_takes_the_service_down_each_time_is_held_to_be_the_reason() -> None:
    async with _odd(None) as (analyzer, _):
        with pytest.raises(AiUnavailableError):
            await analyzer.extract(b"poison")
        assert not analyzer.is_ready
        analyzer._unavailable = False

        with pytest.raises(JobCrashedError):
            await analyzer.extract(b"poison")
        with pytest.raises(AiUnavailableError):
            await analyzer.extract(b"another")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, _error("internal"), JobCrashedError),
        (503, _error("decode_timeout"), DecodeTimeoutError),
        (502, b"<html>Bad gateway</html>", AiUnavailableError),
        (503, b"", AiUnavailableError),
        (404, _error("not_found"), AiUnavailableError),
        (302, b"", AiUnavailableError),
        (200, b"<html>Hello</html>", AiUnavailableError),
        (200, b'{"model": "dlib", "dimensions": 128}', AiUnavailableError),
        (422, _error("unheard_of"), AiUnavailableError),
    ],
)
async def test_answers_that_are_none_are_trouble(
    status: int, body: bytes, kind: type[AutomatchError]
) -> None:
    async with _odd((status, {"location": "http://127.0.0.1:9/"}, body)) as (analyzer, service):
        with pytest.raises(kind):
            await analyzer.extract(b"photo")

    assert service.asked == 1


async def test_what_a_service_tells_is_not_believed_blindly(
    embedder: Embedder, subtests: pytest.Subtests
) -> None:
    real = await _real(embedder)
    face = real["faces"][0]
    page = {"full": "PGh0bWw+", "thumbnail": "PGh0bWw+"}
    lies: list[tuple[str, dict[str, Any], type[AutomatchError]]] = [
        ("too long", {"faces": [face | {"embedding": [1.0] * 128}]}, EmbeddingInvalidError),
        ("too few", {"faces": [face | {"embedding": [1.0]}]}, EmbeddingInvalidError),
        ("no numbers", {"faces": [face | {"embedding": ["NaN"] * 128}]}, EmbeddingInvalidError),
        ("no figures", {"faces": [face | {"quality": {}}]}, JobCrashedError),
        ("no copies", {"copies": None}, JobCrashedError),
        ("copies that are no photos", {"copies": page}, JobCrashedError),
        ("copies that are nothing", {"copies": page | {"full": "?"}}, JobCrashedError),
        ("no size", {"width": -1}, AiUnavailableError),
        ("another model", {"model": "other"}, AiUnavailableError),
    ]
    for name, lie, kind in lies:
        with subtests.test(name):
            async with _odd((200, {}, json.dumps(real | lie).encode())) as (analyzer, _):
                with pytest.raises(kind):
                    await analyzer.extract(b"photo")


async def test_certificate_of_the_service_is_checked(tmp_path: Path) -> None:
    settings = using("https://127.0.0.1:9", _SETTINGS)

    assert httpx2.URL(settings.ai_url or "").scheme == "https"
    with pytest.raises(ValueError, match="https://"):
        Settings(ai_url="http://ai.example.org")
    Settings(ai_url="http://[::1]:8000")
    Settings(ai_url="http://ai.example.org", ai={"allow_http": True})  # type: ignore[arg-type]
