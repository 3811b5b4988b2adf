"""The pages as an app: what is installed, kept in the browser, and sent compressed."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from automatch.web.templating import STATIC_FOLDER
from tests.support.system import System
from tests.web.test_pages import browser, onboard, sign_up

pytestmark = pytest.mark.anyio


async def test_manifest_names_icons_of_their_size(server: System) -> None:
    async with browser(server) as client:
        page = await client.get("/sign-in")
        manifest = (await client.get("/manifest.webmanifest")).json()
        icons = {icon["src"]: await client.get(icon["src"]) for icon in manifest["icons"]}

    assert '<link rel="manifest" href="/manifest.webmanifest">' in page.text
    assert manifest["start_url"] == "/feed"
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    for icon in manifest["icons"]:
        assert icons[icon["src"]].headers["content-type"] == icon["type"]
        with Image.open(STATIC_FOLDER / "icons" / icon["src"].rpartition("/")[2]) as image:
            assert f"{image.width}x{image.height}" == icon["sizes"]


async def test_service_worker_keeps_static_files_and_a_page_about_nobody(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        script = await client.get("/sw.js")
        found = re.match(r"const SHELL = (.+);\n", script.text)
        assert found
        shell = json.loads(found[1])
        kept = {path: await client.get(path) for path in [*shell["files"], shell["offline"]]}

    assert script.headers["content-type"].startswith("text/javascript")
    assert {answer.status_code for answer in kept.values()} == {200}
    assert all(path.startswith("/static/") for path in shell["files"])
    assert not [path for path in shell["files"] if "console" in path or "styleguide" in path]
    assert "linh@" not in kept[shell["offline"]].text
    assert "data-person" not in kept[shell["offline"]].text


async def test_text_is_compressed_and_photos_and_events_are_not(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        page = await client.get("/feed")
        style = await client.get(re.findall(r'href="(/static/[^"]+app\.css)"', page.text)[0])
        async with client.stream("GET", "/feed/stream") as events:
            first = await anext(events.aiter_text())

    assert page.headers["content-encoding"] == "gzip"
    assert style.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in events.headers
    assert first.startswith("retry:")


async def test_signing_out_has_the_browser_erase_what_it_keeps(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        answer = await client.post("/sign-out", follow_redirects=False)

    assert answer.headers["clear-site-data"] == '"cache", "storage"'
    ended = [cookie for cookie in answer.headers.get_list("set-cookie") if "Max-Age=0" in cookie]
    assert {cookie.partition("=")[0] for cookie in ended} == {
        "automatch_access",
        "automatch_refresh",
        "automatch_done",
    }
