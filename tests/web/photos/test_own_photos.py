"""The person's own photos: what became of each, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from jinja2 import Environment

from automatch.errors.photo import PhotoRejectedError
from automatch.language.catalogue import speaking
from automatch.model.faces import FaceBox
from automatch.model.jobs import JobStatus, RefusedPhoto, Upload
from automatch.web.photo_reasons import REFUSALS
from automatch.web.photos.own_photos import (
    JobItem,
    PhotosPage,
    describe_upload,
    newest_jobs,
    render_job,
    render_strip_photo,
)
from automatch.web.templating import Problem, build_templates, render_page
from tests.support.pages import A_JOB, NOON, a_job, an_id, text_of


@pytest.fixture(scope="module")
def templates() -> Environment:
    return build_templates()


@pytest.mark.parametrize(
    ("values", "headline"),
    [
        ({"status": JobStatus.PENDING, "attempts": 0}, "Waiting for its turn"),
        ({"status": JobStatus.PENDING, "attempts": 2}, "Trying again soon"),
        ({"status": JobStatus.PROCESSING}, "Looking for look-alikes"),
        ({"match_count": 0}, "No look-alikes yet"),
        ({"match_count": 1}, "1 look-alike found"),
        ({"match_count": 20}, "20 look-alikes found"),
        ({"status": JobStatus.FAILED, "error_code": "no_face"}, "No face found"),
        ({"status": JobStatus.FAILED, "error_code": "face_blurred"}, "Blurry"),
        ({"status": JobStatus.FAILED, "error_code": "job_crashed"}, "This photo wasn't matched"),
    ],
)
def test_job_says_where_it_is(templates: Environment, values: Any, headline: str) -> None:
    job = a_job(**values)

    assert headline in text_of(render_job(templates, job))
    assert bool(job.announcement) == job.status.is_final


@pytest.mark.parametrize(
    ("language", "code", "told"),
    [
        ("en", None, "You've added this photo already."),
        ("en", "face_blurred", "already. Blurry. Hold the phone still"),
        ("vi", None, "Bạn đã thêm ảnh này rồi."),
        ("vi", "several_faces", "Bạn đã thêm ảnh này rồi. Nhiều hơn một khuôn mặt."),
    ],
)
def test_photo_that_was_sent_before_is_told_of_in_the_words_of_the_page(
    language: str, code: str | None, told: str
) -> None:
    upload = Upload(
        A_JOB.face_id, A_JOB.id, JobStatus.FAILED, False, error_code=code, error_message="71 px"
    )

    with speaking(language):
        assert told in describe_upload(upload)
        assert "71 px" not in describe_upload(upload)


@pytest.mark.parametrize("code", sorted(PhotoRejectedError.codes()))
def test_every_reason_to_refuse_a_photo_is_drawn_and_says_what_to_do(
    templates: Environment, code: str
) -> None:
    job = a_job(status=JobStatus.FAILED, error_code=code, error_message="71 px", match_count=None)
    html = render_job(templates, job)

    assert code in REFUSALS, "web/photo_reasons.py draws every reason"
    assert "<svg" in html or job.thumbnail
    assert len(REFUSALS[code].title) <= 20, "it has to fit on a small picture"
    assert f"{REFUSALS[code].title} {REFUSALS[code].advice}" in text_of(html)
    assert "71 px" not in html
    assert REFUSALS[code].advice in job.announcement


def refused(code: str, **picture: Any) -> JobItem:
    values = {"width": 800, "height": 600, "face": FaceBox(0.1, 0.2, 0.3, 0.4)} | picture
    return a_job(
        status=JobStatus.FAILED,
        error_code=code,
        error_message="Why.",
        match_count=None,
        refused=RefusedPhoto(**values),
    )


@pytest.mark.parametrize(
    ("code", "drawn"),
    [
        ("face_blurred", {"fault-shade", "fault-face"}),
        ("face_too_small", {"fault-shade", "fault-face", "fault-aim"}),
        ("face_cut_off", {"fault-shade", "fault-face", "fault-edge"}),
        ("no_face", {"fault-shade", "fault-aim"}),
    ],
)
def test_what_is_wrong_is_drawn_on_the_photo(
    templates: Environment, code: str, drawn: set[str]
) -> None:
    job = refused(code)
    html = render_job(templates, job)

    assert set(re.findall(r'class="(fault-(?:shade|face|aim|edge))"', html)) == drawn
    assert f'src="/photos/{job.face_id}/refused"' in html
    assert 'width="800" height="600"' in html
    assert "style=" not in html


@pytest.mark.parametrize(
    ("box", "edges"),
    [
        (FaceBox(0.0, 0.3, 0.3, 0.3), ["left"]),
        (FaceBox(0.4, 0.0, 0.3, 0.3), ["top"]),
        (FaceBox(0.7, 0.7, 0.3, 0.3), ["right", "bottom"]),
        (FaceBox(0.3, 0.34, 0.3, 0.3), ["left"]),
    ],
)
def test_edge_that_cuts_a_face_is_the_one_next_to_it(box: FaceBox, edges: list[str]) -> None:
    picture = refused("face_cut_off", face=box).picture

    assert picture is not None
    assert picture.edges == edges


def test_picture_of_a_refused_photo_is_not_shown_for_longer_than_it_is_kept() -> None:
    job = replace(A_JOB, status=JobStatus.FAILED, error_code="no_face", match_count=None)
    job = replace(job, refused=RefusedPhoto(800, 600, None))

    assert JobItem.from_job(job, shown_until=NOON).picture is not None
    assert JobItem.from_job(job, shown_until=NOON + timedelta(seconds=2)).picture is None


def test_strip_and_page_show_the_state_of_the_same_photo(templates: Environment) -> None:
    job = a_job(status=JobStatus.FAILED, error_code="face_too_dark", match_count=None)
    page = PhotosPage(faces=[], jobs=[job], max_upload_mb=15, kept_side=1600)

    assert render_job(templates, job) in render_page(templates, page)
    assert text_of(render_strip_photo(templates, job)) == "Too dark Too dark"
    assert f'href="/photos?photo={job.face_id}#photo-{job.face_id}"' in render_strip_photo(
        templates, job
    )


@pytest.mark.parametrize("matches", [0, 1, 12])
def test_deleting_a_photo_says_first_what_happens(templates: Environment, matches: int) -> None:
    text = text_of(render_job(templates, a_job(match_count=matches)))

    assert "permanently deleted" in text
    assert "You can't undo it." in text
    assert (f"its {matches} match" in text) == bool(matches)


def test_form_without_scripts_says_why_a_photo_was_refused(templates: Environment) -> None:
    problem = Problem("file_empty", "The file is empty.", "file")
    page = PhotosPage(
        faces=[], jobs=[], max_upload_mb=2, kept_side=1600, uploads_allowed=True, problem=problem
    )
    html = render_page(templates, page)

    assert "The file is empty." in text_of(html)
    assert "up to 2 MB" in text_of(html)
    assert 'aria-describedby="file-hint form-error" aria-invalid="true"' in html


@pytest.mark.parametrize(
    ("code", "headline", "has_link"),
    [
        ("another_person", "Being checked", False),
        ("photo_in_review", "Being checked", False),
        ("challenge_needed", "Is it you?", True),
        ("photo_refused", "Not accepted", False),
    ],
)
def test_photo_that_waits_says_so_calmly_and_is_shown(
    templates: Environment, code: str, headline: str, has_link: bool
) -> None:
    job = a_job(status=JobStatus.FAILED, error_code=code, error_message="Why.", match_count=None)
    html = render_job(templates, job)

    assert headline in text_of(html)
    assert (f"/photos/{job.face_id}/challenge" in html) == has_link
    assert (job.css_class == "held") == (code != "photo_refused") == (job.thumbnail is not None)


@pytest.mark.parametrize(
    "code", ["decode_timeout", "job_crashed", "worker_lost", "embedding_invalid"]
)
def test_photo_that_failed_for_good_through_our_fault_says_what_to_do(
    templates: Environment, code: str
) -> None:
    job = a_job(status=JobStatus.FAILED, error_code=code, error_message="2 of 5", match_count=None)

    assert "on our side. Add the photo again later." in text_of(render_job(templates, job))


@pytest.mark.parametrize("status", JobStatus)
def test_only_a_photo_that_was_seen_has_a_thumbnail(
    templates: Environment, status: JobStatus
) -> None:
    html = render_job(templates, a_job(status=status))

    assert ("<img" in html) == (status is JobStatus.COMPLETED)


def test_photo_is_listed_once_with_its_newest_job() -> None:
    newest = replace(A_JOB, id=an_id(12))
    older = replace(A_JOB, id=an_id(11))
    other = replace(A_JOB, id=an_id(10), face_id=an_id(5))

    assert newest_jobs([newest, other, older]) == [newest, other]
