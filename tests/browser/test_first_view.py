"""What a phone loads and draws first: few bytes, nothing that moves, a face on the first screen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, expect

from tests.browser.test_look_alikes import add_look_alikes, with_photo
from tests.support.browser import (
    Phones,
    in_whole_chromium,
    longer_timers,
    upload,
    write_photo,
)
from tests.support.photos import astronaut, shared_photo

_MOST_BYTES = 150_000
# The pictures of the look-alikes are those that a worker made of somebody's photos.
_REAL_PICTURES = """
    with real as (
        select f.image_path, row_number() over () as number
        from public.faces as f join public.profiles as p on p.id = f.profile_id
        where p.email = %s
    ),
    shown as (
        select f.id, row_number() over () as number
        from public.faces as f join public.profiles as p on p.id = f.profile_id
        where p.school = %s and p.email is null
    )
    update public.faces as f
    set image_path = real.image_path
    from shown, real
    where f.id = shown.id and real.number = 1 + shown.number %% (select count(*) from real)
"""
_NOTE_SHIFTS = """
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const { value, sources } of list.getEntries()) {
            for (const { node, previousRect, currentRect } of sources) {
                const name = node?.outerHTML?.slice(0, 80) ?? node?.textContent;
                const places = JSON.stringify([previousRect, currentRect]);
                window.shifts.push(`${value}: ${name} ${places}`);
            }
        }
    }).observe({ type: "layout-shift", buffered: true });
"""
# Chromium loads pictures up to 1,250 pixels ahead.
_IS_LOADED = """() => [...document.images].every((image) => image.complete
    || !image.checkVisibility() || image.getBoundingClientRect().top > innerHeight + 1000)
"""
_SLOW_3G = {"offline": False, "latency": 400, "downloadThroughput": 50e3, "uploadThroughput": 50e3}
_IS_PAINTED = "() => performance.getEntriesByName('first-contentful-paint').length > 0"
_ARE_STYLES_FIRST = """() => {
    const loaded = performance.getEntriesByType("resource");
    const photos = loaded.filter(({ name }) => name.includes("/photos/"));
    const styles = loaded.filter(({ name }) => name.endsWith(".css"));
    const isBefore = (style) => photos.every((photo) => style.startTime <= photo.startTime);
    return photos.length > 0 && styles.length > 0 && styles.every(isBefore);
}"""
_WATCH = """() => {
    window.said = [];
    for (const id of ["progress-text", "sent", "live"]) {
        const part = document.getElementById(id);
        const note = () => window.said.push(part.textContent);
        new MutationObserver(note).observe(part, { childList: true });
    }
}"""
# Writes a page tag by tag; returns what was at several places meanwhile, with its places.
_MOVED = """async (html) => {
    const drawn = () => new Promise(requestAnimationFrame);
    const [head, body] = html.replaceAll(/<script[^>]*><\\/script>/g, "").split(/(?=<body)/);
    const places = new Map();
    document.open();
    document.write(head);
    const styles = [...document.querySelectorAll("link[rel=stylesheet]")];
    while (!styles.every(({ sheet }) => sheet)) await drawn();
    for (const tag of body.split(/(?=<)/)) {
        document.write(tag);
        for (const part of document.body.querySelectorAll("*")) {
            const { x, y, width, height } = part.getBoundingClientRect();
            if (!width || !height || y > innerHeight || !part.checkVisibility()) continue;
            const place = `${Math.round(x)} ${Math.round(y)}`;
            places.set(part, (places.get(part) ?? new Set()).add(place));
        }
    }
    document.close();
    const moved = [...places].filter(([, found]) => found.size > 1);
    return moved.map(([part, found]) => [part.outerHTML.slice(0, 80), ...found]);
}"""
_PLACES = """() => [...document.querySelectorAll("h1, .action-bar, .foot")].map((part) => {
    const { x, y, width, height } = part.getBoundingClientRect();
    return [x, y + scrollY, width, height];
})"""
_LIKE_EACH_OTHER = """
    with pair as (
        select her.id as her_id, him.id as his_id
        from public.profiles as her join public.profiles as him on him.school = her.school
        where her.school = %s and her.email is not null and him.name = %s
    )
    insert into automatch.likes (profile_id, other_profile_id, mutual, told_at)
    select her_id, his_id, true, now() from pair
    union all
    select his_id, her_id, true, now() from pair
