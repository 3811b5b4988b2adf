"""`POST /api/faces`: what is taken, what is refused and with which words, and what is left then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import structlog
from psycopg import sql

from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.server import UploadSettings
from automatch.settings.storage import RetentionSettings
from tests.support.photos import (
    astronaut,
    blank_png,
    encode,
    hopper,
    scene_without_face,
    two_people,
    with_scans,
)
from tests.support.postgres import Database, TestCluster
from tests.support.raw_http import BOUNDARY, form, part, post_form, traces, upload_head, wire
from tests.support.system import Person, System, running_server
from tests.support.tiled_heic import tiled_heic
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

FILE = 'name="file"; filename="photo.jpg"'
MESSAGE = "Photo uploaded! Matches generating in background..."


def photo() -> bytes:
    return encode(astronaut())


async def refused(system: System, person: Person, body: bytes, **more: Any) -> tuple[int, str]:
    """Upload a body that must leave nothing, and tell why it was refused."""
    before = traces(system)
    status, reply = await post_form(system, person.token, body, **more)
    assert traces(system) == before
    assert set(reply) == {"error"}
    assert set(reply["error"]) == {"code", "message"}
    return status, reply["error"]["code"]


@asynccontextmanager
async def away(cluster: TestCluster, database: Database) -> AsyncIterator[None]:
    """Keep everyone out of a database for a while."""
    name = psycopg.conninfo.conninfo_to_dict(database.owner)["dbname"]
    assert isinstance(name, str)
    with psycopg.connect(cluster.address.owner, autocommit=True) as conn:
        doors = sql.SQL("alter database {} with allow_connections {}")
        conn.execute(doors.format(sql.Identifier(name), sql.Literal(False)))
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
        )
        try:
            yield
        finally:
            conn.execute(doors.format(sql.Identifier(name), sql.Literal(True)))


async def test_answer_is_the_one_of_the_guide(server: System) -> None:
    person = await server.join()

    answer = await person.upload(photo())

    reply = answer.json()
    assert answer.status_code == 202
    assert reply == {
        "face": {"id": reply["face"]["id"]},
        "job": {"id": reply["job"]["id"], "status": "pending"},
        "message": MESSAGE,
    }
    job = (await person.get(f"/api/jobs/{reply['job']['id']}")).json()["job"]
    assert (job["status"], job["face_id"]) == ("pending", reply["face"]["id"])


async def test_without_consent_or_profile_no_photo_is_taken(server: System) -> None:
    body = form(part(FILE, photo()))
    stranger = await server.sign_up()
    silent = await server.join(consent=False)
    hasty = await server.sign_up()
    text = (await hasty.get("/api/profile/consent")).json()
    await server.client.put(
        "/api/profile/consent",
        headers=hasty.headers,
        json={"version": text["version"], "granted": True},
    )

    assert await refused(server, stranger, body) == (403, "consent_required")
    assert await refused(server, silent, body) == (403, "consent_required")
    assert await refused(server, hasty, body) == (403, "profile_incomplete")


async def test_withdrawn_consent_takes_no_photo_any_more(server: System) -> None:
    person = await server.join()
    await person.upload(photo())

    await server.client.delete("/api/profile/consent", headers=person.headers)

    body = form(part(FILE, encode(hopper())))
    assert await refused(server, person, body) == (403, "consent_required")
    assert (await person.get("/api/faces")).json() == {"faces": []}
    assert (await person.get("/api/jobs")).json() == {"jobs": []}


async def test_bodies_that_are_not_one_photo_leave_nothing(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.join()
    one = part(FILE, photo())
    text = part('name="file"', photo()[:5000])
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    missing, malformed = (422, "file_missing"), (400, "body_malformed")
    too_many = 400, "too_many_fields"
    for name, body, sent_as, expected in [
        ("two files", form(one, part('name="more"; filename="b.jpg"', b"x")), kind, None),
        ("file twice", form(one, one), kind, None),
        ("a hundred files", form(*[part(FILE, b"x")] * 100), kind, None),
        ("file, then text of its name", form(one, text), kind, None),
        ("file under another name", form(part('name="photo"; filename="a"', b"x")), kind, missing),
        ("no part", form(), kind, missing),
        ("nothing", b"", kind, malformed),
        ("JSON", b'{"file": "x"}', "application/json", missing),
        ("a form without parts", b"file=x", "application/x-www-form-urlencoded", missing),
        ("no boundary", form(one), "multipart/form-data", malformed),
        ("empty boundary", form(one), "multipart/form-data; boundary=", malformed),
        ("endless boundary", form(one), f"multipart/form-data; boundary={'x' * 500}", malformed),
        ("charset that decodes nothing", form(one), f"{kind}; charset=undefined", malformed),
        ("1001 fields", form(*[part('name="a"', b"x")] * 1001, one), kind, too_many),
        ("no end", form(one)[: -len(BOUNDARY) - 6], kind, malformed),
        ("cut in the photo", form(one)[:5000], kind, malformed),
        ("cut in a header", form(one)[:40], kind, malformed),
        ("words before it", b"xx" + form(one), kind, malformed),
        ("part without a name", form(part('filename="a.jpg"', b"x")), kind, malformed),
        ("part without a header", f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + form(), kind, malformed),
        ("endless header", form(part(FILE, b"x", "X: " + "y" * 20_000)), kind, malformed),
        ("many headers", form(part(FILE, b"x", *["X: y"] * 100)), kind, malformed),
    ]:
        with subtests.test(name):
            assert await refused(server, person, body, kind=sent_as) == (
                expected or (400, "too_many_files")
            )
    assert (await person.upload(photo())).status_code == 202


async def test_files_that_are_no_usable_photo_leave_nothing(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.join()
    type_unsupported = (415, "image_type_unsupported")
    for name, data, expected in [
        ("empty", b"", (422, "file_empty")),
        ("text", b"Hello, I am a photo.", type_unsupported),
        ("GIF", encode(astronaut(), "GIF"), type_unsupported),
        ("BMP", encode(astronaut().resize((200, 200)), "BMP"), type_unsupported),
        ("TIFF", encode(astronaut().resize((200, 200)), "TIFF"), type_unsupported),
        ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', type_unsupported),
        ("PDF", b"%PDF-1.7\n" + b"x" * 500, type_unsupported),
        ("EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n" + b"x" * 500, type_unsupported),
        ("film", b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + b"x" * 500, type_unsupported),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"x" * 500, (422, "image_damaged")),
        ("AVIF", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + b"x" * 500, (422, "image_damaged")),
        ("ZIP", b"PK\x03\x04" + b"x" * 500, type_unsupported),
        ("13000 x 13000", blank_png(13000, 13000), (422, "image_too_large_pixels")),
        ("1 x 1", blank_png(1, 1), (422, "image_too_small")),
        ("65500 x 1", blank_png(65500, 1), (422, "image_too_small")),
        ("tall", blank_png(200, 2000), (422, "image_bad_shape")),
        ("0 x 0", blank_png(0, 0), (422, "image_damaged")),
        (
            "1000 scans",
            with_scans(astronaut().resize((200, 200)), 1000),
            (422, "image_too_complex"),
        ),
        ("three bytes of JPEG", b"\xff\xd8\xff", (422, "image_damaged")),
        ("header of PNG", b"\x89PNG\r\n\x1a\n", (422, "image_damaged")),
        ("header of WebP", b"RIFF\0\0\0\0WEBP", (422, "image_damaged")),
    ]:
        with subtests.test(name):
            assert await refused(server, person, form(part(FILE, data))) == expected
    assert (await person.upload(photo())).status_code == 202


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO", "HEIF", "AVIF"])
async def test_type_is_read_from_the_bytes_alone(server: System, kind: str) -> None:
    person = await server.join()
    lines = "Content-Type: text/html", "Content-Transfer-Encoding: base64"
    body = form(part('name="file"; filename="photo.php"', encode(astronaut(), kind), *lines))

    assert (await post_form(server, person.token, body))[0] == 202


async def test_name_of_a_file_is_never_used(server: System, subtests: pytest.Subtests) -> None:
    person = await server.join()
    outside = server.settings.home.parent
    for number, name in enumerate(
        [
            b"../../etc/passwd",
            b"..\\..\\x",
            b"/etc/passwd",
            b"a\0b.jpg",
            b"x" * 4000,
            "\u202egpj.exe".encode(),
            b"<img src=x onerror=alert(1)>.jpg",
            b"\xff\xfe",
            b"",
            b"CON",
        ]
    ):
        with subtests.test(ascii(name[:20])):
            data = encode(astronaut().rotate(number))
            disposition = b'name="file"; filename="' + name + b'"'
            status, reply = await post_form(server, person.token, form(part(disposition, data)))
            assert status == 202
            face = reply["face"]["id"]
            kept = server.settings.home / "photos/uploads" / face[:2] / f"{face}.upload"
            assert kept.read_bytes() == data
            assert kept.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in outside.iterdir()} == {"home"}


async def test_photo_is_taken_whatever_its_part_says_of_a_file_name(
    server: System, subtests: pytest.Subtests
) -> None:
    person = await server.join()
    for number, (disposition, *lines) in enumerate(
        [
            ("name=\"file\"; filename*=utf-8''%E1%BA%A3nh.jpg",),
            ('name="file"; filename*0="a"; filename*1=".jpg"',),
            ("name=\"file\"; filename*=klingon''%ff",),
            ('name="file"', "Content-Type: image/jpeg"),
            ('name="file"', "Content-Type: text/plain; charset=utf-8"),
            ('name="file"',),
            ("name=file; filename=a.jpg",),
            ('NAME="file"; FILENAME=""',),
        ]
    ):
        with subtests.test(disposition, lines=lines):
            data = encode(astronaut().rotate(number))
            body = form(part(disposition, data, *lines))
            status, reply = await post_form(server, person.token, body)
            assert status == 202
            face = reply["face"]["id"]
            kept = server.settings.home / "photos/uploads" / face[:2] / f"{face}.upload"
            assert kept.read_bytes() == data


async def test_other_fields_of_the_form_change_nothing(server: System) -> None:
    person, other = await server.join(), await server.join()
    fields = {
        "user_id": other.id,
        "profile_id": other.id,
        "status": "completed",
        "role": "service_role",
        "embedding": "[1]",
        "face_id": other.id,
        **{f"field{number}": "x" for number in range(50)},
    }
    parts = [part(f'name="{name}"', value.encode()) for name, value in fields.items()]

    status, reply = await post_form(server, person.token, form(*parts, part(FILE, photo())))

    assert status == 202
    assert reply["job"]["status"] == "pending"
    assert [face["id"] for face in (await person.get("/api/faces")).json()["faces"]] == [
        reply["face"]["id"]
    ]
    assert (await other.get("/api/faces")).json() == {"faces": []}


async def test_first_photo_that_costs_much_to_decode_waits_like_a_second_one(
    server: System,
) -> None:
    priorities = []
    # Of the second the header alone is true; nobody decodes it here.
    for data in (photo(), tiled_heic(512, 14, (7000, 7000))):
        person = await server.join()
        told = (await person.upload(data)).json()
        with psycopg.connect(server.database.owner) as conn:
            query = "select priority from public.match_jobs where id = %s"
            priorities += conn.execute(query, [told["job"]["id"]]).fetchone() or ()

    assert priorities == [1, 2]


async def test_full_disk_takes_no_photo_and_says_when_to_come_back(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    full = settings.model_copy(update={"retention": RetentionSettings(min_free_mb=10**9)})
    async with running_server(full, cluster.secrets, database) as system:
        person = await system.join()
        before = traces(system)

        answer = await person.upload(photo())

        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_full")
        assert answer.json()["error"]["message"] == (
            "The server has no room, so nothing was kept; its operator has to make some. Try later."
        )
        assert int(answer.headers["retry-after"]) > 0
        assert traces(system) == before
        assert (await person.get("/api/profile")).status_code == 200


async def test_database_that_is_away_is_said_to_be_and_comes_back(
    settings: Settings, cluster: TestCluster, database: Database, subtests: pytest.Subtests
) -> None:
    impatient = settings.model_copy(update={"pool": PoolSettings(timeout_s=2)})
    async with running_server(impatient, cluster.secrets, database) as system:
        person = await system.join()
        before = traces(system)

        async with away(cluster, database):
            for method, path in [
                ("POST", "/api/faces"),
                ("GET", "/api/matches"),
                ("GET", "/api/matches/stream"),
                ("GET", "/auth/v1/user"),
                ("GET", "/readyz"),
            ]:
                with subtests.test(path, method=method):
                    answer = await system.client.request(method, path, headers=person.headers)
                    assert answer.status_code == 503
                    assert answer.json()["error"]["code"] == "db_unavailable"
                    assert int(answer.headers["retry-after"]) > 0
            cookies = {"cookie": f"automatch_access={person.token}"}
            page = await system.client.get("/feed", headers=cookies)
            assert page.status_code == 503
            assert page.headers["retry-after"]
            assert "very busy right now" in page.text
            assert (await system.client.get("/healthz")).status_code == 200

        assert traces(system) == before
        assert (await _until_taken(person)).status_code == 202


async def test_limit_of_the_body_is_a_setting(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    small = settings.model_copy(update={"upload": UploadSettings(max_bytes=20_000)})
    async with running_server(small, cluster.secrets, database) as system:
        person = await system.join()
        fits = encode(astronaut().resize((200, 200)), quality=50)
        assert len(fits) < 19_000 < len(photo())

        assert await refused(system, person, form(part(FILE, photo()))) == (413, "body_too_large")
        assert (await person.upload(fits)).status_code == 202


async def test_photo_that_fails_in_the_worker_says_why_and_the_next_one_works(
    system: System, subtests: pytest.Subtests
) -> None:
    person = await system.join()
    for name, data, code in [
        ("no face", encode(scene_without_face()), "no_face"),
        ("two faces", encode(two_people()), "several_faces"),
        ("truncated", photo()[: len(photo()) // 2], "image_damaged"),
    ]:
        with subtests.test(name):
            job = await person.matched(data)
            assert (job["status"], job["error"]["code"]) == ("failed", code)
            assert job["error"]["message"].endswith(".")
            assert job["match_count"] is None
            assert (await person.feed()) == []

    assert (await person.matched(photo()))["status"] == "completed"


async def test_client_that_leaves_in_the_middle_leaves_nothing(server: System) -> None:
    person = await server.join()
    before = traces(server)
    body = form(part(FILE, photo()))
    with structlog.testing.capture_logs() as logs:
        for cut in (0, 10, 200, len(body) // 2, len(body) - 1):
            async with wire(server) as connection:
                await connection.send(upload_head(person.token, f"Content-Length: {len(body)}"))
                await connection.send(body[:cut])

        # Answered behind them, by a server that has dealt with them.
        assert (await person.upload(encode(hopper()))).status_code == 202
    after = traces(server)
    assert [new - old for new, old in zip(after.rows, before.rows, strict=True)] == [0, 1, 1, 0]
    assert len(after.photos) == 1
    assert after.temporary == before.temporary
    assert logs == []


async def _until_taken(person: Person) -> Any:
    """Upload until the pool has noticed that its database is back."""
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await person.upload(photo())).status_code == 503:
            pass
    return answer
