"""Every act of the console over HTTP: done and recorded once, and refused below its role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote
from uuid import UUID

import pytest

from automatch.model.operators import OperatorRole
from automatch.photos.make import make_photos
from automatch.services.operators.acts import RULES, Act
from tests.support.build import one
from tests.support.console import Clerk, ConsoleSite, text_of

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Asked:
    """A request of a browser; one without a form is a GET."""

    path: str
    form: dict[str, str] | None = field(default_factory=dict)


def _look(path: str) -> Asked:
    return Asked(path, None)


def _photo_of(site: ConsoleSite, case_id: UUID) -> UUID:
    return one(site.conn, "select face_id from automatch.cases where id = %s", case_id)


def _about_models(site: ConsoleSite, step: str, state: str | None = None) -> Asked:
    site.with_model(site.system.settings)
    if state is not None:
        site.change_model(state)
    return Asked(f"/admin/models/{step}")


ACTS: dict[Act, Callable[[ConsoleSite, UUID], Asked]] = {
    Act.FIND_PEOPLE: lambda _, she: _look(f"/admin/people?q={she}"),
    Act.SHOW_PERSON: lambda _, she: _look(f"/admin/people/{she}"),
    Act.LIST_SESSIONS: lambda _, she: _look(f"/admin/people/{she}/sessions"),
    Act.FREEZE_PERSON: lambda _, she: Asked(f"/admin/people/{she}/freeze", {"reason": "case 12"}),
    Act.UNFREEZE_PERSON: lambda site, she: Asked(f"/admin/people/{site.frozen(she)}/unfreeze"),
    Act.END_SESSIONS: lambda _, she: Asked(f"/admin/people/{she}/end-sessions"),
    Act.RESET_PASSWORD: lambda _, she: Asked(f"/admin/people/{she}/reset-password"),
    Act.INVITE_PERSON: lambda site, she: Asked(
        f"/admin/people/{site.without_password(she)}/invite"
    ),
    Act.EXPORT_PERSON: lambda _, she: Asked(f"/admin/people/{she}/export", {"reason": "a letter"}),
    Act.ERASE_PERSON: lambda _, she: Asked(f"/admin/people/{she}/erase", {"reason": "asked"}),
    Act.CHANGE_PERSON: lambda _, she: Asked(f"/admin/people/{she}/change", {"gender": "male"}),
    Act.LIST_CASES: lambda *_: _look("/admin/cases"),
    Act.SHOW_CASE: lambda site, she: _look(f"/admin/cases/{site.case(she)}"),
    Act.SEE_PHOTO: lambda site, she: Asked(
        f"/admin/cases/{site.case(she)}/photo", {"reason": "Is it her?"}
    ),
    Act.WRITE_IN_CASE: lambda site, she: Asked(
        f"/admin/cases/{site.case(she)}/write", {"to": "operators", "text": "Hm."}
    ),
    Act.POINT_CASE: lambda site, she: Asked(
        f"/admin/cases/{site.case(she)}/about", {"subject": str(she)}
    ),
    Act.REPOINT_CASE: lambda site, she: Asked(
        f"/admin/cases/{site.case(she)}/about",
        {"subject": str(site.person()), "reason": "She wrote the wrong name"},
    ),
    Act.DECIDE_CASE: lambda site, she: Asked(
        f"/admin/cases/{site.case(she)}/decide", {"decision": "freeze"}
    ),
    Act.ERASE_BY_CASE: lambda site, she: Asked(f"/admin/cases/{site.case(she)}/erase/person"),
    Act.BAN: lambda site, she: Asked(f"/admin/cases/{site.case(she)}/ban"),
    Act.LIFT_BAN: lambda site, she: Asked(f"/admin/cases/{site.case(she, is_banned=True)}/unban"),
    Act.LIST_HELD_PHOTOS: lambda *_: _look("/admin/held"),
    Act.SEE_HELD_PHOTO: lambda site, she: Asked(
        f"/admin/held/{site.held(she)}/photo", {"reason": "Is it her?"}
    ),
    Act.RELEASE_PHOTO: lambda site, she: Asked(f"/admin/held/{site.held(she)}/release"),
    Act.REFUSE_PHOTO: lambda site, she: Asked(f"/admin/held/{site.held(she)}/refuse"),
    Act.LIST_REQUESTS: lambda *_: _look("/admin/requests"),
    Act.APPROVE_MEMBER: lambda site, she: Asked(f"/admin/requests/{site.asking(she)}/approve"),
    Act.REFUSE_MEMBER: lambda site, she: Asked(
        f"/admin/requests/{site.asking(she)}/refuse", {"reason": "Not enrolled"}
    ),
    Act.ADD_SCHOOL: lambda *_: Asked("/admin/schools", {"name": "New", "open": "1"}),
    Act.CHANGE_SCHOOL: lambda site, _: Asked(
        f"/admin/schools/change?name={site.school('A')}", {"domains": "a.example"}
    ),
    Act.OPEN_SCHOOL: lambda site, _: Asked(
        f"/admin/schools/open?name={site.school('B', is_open=False)}"
    ),
    Act.CLOSE_SCHOOL: lambda site, _: Asked(f"/admin/schools/close?name={site.school('C')}"),
    Act.RENAME_SCHOOL: lambda site, _: Asked(
        f"/admin/schools/rename?name={site.school('D')}", {"new_name": "D2"}
    ),
    Act.MERGE_SCHOOLS: lambda site, she: Asked(
        f"/admin/schools/merge?name={site.school(f'E{she}')}&into={site.school(f'F{she}')}"
    ),
    Act.REMOVE_SCHOOL: lambda site, _: Asked(f"/admin/schools/remove?name={site.school('G')}"),
    Act.INVITE_TO_SCHOOL: lambda site, _: Asked(
        f"/admin/schools/invite?name={site.school('H')}", {"days": "30", "uses": ""}
    ),
    Act.END_INVITATION: lambda site, _: Asked(
        f"/admin/schools/invitations/{site.invitation(site.school('I'))}/end?name=I"
    ),
    Act.LIST_MAILS: lambda *_: _look("/admin/mail"),
    Act.READ_MAIL: lambda site, she: Asked(f"/admin/mail/{site.mail(she)}/show"),
    Act.RESEND_MAIL: lambda site, she: Asked(f"/admin/mail/{site.mail(she)}/resend"),
    Act.LIST_OPERATORS: lambda *_: _look("/admin/operators"),
    Act.SET_ROLE: lambda *_: Asked(
        "/admin/operators", {"email": "new@example.org", "role": "viewer"}
    ),
    Act.READ_AUDIT_LOG: lambda *_: _look("/admin/audit"),
    Act.SET_SITE_OPERATOR: lambda *_: Asked(
        "/admin/texts/site", {"name": "UIT Union", "email": "", "url": ""}
    ),
    Act.PUBLISH_NOTICE: lambda *_: Asked(
        "/admin/texts/publish",
        {"kind": "privacy", "language": "vi", "body": "Text", "sure": "1"},
    ),
    Act.LIST_DUPLICATES: lambda *_: _look("/admin/duplicates"),
    Act.DECIDE_DUPLICATE: lambda site, she: Asked(
        f"/admin/duplicates/{site.pair(she)}/decide", {"state": "confirmed"}
    ),
    Act.SET_DUPLICATE_MATCHING: lambda *_: Asked("/admin/duplicates/matching", {"match": "no"}),
    Act.PAUSE_QUEUE: lambda *_: Asked("/admin/queue/pause", {"all": "yes"}),
    Act.RESUME_QUEUE: lambda *_: Asked("/admin/queue/resume", {"all": "yes"}),
    Act.SET_CONCURRENCY: lambda *_: Asked("/admin/queue/concurrency", {"jobs": "4"}),
    Act.RETRY_JOBS: lambda *_: Asked("/admin/jobs/retry", {"code": "no_face"}),
    Act.CANCEL_JOBS: lambda site, she: Asked(f"/admin/jobs/{site.job(she)}/cancel"),
    Act.PRIORITIZE_JOBS: lambda site, she: Asked(
        f"/admin/jobs/{site.job(she)}/prioritize", {"priority": "1"}
    ),
    Act.REQUEUE_JOB: lambda site, she: Asked(f"/admin/jobs/{site.job(she)}/requeue"),
    Act.CHANGE_SCHEDULE: lambda site, _: Asked(
        f"/admin/schedule/{site.scheduled()}/times", {"schedule": "30 seconds", "apply": "yes"}
    ),
    Act.RUN_SCHEDULE: lambda site, _: Asked(f"/admin/schedule/{site.scheduled()}/run"),
    Act.CHANGE_SETTING: lambda *_: Asked("/admin/settings/match_count", {"value": "10"}),
    Act.SET_THRESHOLD: lambda *_: Asked("/admin/threshold/set", {"value": "0.6"}),
    Act.USE_SCALE: lambda *_: Asked("/admin/threshold/scales/1"),
    Act.BEGIN_MODEL_CHANGE: lambda site, _: _about_models(site, "begin/other"),
    Act.USE_MODEL: lambda site, _: _about_models(site, "use", "preparing"),
    Act.ROLL_BACK_MODEL: lambda site, _: _about_models(site, "back", "active"),
    Act.RETIRE_MODEL: lambda site, _: _about_models(site, "retire", "preparing"),
}
"""Who has the machine alone can do the others."""
_BY_COMMAND_ALONE = {Act.IMPERSONATE}
_NOT_RECORDED = {Act.SEE_SYSTEM}


def test_every_act_is_tried() -> None:
    assert set(ACTS) | _BY_COMMAND_ALONE | _NOT_RECORDED == set(Act)


async def _ask(clerk: Clerk, asked: Asked) -> tuple[int, str]:
    if asked.form is None:
        answer = await clerk.get(asked.path)
    else:
        answer = await clerk.post(asked.path, **asked.form)
    return answer.status_code, answer.headers.get("location", "")


@pytest.mark.parametrize("act", ACTS)
async def test_act_is_recorded_once_and_refused_below_its_role(
    console: ConsoleSite, act: Act
) -> None:
    least, she = RULES[act].least_role, console.person()
    asked = ACTS[act](console, she)
    for path in console.conn.execute("select image_path from public.faces").fetchall():
        await make_photos(console.system.settings).put_copies(path[0], full=b"a", thumb=b"b")
    below = [role for role in OperatorRole if role.rank < least.rank]

    for role in [None, *below[-1:]]:
        refused = console.clerk(role)
        assert (await _ask(refused, asked))[0] == (404 if role is None else 403)
        assert console.audited(refused) == []
    clerk = console.clerk(least)
    status, _ = await _ask(clerk, asked)

    assert status in {200, 303}
    assert [action for action, *_ in console.audited(clerk)].count(act) == 1


@pytest.mark.parametrize("act", [act for act in ACTS if RULES[act].needs_password])
async def test_what_cannot_be_undone_asks_for_the_password_first(
    console: ConsoleSite, act: Act
) -> None:
    asked = ACTS[act](console, console.person())
    clerk = console.clerk(OperatorRole.OWNER, has_entered_password=False)

    assert await _ask(clerk, asked) == (303, f"/admin/password?to={quote(asked.path, safe='')}")
    clerk.client.headers["referer"] = "https://match.example.org/admin/people?q=a"
    assert await _ask(clerk, asked) == (303, "/admin/password?to=%2Fadmin%2Fpeople%3Fq%3Da")
    assert console.audited(clerk) == []


async def test_photo_is_shown_only_with_a_reason(console: ConsoleSite) -> None:
    clerk, case_id = console.clerk(OperatorRole.MODERATOR), console.case(console.person())
    path = one(
        console.conn,
        "select image_path from public.faces where id = %s",
        _photo_of(console, case_id),
    )
    await make_photos(console.system.settings).put_copies(path, full=b"a photo", thumb=b"b")

    page = await clerk.get(f"/admin/cases/{case_id}")
    refused = await clerk.post(f"/admin/cases/{case_id}/photo", reason=" ")
    shown = await clerk.post(f"/admin/cases/{case_id}/photo", reason="Is it her?")

    assert "<img" not in page.text.partition("<main")[2]
    assert (refused.status_code, "Give a reason" in text_of(refused)) == (422, True)
    assert (shown.content, shown.headers["content-type"]) == (b"a photo", "image/jpeg")
    assert console.audited(clerk)[-1] == ("see_photo", case_id, "Is it her?")


async def test_link_in_a_mail_is_not_shown_for_an_operator_of_a_higher_role(
    console: ConsoleSite,
) -> None:
    owner, clerk = console.clerk(OperatorRole.OWNER), console.clerk(OperatorRole.OPERATOR)

    answer = await clerk.post(f"/admin/mail/{console.mail(owner.id)}/show")

    assert answer.status_code == 403
    assert "token=" not in answer.text
    assert console.audited(clerk) == []


async def test_audit_log_is_filtered_and_goes_on_where_a_page_ends(console: ConsoleSite) -> None:
    clerk, she = console.clerk(OperatorRole.OPERATOR), console.person()
    for _ in range(51):
        console.conn.execute(
            "select public.record_act(%s, 'show_person', %s)", [f"operator:{clerk.id}", she]
        )

    first = await clerk.get(f"/admin/audit?person={she}&act=show_person&by=operator:{clerk.id}")
    [older] = [
        part.partition('"')[0] for part in first.text.split('rel="next"')[0].split('href="')[-1:]
    ]
    second = await clerk.get(older.replace("&amp;", "&"))

    assert (first.text.count('data-title="When"'), second.text.count('data-title="When"')) == (
        50,
        1,
    )
    assert 'rel="next"' not in second.text


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"/admin/audit?before={10**22}", None),
        (f"/admin/threshold/scales/{10**22}", {}),
        ("/admin/schools/invite?name=H", {"days": "30", "uses": "0000000019999999999"}),
    ],
)
async def test_numbers_that_the_database_has_not_are_refused(
    console: ConsoleSite, path: str, form: dict[str, str] | None
) -> None:
    console.school("H")

    assert (await _ask(console.clerk(OperatorRole.OWNER), Asked(path, form)))[0] in {404, 422}


async def test_what_waits_is_shown_to_the_role_that_may_see_it(console: ConsoleSite) -> None:
    case_id = console.case(console.person())
    console.conn.execute(
        "update automatch.cases set state = 'unproven', unproven_until = now() where id = %s",
        [case_id],
    )
    moderator = console.clerk(OperatorRole.MODERATOR)

    overview, inbox = text_of(await moderator.get("/admin")), await moderator.get("/admin/cases")
    viewer = text_of(await console.clerk(OperatorRole.VIEWER).get("/admin"))

    assert "Take-downs not confirmed yet: " in overview.partition("Waits for you")[2]
    assert "Mails to hand over" not in overview
    assert "Waits for you" not in viewer
    assert "Not confirmed yet: " in text_of(inbox)


async def test_case_offers_what_can_be_done_about_it_and_tells_whose_mails_wait(
    console: ConsoleSite,
) -> None:
    clerk, she = console.clerk(OperatorRole.OPERATOR), console.person()
    case_id = console.case(she)
    console.conn.execute("update automatch.cases set face_id = null where id = %s", [case_id])
    page = f"/admin/cases/{case_id}"

    before = text_of(await clerk.get(page))
    decided = await clerk.post(f"{page}/decide", decision="hide")
    after = text_of(await clerk.get(decided.headers["location"]))

    assert "Erase the photo…" in before
    assert "Close; nothing is hidden" in before
    for absent in ("Show the photo again", "Unfreeze the person", "Lift a ban"):
        assert absent not in before
    assert "Show the photo again" in after
    assert "Close; what is hidden stays hidden" in after
    assert "the mails about it wait on the Mail page" in after
    console.photo(she)
    console.conn.execute("update automatch.cases set face_id = null where id = %s", [case_id])
    refused = await clerk.post(f"{page}/decide", decision="hide")
    assert "Choose a photo" in text_of(await clerk.get(page))
    assert (refused.status_code, "choose which one" in text_of(refused)) == (422, True)


async def test_what_will_be_erased_is_said_before_the_password_is_asked_for(
    console: ConsoleSite,
) -> None:
    clerk = console.clerk(OperatorRole.OPERATOR, has_entered_password=False)
    address = f"/admin/people/{console.person()}/erase"

    page = await clerk.get(address)
    password = await clerk.get(
        "/admin/password", headers={"referer": f"{console.system.url}{address}"}
    )

    assert "The account goes" in text_of(page)
    assert "Erase for good" not in page.text
    assert f'name="to" value="{address}"' in password.text
