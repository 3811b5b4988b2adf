"""The pages as a browser without scripts uses them, and their security."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx2
import psycopg
import pytest
from PIL import ImageOps

from automatch.settings import Settings
from automatch.settings.server import UploadSettings
from tests.attack.test_tokens import claims_of, forge
from tests.support.matches import add_matches, add_own_face
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database, TestCluster
from tests.support.raw_http import head, traces, wire
from tests.support.system import PASSWORD, System, running_server

pytestmark = pytest.mark.anyio

FORM = {"name": "Linh", "school": "UIT", "gender": "female", "birth_date": "2000-02-29"}


@asynccontextmanager
async def browser(system: System) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a browser: it keeps cookies, follows redirects and sends the origin of a form."""
    async with httpx2.AsyncClient(
        base_url=system.url,
        follow_redirects=True,
        timeout=60,
        headers={
            "accept": "text/html,application/xhtml+xml,*/*;q=0.8",
            "origin": system.url,
            "sec-fetch-site": "same-origin",
        },
    ) as client:
        yield client


async def sign_up(client: httpx2.AsyncClient, email: str = "linh@example.org") -> httpx2.Response:
    return await client.post("/sign-up", data={"email": email, "password": PASSWORD})


async def onboard(client: httpx2.AsyncClient, **change: str) -> httpx2.Response:
    page = await client.get("/onboarding")
    found = re.search(r'name="consent" value="([^"]+)"', page.text)
    consent = {"consent": found[1]} if found else {}
    return await client.post("/onboarding", data=FORM | consent | change)


async def upload(client: httpx2.AsyncClient, data: bytes, **more: Any) -> httpx2.Response:
    feed = await client.get("/feed")
    [address] = re.findall(r'action="(/upload[^"]*)"', feed.text)
    return await client.post(address, files={"file": ("photo.jpg", data)}, **more)


def text_of(page: httpx2.Response) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page.text))


def cookies_of(answer: httpx2.Response) -> dict[str, dict[str, str]]:
    """Return the attributes of the cookies that an answer sets."""
    reply = {}
    for line in answer.headers.get_list("set-cookie"):
        first, *attributes = line.split("; ")
        name, _, value = first.partition("=")
        reply[name] = {"value": value} | {
            key.lower(): setting for key, _, setting in (pair.partition("=") for pair in attributes)
        }
    return reply


async def test_everything_works_without_scripts(system: System) -> None:
    him = await system.join("male", name="Minh")
    await him.matched(encode(ImageOps.mirror(astronaut())))
    async with browser(system) as client:
        assert 'href="/sign-up"' in (await client.get("/")).text
        welcome = await sign_up(client)
        assert welcome.url.path == "/onboarding"
        assert "Tell us about yourself" in welcome.text
        assert (await onboard(client)).url.path == "/feed"

        sent = await upload(client, encode(astronaut()))
        assert (sent.status_code, sent.url.path) == (200, "/feed")
        [job] = re.findall(r'data-job="([^"]+)"', sent.text)
        token = client.cookies["automatch_access"]
        her = type(him)(claims_of(token)["sub"], "", token, system.client)
        assert (await her.ended(job))["match_count"] == 1

        feed = await client.get("/feed")
        assert "Photo of Minh" in feed.text
        assert "95%+" in text_of(feed)
        for address in re.findall(r'src="(/photos/[^"]+)"', feed.text):
            picture = await client.get(html.unescape(address))
            assert picture.headers["content-type"] == "image/webp"
            assert picture.headers["cache-control"].startswith("private, max-age=60")
            kept = {"if-none-match": picture.headers["etag"]}
            again = await client.get(html.unescape(address), headers=kept)
            assert (again.status_code, again.content) == (304, b"")
        [dismiss] = re.findall(r'action="(/matches/[^"]+/dismiss)"', feed.text)
        assert "Photo of Minh" not in (await client.post(dismiss)).text
        photos = await client.get("/upload")
        assert photos.url.path == "/photos"
        [delete] = set(re.findall(r'action="(/faces/[^"]+/delete)"', photos.text))
        deleted = await client.post(delete)
        assert "Photo deleted." in deleted.text
        assert "data-job" not in deleted.text
        assert 'href="/consent/withdraw"' in (await client.get("/profile/consent")).text
        withdrawn = await client.post("/consent/withdraw")
        assert (withdrawn.url.path, withdrawn.status_code) == ("/profile/consent", 200)
        assert "You've withdrawn your consent" in text_of(withdrawn)
        assert "first agree to face matching" in (await client.get("/feed")).text
        assert (await client.post("/sign-out")).url.path == "/sign-in"
        assert (await client.get("/feed")).url.path == "/sign-in"
        # Whoever uses the browser next has the address, and what the browser knew of the photo.
        await sign_up(client, "quan@example.org")
        shown = await client.get(html.unescape(address), headers=kept)
        assert shown.status_code == 404


