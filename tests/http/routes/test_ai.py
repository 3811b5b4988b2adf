"""`/ai/v1`: who may, what it answers, what it bears; alone and as a part of the whole server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import numpy as np
import pytest

from automatch.app import create_app
from automatch.auth.tokens import Tokens
from automatch.model.people import Role
from automatch.settings import Settings
from automatch.settings.server import UploadSettings
from automatch.settings.vision import AiSettings, VisionSettings
from automatch.vision import Embedder
from tests.support.ai import KEY, running_ai
from tests.support.embedder import FakeEmbedder
from tests.support.photos import (
    astronaut,
    blank_png,
    encode,
    hopper,
    scene_without_face,
    two_people,
    with_scans,
)
from tests.support.postgres import TestCluster
from tests.support.raw_http import BOUNDARY, form, part, upload_head, wire
from tests.support.system import System
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

_200_MB = 200 * 1024**2
_SETTINGS = Settings(vision=VisionSettings(threads=1))
_FACES, _BATCH = "/ai/v1/faces", "/ai/v1/faces/batch"


@pytest.fixture(scope="module")
async def ai(anyio_backend: str, embedder: Embedder) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_ai(_SETTINGS, embedder) as client:
        yield client


def _files(*photos: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{number}.jpg", photo)) for number, photo in enumerate(photos)]


async def _look(client: httpx2.AsyncClient, photo: bytes, **params: Any) -> dict[str, Any]:
    answer = await client.post(_FACES, files=_files(photo), params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _told(answer: httpx2.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_face_is_told_with_all_that_was_measured(ai: httpx2.AsyncClient) -> None:
    reply = await _look(ai, encode(astronaut()))

    assert (reply["model"], reply["dimensions"]) == ("dlib", 128)
    assert (reply["width"], reply["height"]) == (512, 512)
    assert reply["refusal"] is reply["copies"] is None
    assert set(reply["timings_ms"]) == {"decode", "detect", "embed"}
    [face] = reply["faces"]
    assert face["refusal"] is None
    assert len(face["landmarks"]) == 5
    assert face["confidence"] > reply["min_confidence"]
    assert {"face_side_px", "sharpness", "brightness", "yaw_degrees"} <= set(face["quality"])
    assert np.linalg.norm(face["embedding"]) == pytest.approx(1, abs=1e-5)
    box = face["box"]
    assert 0 < box["left"] < box["right"] < 512
    assert 0 < box["top"] < box["bottom"] < 512


async def test_every_face_is_told_and_why_the_photo_would_be_refused(
    ai: httpx2.AsyncClient,
) -> None:
    alone = [(await _look(ai, encode(one)))["faces"][0] for one in (astronaut(), hopper())]

    reply = await _look(ai, encode(two_people()))

    assert reply["refusal"]["code"] == "several_faces"
    sides = [face["quality"]["face_side_px"] for face in reply["faces"]]
    assert sides == sorted(sides, reverse=True)
    codes = [face["refusal"] and face["refusal"]["code"] for face in reply["faces"]]
    assert sorted(codes, key=str) == [None, None, "face_low_confidence"]
    found = [face for face in reply["faces"] if face["refusal"] is None]
    # Each is nearer to their own portrait than the two are to each other.
    likeness = np.array([[np.dot(a["embedding"], b["embedding"]) for b in alone] for a in found])
    assert sorted(likeness.argmax(axis=1)) == [0, 1]
    assert likeness.max(axis=1).min() > 0.95


async def test_each_face_has_its_own_refusal(ai: httpx2.AsyncClient) -> None:
    page = two_people()
    page.paste(page.crop((512, 0, 812, 352)).point(lambda value: value // 10), (512, 0))

    reply = await _look(ai, encode(page))

    # Whoever is large and certain enough is asked about, even in light too poor to be recognised.
    assert reply["refusal"]["code"] == "several_faces"
    codes = [face["refusal"] and face["refusal"]["code"] for face in reply["faces"]]
    assert codes.count(None) == 1
    assert "face_too_dark" in codes


async def test_a_photo_without_a_face_is_an_answer_and_no_error(ai: httpx2.AsyncClient) -> None:
    reply = await _look(ai, encode(scene_without_face()))

    assert reply["faces"] == []
    assert reply["refusal"]["code"] == "no_face"


async def test_copies_come_when_they_are_asked_for(ai: httpx2.AsyncClient) -> None:
    reply = await _look(ai, encode(astronaut()), copies="true")

    assert set(reply["copies"]) == {"full", "thumbnail"}


async def test_batch_answers_each_photo_or_its_error(ai: httpx2.AsyncClient) -> None:
    good = encode(astronaut())
    photos = [good, b"", encode(hopper(), "PNG"), good[:5000], encode(astronaut(), "GIF")]

    answer = await ai.post(_BATCH, files=_files(*photos))

    assert answer.status_code == 200
    outcomes = answer.json()["photos"]
    codes = [one["error"] and one["error"]["code"] for one in outcomes]
    assert codes == [None, "file_empty", None, "image_damaged", "image_type_unsupported"]
    single = await _look(ai, good)
    assert outcomes[0]["result"]["faces"] == single["faces"]
    assert all((one["result"] is None) != (one["error"] is None) for one in outcomes)


async def test_batch_is_bounded(embedder: Embedder, subtests: pytest.Subtests) -> None:
    small = _SETTINGS.model_copy(
        update={
            "ai": AiSettings(max_batch=2, max_batch_bytes=150_000),
            "upload": UploadSettings(max_bytes=60_000),
        }
    )
    photo = encode(astronaut().resize((300, 300)))
    async with running_ai(small, embedder) as client:
        with subtests.test("too many photos"):
            answer = await client.post(_BATCH, files=_files(photo, photo, photo))
            assert _told(answer) == (400, "too_many_files")
            assert "at most 2 photos" in answer.json()["error"]["message"]
        with subtests.test("too many bytes"):
            answer = await client.post(_BATCH, files=_files(bytes(100_000), bytes(100_000)))
            assert _told(answer) == (413, "body_too_large")
        with subtests.test("one of them too large"):
            answer = await client.post(_BATCH, files=_files(photo, bytes(70_000)))
            assert [one["error"] and one["error"]["code"] for one in answer.json()["photos"]] == [
                None,
                "body_too_large",
            ]
        with subtests.test("no photo"):
            answer = await client.post(_BATCH, data={"name": "x"}, files=[("other", b"x")])
            assert _told(answer) == (422, "file_missing")


async def test_bad_files_get_a_code_and_never_break_it(ai: httpx2.AsyncClient) -> None:
    photo = encode(astronaut())
    # tests/worker/test_bad_files.py has many more.
    files = {
        "nothing": b"",
        "noise": np.random.default_rng(1).bytes(100_000),
        "a GIF": encode(astronaut(), "GIF"),
        "half a photo": photo[: len(photo) // 2],
        "a JPEG of 1000 scans": with_scans(astronaut().resize((200, 200)), 1000),
        "a PNG of 13000 x 13000": blank_png(13_000, 13_000),
    }
    outcomes = {}
    for name, data in files.items():
        answer = await ai.post(_FACES, files=_files(data))
        outcomes[name] = answer.status_code
        assert set(answer.json()["error"]) == {"code", "message"}, name

    assert set(outcomes.values()) <= {413, 415, 422}, outcomes
    assert (await _look(ai, encode(astronaut())))["faces"]


async def test_whole_server_looks_for_the_service_key(server: System, cluster: TestCluster) -> None:
    key = Tokens(server.secrets.jwt_secret, server.settings.auth).issue_key(Role.SERVICE)
    headers = {"authorization": f"Bearer {key}"}

    answer = await server.client.post(_FACES, files=_files(encode(astronaut())), headers=headers)
    model = await server.client.get("/ai/v1/model", headers=headers)

    assert len(answer.json()["faces"]) == 1
    assert model.json() == {"model": "dlib", "dimensions": 128}
    described = (await server.client.get("/api/openapi.json")).json()["paths"]
    assert {_FACES, _BATCH, "/ai/v1/model"} <= set(described)
    assert "multipart/form-data" in described[_BATCH]["post"]["requestBody"]["content"]
    without = create_app(server.settings, server.secrets, with_ai=False).openapi()["paths"]
    assert not [path for path in without if path.startswith("/ai/")]


async def test_a_body_that_is_too_large_or_too_slow_is_cut_off(
    embedder: Embedder, subtests: pytest.Subtests
) -> None:
    settings = _SETTINGS.model_copy(
        update={"upload": UploadSettings(max_bytes=100_000, stall_timeout_s=3)}
    )
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    opening = part('name="file"; filename="a.jpg"', b"")[:-2]
    async with running_ai(settings, embedder) as client:
        with subtests.test("announced"):
            async with wire(_at(client)) as connection:
                await connection.send(upload_head(KEY, f"Content-Length: {_200_MB}", path=_FACES))
                answer = await connection.answer()
            assert (answer.status, answer.code) == (413, "body_too_large")
        with subtests.test("chunked"):
            async with wire(_at(client)) as connection:
                await connection.send(upload_head(KEY, "Transfer-Encoding: chunked", path=_FACES))
                await connection.send(f"{len(opening):x}\r\n".encode() + opening + b"\r\n")
                await connection.send(chunk * 3)
                answer = await connection.answer()
            assert (answer.status, answer.code) == (413, "body_too_large")
        with subtests.test("slow"):
            async with wire(_at(client)) as connection:
                await connection.send(upload_head(KEY, "Content-Length: 5000", path=_FACES))
                await connection.send(opening)
                answer = await connection.answer()
            assert (answer.status, answer.code) == (408, "body_timeout")


class _Held(FakeEmbedder):
    """Looks at a photo for as long as it is held."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()

    def embed(self, chips: np.ndarray) -> np.ndarray:
        # The first chip is the one that is tried when the analyzer opens.
        if chips.std() > 0:
            self.begun.set()
            assert self.release.wait(PATIENCE_S)
        return super().embed(chips)


