"""Who may see a photo, and what the links to photos are worth."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from itsdangerous import URLSafeTimedSerializer
from itsdangerous.timed import TimestampSigner
from PIL import ImageOps

from automatch.settings import Settings
from automatch.vision import Embedder
from tests.attack.test_tokens import claims_of
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.system import Person, System, running_server, running_worker

pytestmark = pytest.mark.anyio


class _OldSigner(TimestampSigner):
    """Signs as our own does, some while ago."""

    def get_timestamp(self) -> int:
        return int(time.time()) - 301


async def two_who_match(system: System, school: str = "UIT") -> tuple[Person, Person]:
    her = await system.join("female", school=school)
    him = await system.join("male", school=school)
    await her.matched(encode(astronaut()))
    await him.matched(encode(ImageOps.mirror(astronaut())))
    return her, him


async def test_link_shows_the_photo_of_a_match_to_anyone_who_has_it(system: System) -> None:
    her, _ = await two_who_match(system)
    [match] = await her.feed()

    answer = await system.client.get(match["face"]["image_url"])

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content.startswith(b"\xff\xd8\xff")
    small = await system.client.get(match["face"]["image_url"] + "&size=thumb")
    assert len(small.content) < len(answer.content)
    assert small.headers["content-type"] == "image/webp"
    assert small.content.startswith(b"RIFF")
    whole = await system.client.get(
        match["face"]["image_url"], headers={"range": "bytes=" + "0-," * 3000 + "0-"}
    )
    assert (whole.status_code, whole.content) == (200, answer.content)


async def test_token_of_a_viewer_shows_own_photos_and_those_of_matches_only(
    system: System,
) -> None:
    her, him = await two_who_match(system)
    stranger = await system.join("male", school="HCMUS")
    [match] = await her.feed()
    theirs, own = match["face"]["id"], match["own_face_id"]

    assert (await her.get(f"/api/faces/{theirs}/image")).status_code == 200
    assert (await her.get(f"/api/faces/{own}/image")).status_code == 200
    assert (await him.get(f"/api/faces/{own}/image")).status_code == 200
    for face_id in (theirs, own):
        assert (await stranger.get(f"/api/faces/{face_id}/image")).status_code == 404


def viewer_of(person: Person) -> dict[str, str]:
    return {name: claims_of(person.token)[name] for name in ("sub", "session_id")}


async def test_altered_links_show_nothing(system: System, subtests: pytest.Subtests) -> None:
    her, _ = await two_who_match(system)
    [match] = await her.feed()
    url = match["face"]["image_url"]
    path = urlsplit(url).path
    [token] = parse_qs(urlsplit(url).query)["token"]
    other_path = f"/api/faces/{match['own_face_id']}/image"
    key = system.secrets.photo_key
    old = URLSafeTimedSerializer(key, salt="photo-link", signer=_OldSigner)
    stranger = viewer_of(await system.join("male", school="HCMUS"))
    viewer = viewer_of(her)
    fresh = URLSafeTimedSerializer(key, salt="photo-link")
    face_id = match["face"]["id"]
    assert (await system.client.get(path, params={"token": token})).status_code == 200
    for name, where, changed in [
        ("first letter", path, ("A" if token[0] != "A" else "B") + token[1:]),
        # "A" and "B" in the last place differ in bits that belong to no byte.
        ("last letter", path, token[:-1] + ("A" if token[-1] != "A" else "Q")),
        ("cut", path, token[:-3]),
        ("empty", path, ""),
        ("of another photo", other_path, token),
        (
            "of another purpose",
            path,
            URLSafeTimedSerializer(key, salt="x").dumps([face_id, viewer]),
        ),
        (
            "of another key",
            path,
            URLSafeTimedSerializer("x", salt="photo-link").dumps([face_id, viewer]),
        ),
        ("too old", path, old.dumps([face_id, viewer])),
        ("for someone who may not", path, fresh.dumps([face_id, stranger])),
        ("of another form", path, fresh.dumps("x")),
        ("of one part", path, fresh.dumps([face_id])),
        ("of no session", path, fresh.dumps([face_id, {"sub": her.id}])),
        ("of numbers", path, fresh.dumps([1, 2])),
        ("access token", path, her.token),
        ("words outside ASCII", path, "é\u2028"),
    ]:
        with subtests.test(name):
            answer = await system.client.get(where, params={"token": changed})
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "not_found"
    with subtests.test("no token"):
        assert (await system.client.get(path, params={"xtoken": token})).status_code == 401
    with subtests.test("token of a link as bearer"):
        answer = await system.client.get(path, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401


async def test_link_dies_with_the_match(system: System, subtests: pytest.Subtests) -> None:
    for reason in ("dismissed", "blocked", "withdrawn", "erased", "left"):
        # A school of their own keeps the pairs apart.
        her, him = await two_who_match(system, school=reason)
        [match] = await her.feed()
        url = match["face"]["image_url"]
        assert (await system.client.get(url)).status_code == 200

        method, path = {
            "dismissed": ("POST", f"/api/matches/{match['id']}/dismiss"),
            "blocked": ("POST", f"/api/profiles/{her.id}/block"),
            "withdrawn": ("DELETE", "/api/profile/consent"),
            "erased": ("DELETE", f"/api/faces/{match['face']['id']}"),
            "left": ("DELETE", "/api/profile"),
        }[reason]
        answer = await system.client.request(method, path, headers=him.headers)

        with subtests.test(reason):
            assert answer.status_code == 204
            assert (await system.client.get(url)).status_code == 404
            assert await her.feed() == []


async def test_photo_that_no_worker_has_seen_is_not_shown(server: System) -> None:
    her = await server.join()
    face_id = (await her.upload(encode(astronaut()))).json()["face"]["id"]

    assert (await her.get(f"/api/faces/{face_id}/image")).status_code == 404
    [face] = (await her.get("/api/faces")).json()["faces"]
    assert face["image_url"] is None


async def test_owner_learns_how_many_people_were_shown_a_photo(
    settings: Settings, cluster: TestCluster, database: Database, embedder: Embedder
) -> None:
    async with (
        running_server(settings, cluster.secrets, database) as system,
        running_worker(settings, cluster.secrets, embedder),
    ):
        her, him = await two_who_match(system)
        [match] = await him.feed()
        for _ in range(2):
            assert (await system.client.get(match["face"]["image_url"])).status_code == 200
        await her.get(f"/api/faces/{match['face']['id']}/image")
    with psycopg.connect(database.owner) as conn:
        rows = conn.execute("select viewer_id::text, full_size from automatch.photo_views")

        assert rows.fetchall() == [(him.id, True)]
