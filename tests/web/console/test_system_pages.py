"""The console's pages of jobs, threshold, models, duplicates, schedule and settings."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from automatch.model.operators import OperatorRole
from automatch.photos.make import make_photos
from automatch.services.operation.overview import Overview, load_overview
from automatch.web.console.jobs import stages_of
from tests.support.build import one
from tests.support.console import ConsoleSite, text_of

pytestmark = pytest.mark.anyio

PAGES = ("/admin", "/admin/jobs", "/admin/threshold", "/admin/models", "/admin/schedule")


@pytest.mark.parametrize("path", [*PAGES, "/admin/settings"])
async def test_viewer_looks_at_the_system_and_is_offered_no_act(
    console: ConsoleSite, path: str
) -> None:
    viewer = console.clerk(OperatorRole.VIEWER)
    page = await viewer.get(path)

    assert page.status_code == 200
    forms = set(re.findall(r'method="post" action="([^"]+)"', page.text))
    assert forms <= {"/sign-out", "/admin/checks", "/admin/threshold/figures"}
    assert console.audited(viewer) == []
    assert (await console.clerk(None).get(path)).status_code == 404


@pytest.mark.parametrize("path", [f"{path}" for path in PAGES if path != "/admin/schedule"])
async def test_page_with_figures_answers_with_its_live_part_alone(
    console: ConsoleSite, path: str
) -> None:
    part = await console.clerk(OperatorRole.VIEWER).get(path, headers={"hx-request": "true"})

    assert part.status_code == 200
    assert "<html" not in part.text


@pytest.mark.parametrize(
    ("lag_s", "words"),
    [(None, ()), (0.0, ("keeps up",)), (1800.0, ("30\u00a0min", "the primary answers"))],
)
async def test_overview_tells_how_far_the_replica_is_behind(
    console: ConsoleSite,
    monkeypatch: pytest.MonkeyPatch,
    lag_s: float | None,
    words: tuple[str, ...],
) -> None:
    async def with_replica(*arguments: Any, **options: Any) -> Overview:
        return replace(await load_overview(*arguments, **options), replica_lag_s=lag_s)

    monkeypatch.setattr("automatch.web.console.overview.load_overview", with_replica)
    page = await console.clerk(OperatorRole.VIEWER).get("/admin")

    _, title, told = page.text.partition("<dt>Replica</dt>")
    assert bool(title) is bool(words)
    assert all(word in told.partition("</div>")[0] for word in words)


def failed(console: ConsoleSite, code: str, message: str = "Why.") -> str:
    job = console.job(console.person())
    console.conn.execute(
        "update public.match_jobs set status = 'failed', error_code = %s, error_message = %s,"
        " scheduled = false, completed_at = now(), timings = %s where id = %s",
        [code, message, '{"claimed_ms": 30, "embedded_ms": 90, "decode_ms": 20}', job],
    )
    return str(job)


async def test_reason_of_a_failure_leads_from_the_overview_to_its_jobs(
    console: ConsoleSite,
) -> None:
    viewer = console.clerk(OperatorRole.VIEWER)
    person, system = failed(console, "no_face"), failed(console, "job_crashed")

    overview = await viewer.get("/admin?range=hour")
    halves = overview.text.split('id="cause-system"')
    [link] = re.findall(r'href="(/admin/jobs[^"]+code=job_crashed)"', halves[1])
    listed = await viewer.get(link.replace("&amp;", "&"))

    assert "code=no_face" in halves[0]
    assert "code=no_face" not in halves[1].partition("</section>")[0]
    assert (system in listed.text, person in listed.text) == (True, False)


async def test_jobs_are_found_by_school_and_person(console: ConsoleSite) -> None:
    viewer, email = console.clerk(OperatorRole.VIEWER), "found@example.org"
    mine = str(console.job(console.person(email)))
    other = failed(console, "no_face")

    for fields in (f"person={quote(email)}", "status=pending&school=UIT&person=" + quote(email)):
        page = await viewer.get(f"/admin/jobs?{fields}")
        assert (mine in page.text, other in page.text) == (True, False)
    unknown = await viewer.get("/admin/jobs?person=nobody")
    assert (unknown.status_code, "whole e-mail address" in text_of(unknown)) == (422, True)
    assert mine not in (await viewer.get("/admin/jobs?school=Nowhere")).text


async def test_older_jobs_come_after_the_last_one(console: ConsoleSite) -> None:
    viewer, she = console.clerk(OperatorRole.VIEWER), console.person()
    for _ in range(51):
        console.job(she)
    console.conn.execute(
        "update public.match_jobs as j set created_at = now() - n.place * interval '1 second' from"
        " (select id, row_number() over () as place from public.match_jobs where user_id = %s) as n"
        " where n.id = j.id",
        [she],
    )

    first = await viewer.get(f"/admin/jobs?person={she}")
    [older] = re.findall(r'href="([^"]+)" rel="next"', first.text)
    second = await viewer.get(older.replace("&amp;", "&"))

    counts = [page.text.count('data-title="Queued"') for page in (first, second)]
    assert counts == [50, 1]


async def test_job_shows_its_reason_and_the_time_of_each_stage(console: ConsoleSite) -> None:
    job = failed(console, "no_face", "No face was found.")
    page = text_of(await console.clerk(OperatorRole.VIEWER).get(f"/admin/jobs/{job}"))

    assert "No face was found." in page
    assert "Waiting 30 ms 33% Decoding 20 ms 22% Storing 40 ms 44%" in page


def test_stages_follow_each_other_to_the_screen() -> None:
    timings = {"claimed_ms": 10.0, "embedded_ms": 60, "decode_ms": 20, "detect_ms": 15}
    timings |= {"embed_ms": 5, "searched_ms": 70, "written_ms": 90, "delivered_ms": 100}

    assert stages_of(timings) == [
        ("Waiting", 10, 10),
        ("Decoding", 20, 20),
        ("Finding the face", 15, 15),
        ("Embedding", 5, 5),
        ("Storing", 10, 10),
        ("Searching", 10, 10),
        ("Publishing", 20, 20),
        ("Reaching the screen", 10, 10),
    ]
    assert stages_of({}) == []


async def test_retry_of_a_reason_says_how_many_first(console: ConsoleSite) -> None:
    clerk = console.clerk(OperatorRole.OPERATOR)
    jobs = [failed(console, "worker_lost") for _ in range(3)]

    asked = await clerk.get("/admin/jobs/retry?code=worker_lost")
    assert "searched for again: 3." in text_of(asked)
    await clerk.post("/admin/jobs/retry", code="worker_lost")

    statuses = "select distinct status from public.match_jobs where id = any (%s::uuid[])"
    assert one(console.conn, statuses, jobs) == "pending"


async def test_one_job_is_retried_and_another_try_says_why_not(console: ConsoleSite) -> None:
    clerk, job = console.clerk(OperatorRole.OPERATOR), failed(console, "job_crashed")
    done, again = [await clerk.post(f"/admin/jobs/{job}/retry") for _ in (1, 2)]

    assert (done.status_code, again.status_code) == (303, 422)
    assert "queued already" in text_of(again)


async def test_refreshing_part_of_a_job_offers_what_can_be_done_with_it_now(
    console: ConsoleSite,
) -> None:
    clerk, job = console.clerk(OperatorRole.OPERATOR), failed(console, "job_crashed")
    address, refresh = f"/admin/jobs/{job}", {"hx-request": "true"}

    ended = (await clerk.get(address, headers=refresh)).text
    assert (f"{address}/retry" in ended, f"{address}/cancel" in ended) == (True, False)
    done = await clerk.post(f"{address}/retry")
    waiting = (await clerk.get(address, headers=refresh)).text
    assert (f"{address}/retry" in waiting, f"{address}/cancel" in waiting) == (False, True)
    assert "Queued again." in text_of(await clerk.get(done.headers["location"]))


async def test_pause_is_told_at_once_at_the_top_of_the_jobs_and_at_each_that_waits(
    console: ConsoleSite,
) -> None:
    clerk, job = console.clerk(OperatorRole.OPERATOR), console.job(console.person())
    refresh = {"hx-request": "true"}

    paused = await clerk.post("/admin/queue/pause", all="yes")
    told = text_of(await clerk.get(paused.headers["location"]))
    part = (await clerk.get("/admin/jobs", headers=refresh)).text
    about_job = text_of(await clerk.get(f"/admin/jobs/{job}"))
    resumed = await clerk.post("/admin/queue/resume", all="yes")
    after = (await clerk.get("/admin/jobs", headers=refresh)).text

    assert "Paused: no more jobs are started." in told
    assert 'action="/admin/queue/resume"' in part.partition("<table")[0]
    assert "The queue is paused, so it waits." in about_job
    assert "The queue is paused" not in after
    assert "Resumed." in text_of(await clerk.get(resumed.headers["location"]))


async def test_threshold_tells_what_it_would_mean_before_it_is_set(console: ConsoleSite) -> None:
    clerk = console.clerk(OperatorRole.OPERATOR)
    while "Worked out" not in text_of(await clerk.get("/admin/threshold")):
        pass

    asked = text_of(await clerk.get("/admin/threshold/set?value=0.7"))
    searched = text_of(await clerk.get("/admin/threshold/set?value=0.7&rerun=1"))
    refused = await clerk.post("/admin/threshold/set", value="7")

    assert "at a similarity of at least 0.7" in asked
    assert "Nobody is searched for again" in asked
    assert "Everybody is searched for again" in searched
    assert refused.status_code == 422


async def test_photos_of_a_pair_are_shown_side_by_side_after_a_reason(
    console: ConsoleSite,
) -> None:
    clerk, she = console.clerk(OperatorRole.MODERATOR), console.person()
    face, pair = console.photo(she), console.pair(she)
    path = one(console.conn, "select image_path from public.faces where id = %s", face)
    await make_photos(console.system.settings).put_copies(path, full=b"a photo", thumb=b"b")

    before = await clerk.get(f"/admin/duplicates/{pair}")
    refused = await clerk.post(f"/admin/duplicates/{pair}/photos", reason=" ")
    shown = await clerk.post(f"/admin/duplicates/{pair}/photos", reason="Twins?")

    assert "<img" not in before.text.partition("<main")[2]
    assert (refused.status_code, "Give a reason" in text_of(refused)) == (422, True)
    assert "data:image/jpeg;base64,YSBwaG90bw==" in shown.text
    assert "No photo to look at." in text_of(shown)
    assert "data:" in shown.headers["content-security-policy"]
    assert "data:" not in before.headers["content-security-policy"]
    assert ("see_held_photo", she, "Twins?") in console.audited(clerk)


async def test_times_of_a_job_are_tried_before_they_are_set(console: ConsoleSite) -> None:
    clerk, name = console.clerk(OperatorRole.OPERATOR), console.scheduled()
    line = "select schedule from cron.job where jobname = %s"
    console.conn.execute("select cron.schedule('mine', '* * * * *', 'select f(''a secret'')')")

    tried = await clerk.post(f"/admin/schedule/{name}/times", schedule="0 4 * * *")
    assert "It would run next at" in text_of(tried)
    assert one(console.conn, line, name) == "* * * * *"
    refused = await clerk.post(f"/admin/schedule/{name}/times", schedule="soon", apply="yes")
    assert (refused.status_code, "is no schedule" in text_of(refused)) == (422, True)
    await clerk.post(f"/admin/schedule/{name}/times", schedule="0 4 * * *", apply="yes")

    assert one(console.conn, line, name) == "0 4 * * *"
    page = await clerk.get(f"/admin/schedule/{name}")
    assert "a secret" not in page.text
    assert "select f(" in page.text


async def test_value_that_a_setting_does_not_take_is_shown_at_its_field(
    console: ConsoleSite,
) -> None:
    clerk = console.clerk(OperatorRole.OPERATOR)
    refused = await clerk.post("/admin/settings/match_count", value="1000")
    changed = await clerk.post("/admin/settings/ef_search", value="500")

    assert refused.status_code == 422
    assert 'id="match_count-error"' in refused.text
    assert 'value="1000"' in refused.text
    assert "it was 400" in text_of(changed)