"""


@in_whole_chromium
def test_first_view_of_a_full_feed_is_small_stays_put_and_shows_a_face(
    phones: Phones, tmp_path: Path
) -> None:
    photos = {name: shared_photo(name) for name in ("obama_1.jpg", "obama_2.jpg")}
    person, other = with_photo(phones, tmp_path), phones.join("Nam", "Male")
    for name, photo in photos.items():
        (tmp_path / name).write_bytes(photo)
        upload(other, tmp_path / name)
    expect(other.locator("#jobs [data-status=completed]")).to_have_count(len(photos))
    add_look_alikes(phones, [f"Minh {number}" for number in range(25)])
    phones.execute(_REAL_PICTURES, phones.email("Nam"), phones.school)
    # Otherwise that page says that cards were seen.
    person.goto(f"{phones.url}/profile")

    for width, height in ((375, 812), (320, 568)):
        view = phones.again(
            person, viewport={"width": width, "height": height}, device_scale_factor=2
        )
        view.add_init_script(_NOTE_SHIFTS)
        sizes = note_sizes(view)
        view.goto(f"{phones.url}/feed")
        expect(view.locator("#live")).to_have_text("Live")
        view.wait_for_function(_IS_LOADED)

        face = view.locator("#cards .face").first.bounding_box()
        bar = view.locator(".nav").bounding_box()
        assert face
        assert bar
        assert face["y"] + face["height"] <= bar["y"]
        assert view.locator("#cards li").count() >= 20
        assert sum(sizes) <= _MOST_BYTES
        view.context.set_offline(True)
        expect(view.locator("#live")).to_have_text(re.compile("^Offline since"))
        assert view.evaluate("shifts") == []


def test_nothing_moves_while_a_page_arrives(phones: Phones, tmp_path: Path) -> None:
    person = with_photo(phones, tmp_path)
    add_look_alikes(phones, ["An", "Bao", "Chi"])
    person.reload()
    match, mutual = (
        person.get_by_role("link", name=name, exact=True).get_attribute("href")
        for name in ("Bao", "Chi")
    )
    phones.execute(_LIKE_EACH_OTHER, phones.school, "Chi")
    for width in (320, 375):
        view = phones.again(person, viewport={"width": width, "height": 640})
        for path in ("/feed", "/photos", match, mutual):
            page = person.request.get(f"{phones.url}{path}").text()
            view.goto(f"{phones.url}{path}")
            assert (path, view.evaluate(_MOVED, page)) == (path, [])


def test_nothing_moves_when_the_script_of_a_match_arrives(phones: Phones, tmp_path: Path) -> None:
    person = with_photo(phones, tmp_path)
    add_look_alikes(phones, ["An"])
    person.reload()
    match = person.get_by_role("link", name="An", exact=True).get_attribute("href")
    for width in (375, 1280):
        # A service worker answers out of what it keeps.
        size = {"width": width, "height": 640}
        view = phones.again(person, viewport=size, service_workers="block")
        tools = view.get_by_role("button", name="Side by side")
        view.route("**/match.js", lambda route: route.abort())
        view.goto(f"{phones.url}{match}")
        expect(tools).to_be_hidden()
        before = view.evaluate(_PLACES)
        view.unroute("**/match.js")
        view.reload()
        expect(tools).to_be_visible()
        assert view.evaluate(_PLACES) == before


def note_sizes(page: Page) -> list[int]:
    """Return the list to which the bytes of each answer to a page are added, headers included.

    Not of what is sent as time passes: that cards were seen, and whether one is still signed in.
    """
    sizes: list[int] = []
    later: set[str] = set()

    def on_request(sent: dict[str, Any]) -> None:
        if urlsplit(sent["request"]["url"]).path in {"/feed/seen", "/live"}:
            later.add(sent["requestId"])

    def on_end(end: dict[str, Any]) -> None:
        if end["requestId"] not in later:
            sizes.append(end["encodedDataLength"])

    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.requestWillBeSent", on_request)
    network.on("Network.loadingFinished", on_end)
    return sizes


def test_over_a_slow_connection_text_is_first_and_an_upload_says_how_far_it_is(
    phones: Phones, tmp_path: Path
) -> None:
    person = with_photo(phones, tmp_path)
    add_look_alikes(phones, ["An", "Bao"])
    view = phones.again(person)
    view.add_init_script(_NOTE_SHIFTS)
    # A busy machine may be silent for longer than a page waits.
    view.add_init_script(longer_timers(4_000))
    network = view.context.new_cdp_session(view)
    network.send("Network.emulateNetworkConditions", _SLOW_3G)
    photos: list[Route] = []

    def hold(photo: Route) -> None:
        photos.append(photo)

    view.route("**/photos/*", hold)

    # Painted without a photo, which is asked for after all that the text needs.
    view.goto(f"{phones.url}/feed", wait_until="commit")
    view.wait_for_function(_IS_PAINTED)
    for photo in photos:
        photo.continue_()
    view.unroute("**/photos/*")
    expect(view.locator("#live")).to_have_text("Live")
    view.wait_for_function(_IS_LOADED)
    assert view.evaluate(_ARE_STYLES_FIRST)
    assert view.evaluate("shifts") == []

    view.evaluate(_WATCH)
    upload(view, write_photo(tmp_path, "second", astronaut().resize((384, 384))))
    expect(view.locator("#jobs > li")).to_have_count(2)
    said = view.evaluate("said")
    percents = [int(word) for word in re.findall(r"Sending (\d+)%", " ".join(said))]
    assert len(percents) > 1
    assert percents == sorted(percents)
    assert "Sent, checking it" in said
    # It was connected all the time.
    assert not [text for text in said if re.match("Reconnecting|Offline", text)]