async def test_page_of_one_person_uploads_nothing_for_another(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        before = traces(server)

        sent = await client.post(
            f"/upload?person={uuid4()}", files={"file": ("photo.jpg", encode(astronaut()))}
        )

        assert sent.status_code == 403
        assert "signed in as someone else now" in sent.text
        assert traces(server) == before


async def test_session_is_in_http_only_cookies(server: System) -> None:
    async with browser(server) as client:
        answer = (await sign_up(client)).history[0]

    cookies = cookies_of(answer)
    assert set(cookies) == {"automatch_access", "automatch_refresh"}
    for cookie in cookies.values():
        assert "httponly" in cookie
        assert cookie["samesite"] == "Lax"
        assert cookie["path"] == "/"
        assert len(cookie["value"]) < 4000
        assert "secure" not in cookie


async def test_cookies_are_secure_behind_https(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    public = settings.model_copy(update={"public_url": "https://match.example.org"})
    async with running_server(public, cluster.secrets, database) as system:
        for origin in ("http://match.example.org", "https://match.example.org:8443"):
            answer = await system.client.post("/sign-up", data={}, headers={"origin": origin})
            assert answer.status_code == 403
        good = await system.client.post(
            "/sign-up",
            data={"email": "a@example.org", "password": PASSWORD},
            headers={"origin": "https://match.example.org"},
        )
        bad = await system.client.post("/sign-up", data={}, headers={"origin": system.url})

    assert good.status_code == 303
    assert good.headers["strict-transport-security"] == "max-age=31536000"
    assert all("secure" in cookie for cookie in cookies_of(good).values())
    assert bad.status_code == 403


async def test_form_of_another_site_is_refused(server: System, subtests: pytest.Subtests) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        own = server.url.removeprefix("http://")
        for name, headers in {
            "another host": {"origin": "http://evil.example"},
            "another port": {"origin": "http://127.0.0.1:1"},
            "another scheme": {"origin": f"https://{own}"},
            "no origin": {"origin": "null"},
            "our name in another": {"origin": f"http://{own}.evil.example"},
            "our name as a user": {"origin": f"http://{own}@evil.example"},
            "broken": {"origin": "http://["},
            "empty": {"origin": ""},
            "stated by the browser": {"origin": server.url, "sec-fetch-site": "cross-site"},
            "another port, stated": {"origin": server.url, "sec-fetch-site": "same-site"},
        }.items():
            for path in ("/consent/withdraw", "/sign-out", "/sign-in", "/upload"):
                with subtests.test(name, path=path):
                    answer = await client.post(path, headers=headers)
                    assert answer.status_code == 403
                    assert "set-cookie" not in answer.headers
        with subtests.test("looking is allowed"):
            link = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
            assert (await client.get("/feed", headers=link)).status_code == 200
        assert 'href="/consent/withdraw"' in (await client.get("/profile/consent")).text


async def test_session_is_renewed_when_the_access_token_has_expired(
    server: System, subtests: pytest.Subtests
) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        person = claims_of(client.cookies["automatch_access"])["sub"]

    async def sign_in() -> tuple[str, str]:
        """Return an access token that has expired and a refresh token, which is used only once."""
        async with browser(server) as client:
            await client.post("/sign-in", data={"email": "linh@example.org", "password": PASSWORD})
            claims = claims_of(client.cookies["automatch_access"])
            late = claims | {"exp": int(datetime.now(UTC).timestamp()) - 5}
            return forge(server.secrets.jwt_secret, late), client.cookies["automatch_refresh"]

    for name, cookie in {
        "gone": "automatch_refresh={refresh}",
        "run out just now": "automatch_access={late}; automatch_refresh={refresh}",
        "broken": "automatch_access=x; automatch_refresh={refresh}",
    }.items():
        with subtests.test(name, of="a page"):
            late, refresh = await sign_in()
            cookies = {"cookie": cookie.format(late=late, refresh=refresh)}
            page = await server.client.get("/feed", headers=cookies)
            assert page.status_code == 200
            new = cookies_of(page)
            assert new["automatch_refresh"]["value"] not in {"", refresh}
            assert claims_of(new["automatch_access"]["value"])["sub"] == person
        with subtests.test(name, of="the stream"):
            late, refresh = await sign_in()
            async with wire(server) as connection:
                sent = f"Cookie: {cookie.format(late=late, refresh=refresh)}"
                await connection.send(head("GET", "/feed/stream", sent))
                opening = (await connection.reader.readuntil(b"\r\n\r\n")).lower()
                await connection.reader.readuntil(b"event: ready")
            assert b"set-cookie: automatch_access=" in opening
    with subtests.test("late without refresh token"):
        answer = await server.client.get("/feed", headers={"cookie": f"automatch_access={late}"})
        assert answer.headers["location"] == "/sign-in"


async def test_cookies_of_an_ended_session_are_deleted(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        refresh = client.cookies["automatch_refresh"]
        access = client.cookies["automatch_access"]
        signed_out = await client.post("/sign-out")
        cookies = cookies_of(signed_out.history[0])
        assert {cookie["max-age"] for cookie in cookies.values()} == {"0"}

    for cookie in (f"automatch_refresh={refresh}", f"automatch_access={access}"):
        page = await server.client.get("/feed", headers={"cookie": cookie})

        assert page.headers["location"] == "/sign-in"
        assert {cookie["max-age"] for cookie in cookies_of(page).values()} == {"0"}


async def test_problems_are_shown_on_the_page(server: System, subtests: pytest.Subtests) -> None:
    async with browser(server) as client:
        for name, path, data, status, words in [
            ("wrong password", "/sign-in", {"email": "a@x.org", "password": "x"}, 400, "right."),
            ("nothing typed", "/sign-in", {}, 400, "right."),
            ("NUL", "/sign-in", {"email": "a\0", "password": "\0"}, 400, "right."),
            ("weak", "/sign-up", {"email": "a@x.org", "password": "x"}, 422, "at least 8"),
            (
                "common",
                "/sign-up",
                {"email": "a@x.org", "password": "Sunshine1"},
                422,
                "harder to guess",
            ),
            (
                "no address",
                "/sign-up",
                {"email": "a", "password": PASSWORD},
                422,
                "Enter an e-mail address",
            ),
        ]:
            with subtests.test(name):
                page = await client.post(path, data=data)
                assert page.status_code == status
                assert words in text_of(page)
                assert "<title>Problem: " in page.text
        await sign_up(client)
        for name, change, status, words in [
            ("under 18", {"birth_date": "2015-01-01"}, 403, "aged 18 and over"),
            ("no date", {"birth_date": "soon"}, 422, "Enter your birth date"),
            ("date as a number", {"birth_date": "946684800"}, 422, "Enter your birth date"),
            ("no name", {"name": " "}, 422, "Enter the name"),
            ("hidden name", {"name": "\u202e\u200b"}, 422, "Enter the name"),
            ("no school", {"school": ""}, 422, "Choose your school"),
            ("NUL", {"school": "a\0b"}, 422, "Choose your school"),
            ("no gender", {"gender": "x"}, 422, "Choose female"),
            ("old consent", {"consent": "1999-01"}, 409, "consent text has changed"),
        ]:
            with subtests.test(name):
                page = await onboard(client, **change)
                assert page.status_code == status
                assert words in text_of(page)
        assert (await client.get("/feed")).url.path == "/onboarding"
        unsaid = await onboard(client, consent="")
        assert "To add a photo, agree below." in text_of(unsaid)
        [version] = re.findall(r'name="consent" value="([^"]+)"', unsaid.text)
        await client.post("/profile/consent", data={"consent": version})
        for name, data, status, words in [
            ("empty", b"", 422, "file is empty"),
            ("text", b"x", 415, "photo we can read"),
            ("too large", b"x" * 16 * 1024**2, 413, "too large"),
        ]:
            with subtests.test(name):
                page = await upload(client, data)
                assert page.status_code == status
                assert words in text_of(page)
                assert "Add a photo" in page.text
        with subtests.test("sent before"):
            first, again = [await upload(client, encode(astronaut())) for _ in range(2)]
            assert "added this photo" not in text_of(first)
            assert "You've added this photo already." in text_of(again)
        with subtests.test("script"):
            answer = await upload(client, b"x", headers={"accept": "application/json"})
            assert answer.json()["error"]["code"] == "image_type_unsupported"
            taken = await upload(
                client, encode(astronaut(), "PNG"), headers={"accept": "application/json"}
            )
            assert (taken.status_code, taken.json()["job"]["status"]) == (202, "pending")
            assert taken.json()["message"] == "Photo added. We're looking."


async def test_malformed_forms_are_refused_with_a_page(
    server: System, subtests: pytest.Subtests
) -> None:
    for kind, body in [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        (
            "multipart/form-data; boundary=b; charset=undefined",
            b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\nx\r\n--b--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 2000)),
        ("application/x-www-form-urlencoded", b"%ff=%fe&email=%00"),
        ("text/plain", b"email=x"),
        ("application/json", b"{}"),
    ]:
        for path in ("/sign-in", "/sign-up"):
            with subtests.test(kind, path=path):
                answer = await server.client.post(
                    path, content=body, headers={"content-type": kind}
                )
                assert answer.status_code in {400, 422}
                assert answer.headers["content-type"] == "text/html; charset=utf-8"
    with subtests.test("too large"):
        answer = await server.client.post("/sign-in", data={"email": "x" * 100_000})
        assert answer.status_code == 413
        assert "too large" in answer.text


async def test_unknown_addresses_have_a_page(server: System, subtests: pytest.Subtests) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        for path in (
            "/nothing",
            "/feed/",
            "/photos/1",
            "/photos/00000000-0000-4000-8000-000000000000",
            "/feed?before=x",
            "/feed?before=0",
            f"/feed?before={'9' * 30}",
            "/%00",
            "/" + quote("é\u2028<script>alert(1)</script>"),
            "//evil.example",
        ):
            with subtests.test(path[:40]):
                page = await client.get(server.url + path)
                assert page.status_code == 404
                assert page.headers["content-type"] == "text/html; charset=utf-8"
                assert "There&#39;s nothing here" in page.text
                assert "<script>alert" not in page.text
        for method, path, allowed in [
            ("POST", "/feed", "GET"),
            ("DELETE", "/sign-in", "GET, POST"),
            ("HEAD", "/feed", "GET"),
        ]:
            with subtests.test(path, method=method):
                answer = await client.request(method, path)
                assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_what_people_type_is_escaped(server: System) -> None:
    evil = '"><img src=x onerror=alert(1)>{{ 7*7 }}'
    async with browser(server) as client:
        typed = await client.post("/sign-in", data={"email": evil, "password": "x"})
        await sign_up(client)
        await server.open_school(evil)
        await onboard(client, name=evil, school=evil)
        her = claims_of(client.cookies["automatch_access"])["sub"]
        own = await add_own_face(server.database, her)
        await add_matches(server.database, her, own, name=evil, school=evil)
        pages = [typed, await client.get("/feed"), await client.get("/profile/details")]
        async with wire(server) as connection:
            cookie = f"Cookie: automatch_access={client.cookies['automatch_access']}"
            await connection.send(head("GET", "/feed/stream?after=0", cookie))
            streamed = await connection.reader.readuntil(b"event: match")
            streamed += await connection.reader.readuntil(b"\n\n")

    for page in pages:
        assert "<img src=x" not in page.text
        assert evil in text_of(page) or html.escape(evil) in page.text or "&#34;" in page.text
        assert "49" not in re.findall(r"alert\(1\)&gt;(\S+)", page.text)
    assert b"<img src=x" not in streamed


async def test_every_page_has_the_content_security_policy(
    server: System, subtests: pytest.Subtests
) -> None:
    async with browser(server) as client:
        pages = [await client.get(path) for path in ("/sign-in", "/sign-up", "/nothing")]
        await sign_up(client)
        await onboard(client)
        pages += [await client.get(path) for path in ("/feed", "/profile")]
    for page in pages:
        with subtests.test(page.url.path):
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert page.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?![^>]*\b(?:src=|type=\"application/json\"))", page.text)
            assert not re.search(r"\son\w+=", page.text)


async def test_static_files_are_immutable_and_no_other_file_is_served(server: System) -> None:
    page = await server.client.get("/sign-in")
    style, *_ = re.findall(r'href="(/static/[^"]+\.css)"', page.text)
    folder = style.rpartition("/")[0]

    answer = await server.client.get(style)

    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/css")
    for path in ("/../views.py", "/%2e%2e/views.py", "/..%2fviews.py", "/nothing.css", "/"):
        assert (await server.client.get(folder + path)).status_code == 404
    assert (await server.client.get("/static/0/app.css")).status_code == 404


async def test_page_names_the_limit_when_a_photo_is_too_large(
    settings: Settings, cluster: TestCluster, database: Database
) -> None:
    small = settings.model_copy(update={"upload": UploadSettings(max_bytes=2 * 1024**2)})
    async with (
        running_server(small, cluster.secrets, database) as system,
        browser(system) as client,
    ):
        await sign_up(client)
        await onboard(client)
        assert "up to 2 MB" in (await client.get("/photos")).text
        assert (await upload(client, b"x" * 3 * 1024**2)).status_code == 413


async def test_session_of_a_deleted_account_redirects_to_sign_in(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        with psycopg.connect(server.database.owner) as conn:
            conn.execute("delete from auth.users")

        for path in ("/feed", "/onboarding"):
            assert (await client.get(path)).url.path == "/sign-in"
        answer = await client.post("/onboarding", content=urlencode(FORM))
        assert answer.url.path == "/sign-in"