async def test_requests_past_the_bound_are_told_when_to_come_back() -> None:
    held = _Held()
    bound = _SETTINGS.model_copy(update={"ai": AiSettings(max_requests=2)})
    photo = encode(astronaut())
    body = form(part('name="file"; filename="a.jpg"', photo))
    lines = f"Content-Length: {len(body)}", "Expect: 100-continue"
    async with running_ai(bound, held) as client, wire(_at(client)) as second:
        first = asyncio.create_task(client.post(_FACES, files=_files(photo)))
        assert await asyncio.to_thread(held.begun.wait, PATIENCE_S)
        await second.send(upload_head(KEY, *lines, path=_FACES))
        # What is asked for its body has a place.
        asked = await asyncio.wait_for(second.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        refused = await client.post(_FACES, files=_files(photo))
        async with wire(_at(client)) as slow:
            # A request over the limit is refused before its body is read.
            await slow.send(upload_head(KEY, f"Content-Length: {1000}", path=_FACES))
            early = await slow.answer()
        await second.send(body)
        held.release.set()
        answers = [(await first).status_code, (await second.answer()).status]
        after = await client.post(_FACES, files=_files(photo))

    assert _told(refused) == (503, "ai_busy")
    assert refused.headers["retry-after"] == "1"
    assert (early.status, early.code) == (503, "ai_busy")
    assert asked.startswith(b"HTTP/1.1 100 ")
    assert [*answers, after.status_code] == [200, 200, 200]


async def test_service_alone_is_nothing_else(
    ai: httpx2.AsyncClient, subtests: pytest.Subtests
) -> None:
    for path in ("/", "/sign-in", "/api/profile", "/static/app.css", "/x"):
        with subtests.test(path):
            assert _told(await ai.get(path)) == (404, "not_found")
    assert (await ai.get("/healthz")).json() == {"status": "ok"}
    assert (await ai.get("/readyz")).json() == {"status": "ready"}
    described = set((await ai.get("/api/openapi.json")).json()["paths"])
    assert described == {_FACES, _BATCH, "/ai/v1/model", "/healthz", "/readyz"}


async def test_form_without_end_is_refused(ai: httpx2.AsyncClient) -> None:
    body = form(part('name="file"; filename="a.jpg"', encode(astronaut())))[:-20]
    kind = f"multipart/form-data; boundary={BOUNDARY}"

    answer = await ai.post(_FACES, content=body, headers={"content-type": kind})

    assert _told(answer) == (400, "body_malformed")


def _at(client: httpx2.AsyncClient) -> System:
    """Return what `wire` connects to."""
    return System(str(client.base_url), *([None] * 4))  # type: ignore[arg-type]  # only the address
