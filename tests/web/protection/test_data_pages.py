"""The pages about one's own data: a copy, who saw the photos, and the two steps of leaving."""

from __future__ import annotations

import html
import io
import re
import zipfile

import pytest

from automatch.auth.receipts import Receipts
from automatch.settings.storage import RetentionSettings
from automatch.store.photos.photo_views import PhotoViewCounts
from automatch.web.protection.data_views import describe_views, list_retention
from tests.support.system import PASSWORD, System
from tests.web.test_pages import browser, onboard, sign_up, text_of

pytestmark = pytest.mark.anyio


async def test_page_tells_what_is_kept_and_gives_a_copy(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        assert 'href="/account/data"' in (await client.get("/profile")).text
        page = await client.get("/account/data")

        assert re.search(r"Who was shown which photo\s+3 months", text_of(page))
        copy = await client.get("/account/export")
        with zipfile.ZipFile(io.BytesIO(copy.content)) as archive:
            assert archive.namelist() == ["export.json"]


async def test_account_is_deleted_in_two_steps_and_leaves_a_receipt(server: System) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        step = await client.get("/account/delete")
        assert "Download everything" in text_of(step)
        skipped = await client.post("/account/delete/confirm", data={"confirmation": "x"})
        assert skipped.url.path == "/account/delete"
        wrong = await client.post("/account/delete", data={"password": "wrong"})
        assert (wrong.status_code, "isn't your password" in text_of(wrong)) == (400, True)
        asked = await client.post("/account/delete", data={"password": PASSWORD})
        assert "There's no going back" in text_of(asked)
        [confirmation] = re.findall(r'name="confirmation" value="([^"]+)"', asked.text)
        async with browser(server) as another:
            await sign_up(another, "another@example.org")
            stolen = await another.post(
                "/account/delete/confirm", data={"confirmation": confirmation}
            )
            assert stolen.url.path == "/account/delete"

        gone = await client.post("/account/delete/confirm", data={"confirmation": confirmation})

        assert "Your account is deleted" in text_of(gone)
        assert not client.cookies
        [receipt] = re.findall(r"<textarea[^>]*>([^<]+)</textarea>", gone.text)
        claims = Receipts(server.settings.home).verify(html.unescape(receipt))
        assert claims["destroyed"]["database"]["auth.users"] == 1
        file = await client.post("/account/receipt", data={"receipt": receipt})
        assert file.headers["content-disposition"].endswith('filename="erasure-receipt.jws"')
        assert file.text.strip() == receipt
        forged = await client.post("/account/receipt", data={"receipt": receipt[:-2]})
        assert forged.status_code == 422
        keys = (await server.client.get("/.well-known/jwks.json")).json()
        assert Receipts(server.settings.home).verify(receipt, keys) == claims


async def test_consent_is_withdrawn_on_a_page_of_its_own_that_offers_a_copy(
    server: System,
) -> None:
    async with browser(server) as client:
        await sign_up(client)
        await onboard(client)
        consent = await client.get("/profile/consent")
        assert "I agree that Auto-Match computes a face template" in text_of(consent)
        assert 'href="/consent/withdraw"' in consent.text
        page = await client.get("/consent/withdraw")
        assert 'href="/account/export"' in page.text
        withdrawn = await client.post("/consent/withdraw")

        assert "You've withdrawn your consent" in text_of(withdrawn)
        assert "Withdrawn on" in text_of(withdrawn)


def test_numbers_of_people_and_times_are_said_in_words() -> None:
    counts = [PhotoViewCounts(count, count, 0) for count in ("0", "1-2", "7")]
    assert [describe_views(count) for count in counts] == [
        ("Nobody was shown your photos in the last 7 days.", "In the last 30 days: nobody."),
        (
            "One or two people were shown your photos in the last 7 days.",
            "In the last 30 days: one or two.",
        ),
        (
            "7 people were shown your photos in the last 7 days.",
            "In the last 30 days: 7.",
        ),
    ]
    kept = {each.what: each.how_long for each in list_retention(RetentionSettings(), 30 * 86400)}
    assert kept["Your profile and photos"].startswith("until you delete them or stay away for 1 ")
    assert kept["Your matches"] == "as long as both photos exist"
    assert kept["Photos we couldn't use"] == "1 day"
    assert kept["Where you're signed in"] == "30 days after your last visit"
    assert kept["What operators did, and why"] == "2 years"
