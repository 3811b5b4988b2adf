"""Every act of operators, tried by each role: what the table says holds, and is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from automatch.auth.addresses import AddressKey
from automatch.errors.request import (
    ForbiddenError,
    InputInvalidError,
    ReauthenticationNeededError,
)
from automatch.model.cases import CaseAct, CaseSide
from automatch.model.matches import DuplicateState
from automatch.model.notices import NoticeKind
from automatch.model.operators import Operator, OperatorRole
from automatch.model.people import SERVICE, Gender
from automatch.photos.folder import FolderPhotos
from automatch.services.accounts import mails
from automatch.services.accounts.impersonation import impersonate
from automatch.services.matching import model_changes, thresholds
from automatch.services.operation import database_settings
from automatch.services.operators import roles, site_operator
from automatch.services.operators.acts import (
    PASSWORD_LIFE,
    RULES,
    About,
    Act,
    authorized,
    authorized_steps,
)
from automatch.services.people import people, schools
from automatch.services.protection import cases
from automatch.services.protection.duplicates import (
    decide_duplicate,
    load_duplicates_overview,
    set_duplicate_matching,
)
from automatch.services.queue import queue, schedule
from tests.support.build import one
from tests.support.operators import Desk

pytestmark = pytest.mark.anyio

KEY = AddressKey("a key")
ROOT = Operator.of_machine("cli:linh")


async def _export(desk: Desk, operator: Operator, person_id: UUID) -> bytes:
    photos = FolderPhotos(Path("/nowhere"), min_free_mb=0)
    parts = await people.export_person(desk.db, operator, person_id, photos, "asked by letter")
    return b"".join([part async for part in parts])


async def _change(desk: Desk, state: str, step: Callable[[], Awaitable[Any]]) -> None:
    desk.change_model(state)
    await step()


ACTS: dict[Act, Callable[[Desk, Operator, UUID], Awaitable[Any]]] = {
    Act.FIND_PEOPLE: lambda desk, operator, _: people.find_people(desk.db, operator, "linh"),
    Act.SHOW_PERSON: lambda desk, operator, she: people.show_person(desk.db, operator, she),
    Act.LIST_SESSIONS: lambda desk, operator, she: people.list_sessions(
        desk.db, operator, she, desk.links
    ),
    Act.FREEZE_PERSON: lambda desk, operator, she: people.freeze_person(
        desk.db, operator, she, "case 12"
    ),
    Act.UNFREEZE_PERSON: lambda desk, operator, she: people.unfreeze_person(
        desk.db, operator, desk.frozen(she)
    ),
    Act.END_SESSIONS: lambda desk, operator, she: people.end_sessions(
        desk.db, operator, she, desk.links
    ),
    Act.RESET_PASSWORD: lambda desk, operator, she: people.reset_password(
        desk.db, operator, she, desk.links
    ),
    Act.INVITE_PERSON: lambda desk, operator, she: people.invite_person(
        desk.db, operator, desk.without_password(she), desk.links
    ),
    Act.EXPORT_PERSON: _export,
    Act.ERASE_PERSON: lambda desk, operator, she: people.erase_person(
        desk.db, operator, she, "asked for it", desk.erasing
    ),
    Act.IMPERSONATE: lambda desk, operator, she: impersonate(
        desk.db, operator, she, "asked for help", tokens=desk.tokens, is_allowed=True
    ),
    Act.LIST_OPERATORS: lambda desk, operator, _: roles.list_operators(desk.db, operator),
    Act.SET_ROLE: lambda desk, operator, _: roles.add_operator(
        desk.db, operator, "new@example.org", OperatorRole.VIEWER, desk.links
    ),
    Act.LIST_CASES: lambda desk, operator, _: cases.list_cases(desk.db, operator, None, 5),
    Act.SHOW_CASE: lambda desk, operator, she: cases.load_case(desk.db, operator, desk.case(she)),
    Act.SEE_PHOTO: lambda desk, operator, she: cases.load_case_photo(
        desk.db, operator, desk.case(she), desk.photos, reason="Is it her?"
    ),
    Act.SEE_HELD_PHOTO: lambda desk, operator, she: cases.load_held_photo(
        desk.db, operator, desk.held(she), desk.photos, reason="Is it her?"
    ),
    Act.WRITE_IN_CASE: lambda desk, operator, she: cases.write_in_case(
        desk.db, operator, desk.case(she), KEY, audience=CaseSide.OPERATORS, text="Hm."
    ),
    Act.POINT_CASE: lambda desk, operator, she: cases.point_case(
        desk.db, operator, desk.case(she), desk.photo(she)
    ),
    Act.REPOINT_CASE: lambda desk, operator, she: cases.point_case(
        desk.db, operator, desk.case(she), desk.person(), "She wrote the wrong name"
    ),
    Act.DECIDE_CASE: lambda desk, operator, she: cases.decide_case(
        desk.db, operator, desk.case(she), KEY, CaseAct.FREEZE, erasing=desk.erasing
    ),
    Act.ERASE_BY_CASE: lambda desk, operator, she: cases.decide_case(
        desk.db, operator, desk.case(she), KEY, CaseAct.ERASE_PERSON, erasing=desk.erasing
    ),
    Act.BAN: lambda desk, operator, she: cases.ban(desk.db, operator, desk.case(she), KEY),
    Act.LIFT_BAN: lambda desk, operator, she: cases.lift_ban(
        desk.db, operator, desk.case(she, is_banned=True)
    ),
    Act.LIST_HELD_PHOTOS: lambda desk, operator, _: cases.list_held_photos(
        desk.db, operator, None, 5
    ),
    Act.RELEASE_PHOTO: lambda desk, operator, she: cases.decide_held_photo(
        desk.db, operator, desk.held(she), release=True
    ),
    Act.REFUSE_PHOTO: lambda desk, operator, she: cases.decide_held_photo(
        desk.db, operator, desk.held(she), release=False
    ),
    Act.LIST_DUPLICATES: lambda desk, operator, _: load_duplicates_overview(
        desk.db, operator, None, 5
    ),
    Act.DECIDE_DUPLICATE: lambda desk, operator, she: decide_duplicate(
        desk.db, operator, desk.pair(she), DuplicateState.CONFIRMED
    ),
    Act.SET_DUPLICATE_MATCHING: lambda desk, operator, _: set_duplicate_matching(
        desk.db, operator, False
    ),
    Act.CHANGE_PERSON: lambda desk, operator, she: schools.change_person(
        desk.db, operator, she, gender=Gender.MALE
    ),
    Act.ADD_SCHOOL: lambda desk, operator, _: schools.add_school(
        desk.db, operator, "New", domains=[], aliases=[], is_open=True
    ),
    Act.CHANGE_SCHOOL: lambda desk, operator, _: schools.change_school(
        desk.db, operator, desk.school("A"), domains=["a.example"]
    ),
    Act.OPEN_SCHOOL: lambda desk, operator, _: schools.set_open(
        desk.db, operator, desk.school("B", is_open=False), is_open=True
    ),
    Act.CLOSE_SCHOOL: lambda desk, operator, _: schools.set_open(
        desk.db, operator, desk.school("C"), is_open=False
    ),
    Act.RENAME_SCHOOL: lambda desk, operator, _: schools.rename_school(
        desk.db, operator, desk.school("D"), "D2"
    ),
    Act.MERGE_SCHOOLS: lambda desk, operator, _: schools.merge_schools(
        desk.db, operator, desk.school("E"), desk.school("F")
    ),
    Act.REMOVE_SCHOOL: lambda desk, operator, _: schools.remove_school(
        desk.db, operator, desk.school("G")
    ),
    Act.INVITE_TO_SCHOOL: lambda desk, operator, _: schools.invite(
        desk.db, operator, desk.school("H"), max_uses=1, life=timedelta(days=1)
    ),
    Act.END_INVITATION: lambda desk, operator, _: schools.end_invitation(
        desk.db, operator, desk.invitation(desk.school("I"))
    ),
    Act.LIST_REQUESTS: lambda desk, operator, _: schools.list_requests(desk.db, operator),
    Act.APPROVE_MEMBER: lambda desk, operator, she: schools.decide_request(
        desk.db, operator, desk.asking(she), reason=None
    ),
    Act.REFUSE_MEMBER: lambda desk, operator, she: schools.decide_request(
        desk.db, operator, desk.asking(she), reason="Not enrolled"
    ),
    Act.LIST_MAILS: lambda desk, operator, _: mails.list_mails(desk.db, operator),
    Act.READ_MAIL: lambda desk, operator, she: mails.hand_over_mail(
        desk.db, operator, desk.mail(she), desk.settings
    ),
    Act.RESEND_MAIL: lambda desk, operator, she: mails.resend_mail(
        desk.db, operator, desk.mail(she)
    ),
    Act.PAUSE_QUEUE: lambda desk, operator, _: queue.pause(desk.db, operator),
    Act.RESUME_QUEUE: lambda desk, operator, _: queue.resume(desk.db, operator),
    Act.SET_CONCURRENCY: lambda desk, operator, _: queue.set_concurrency(desk.db, operator, 2),
    Act.RETRY_JOBS: lambda desk, operator, _: queue.retry_failed(desk.db, operator),
    Act.CANCEL_JOBS: lambda desk, operator, _: queue.cancel(desk.db, operator, [UUID(int=1)]),
    Act.PRIORITIZE_JOBS: lambda desk, operator, _: queue.prioritize(
        desk.db, operator, [UUID(int=1)]
    ),
    Act.REQUEUE_JOB: lambda desk, operator, she: queue.requeue(desk.db, operator, desk.job(she)),
    Act.READ_AUDIT_LOG: lambda desk, operator, _: roles.read_audit_log(desk.db, operator),
    Act.SET_SITE_OPERATOR: lambda desk, operator, _: site_operator.set_site_operator(
        desk.db, operator, name="UIT Union", email=None, url=None
    ),
    Act.PUBLISH_NOTICE: lambda desk, operator, _: site_operator.publish_notice(
        desk.db, operator, NoticeKind.PRIVACY, language="vi", body="Text"
    ),
    Act.SEE_SYSTEM: lambda desk, operator, _: database_settings.list_settings(desk.db, operator),
    Act.CHANGE_SCHEDULE: lambda desk, operator, _: schedule.change_schedule(
        desk.db, operator, desk.scheduled(), schedule="30 seconds"
    ),
    Act.RUN_SCHEDULE: lambda desk, operator, _: schedule.run_now(
        desk.db, operator, desk.scheduled(), desk.schedule_dsn
    ),
    Act.CHANGE_SETTING: lambda desk, operator, _: database_settings.change_setting(
        desk.db, operator, "match_count", "10"
    ),
    Act.SET_THRESHOLD: lambda desk, operator, _: thresholds.set_threshold(desk.db, operator, 0.6),
    Act.USE_SCALE: lambda desk, operator, _: thresholds.use_scale(desk.db, operator, 1),
    Act.BEGIN_MODEL_CHANGE: lambda desk, operator, _: model_changes.begin_change(
        desk.db, operator, desk.with_model(desk.settings), "other"
    ),
    Act.USE_MODEL: lambda desk, operator, _: _change(
        desk, "preparing", lambda: model_changes.use_new_model(desk.db, operator)
    ),
    Act.ROLL_BACK_MODEL: lambda desk, operator, _: _change(
        desk, "active", lambda: model_changes.roll_back(desk.db, operator)
    ),
    Act.RETIRE_MODEL: lambda desk, operator, _: _change(
        desk, "preparing", lambda: model_changes.retire(desk.db, operator)
    ),
}
"""One service function for each act; an act without one here fails the first test."""
_ABOUT_A_PERSON = [act for act in Act if RULES[act].about and not RULES[act].is_look]
_NEVER_ABOUT_ONESELF = [act for act in Act if RULES[act].refuses_own]


def test_every_act_has_a_rule_and_is_tried() -> None:
    assert set(RULES) == set(Act)
    assert set(ACTS) == set(Act)


@pytest.mark.parametrize("role", OperatorRole)
async def test_each_role_may_do_what_the_table_says_and_nothing_else(
    desk: Desk, role: OperatorRole, subtests: pytest.Subtests
) -> None:
    operator = desk.operator(role)
    for number, (act, attempt) in enumerate(ACTS.items()):
        she = desk.person(f"linh{number}@example.org")
        before = len(desk.audited())
        with subtests.test(act.value):
            if role.rank >= RULES[act].least_role.rank:
                await attempt(desk, operator, she)
                written = [(actor, action) for actor, action, *_ in desk.audited()[before:]]
                recorded = act is not Act.SEE_SYSTEM
                assert written == [(f"operator:{operator.id}", act)] * recorded
            else:
                with pytest.raises(ForbiddenError):
                    await attempt(desk, operator, she)
                assert len(desk.audited()) == before


@pytest.mark.parametrize("act", _ABOUT_A_PERSON)
async def test_operators_of_a_higher_role_are_left_alone(desk: Desk, act: Act) -> None:
    owner, below = desk.operator(OperatorRole.OWNER), desk.operator(OperatorRole.OPERATOR)

    with pytest.raises(ForbiddenError):
        await ACTS[act](desk, below, owner.id)

    assert desk.audited() == []


@pytest.mark.parametrize("act", [act for act in Act if RULES[act].needs_password])
async def test_what_cannot_be_undone_needs_the_password_of_the_last_minutes(
    desk: Desk, act: Act
) -> None:
    owner, she = desk.operator(OperatorRole.OWNER), desk.person("linh@example.org")
    long_ago = datetime.now(UTC) - PASSWORD_LIFE

    for entered_at in (None, long_ago):
        with pytest.raises(ReauthenticationNeededError):
            await ACTS[act](desk, replace(owner, password_entered_at=entered_at), she)
    await ACTS[act](desk, Operator.of_machine("cli:linh"), she)

    assert [actor for actor, *_ in desk.audited()] == ["cli:linh"]


@pytest.mark.parametrize("reason", [None, " ", "two\nlines", "x" * 201])
async def test_reason_is_one_line(desk: Desk, reason: str | None) -> None:
    owner = Operator.of_machine("cli:linh")

    with pytest.raises(InputInvalidError):
        async with authorized(desk.db, owner, Act.ERASE_PERSON, reason=reason):
            raise AssertionError("it began")


async def test_act_that_fails_is_not_recorded(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError):
        async with authorized(desk.db, Operator.of_machine("cli:linh"), Act.SHOW_PERSON):
            _ = 1 / 0

    assert desk.audited() == []


@pytest.mark.parametrize("act", _NEVER_ABOUT_ONESELF)
async def test_nobody_changes_their_own_standing(desk: Desk, act: Act) -> None:
    owner = desk.operator(OperatorRole.OWNER)

    with pytest.raises(ForbiddenError, match="leave it to"):
        await ACTS[act](desk, owner, owner.id)

    assert desk.audited() == []


@dataclass(frozen=True)
class _DeskOfReporter(Desk):
    """Where all cases were opened by one person, and all mails are about such a case."""

    reporter: UUID

    def case(self, person_id: UUID, *, is_banned: bool = False) -> UUID:
        case_id = super().case(person_id, is_banned=is_banned)
        self.conn.execute(
            "update automatch.cases set reporter_id = %s where id = %s", [self.reporter, case_id]
        )
        return case_id

    def mail(self, person_id: UUID) -> UUID:
        mail_id = super().mail(person_id)
        self.conn.execute(
            "update automatch.mails set case_id = %s where id = %s",
            [self.case(person_id), mail_id],
        )
        return mail_id


@pytest.mark.parametrize(
    "act", [act for act in Act if RULES[act].about in {About.CASE, About.MAIL}]
)
async def test_nobody_has_to_do_with_a_case_that_they_opened(desk: Desk, act: Act) -> None:
    she, owner = desk.person("linh@example.org"), desk.operator(OperatorRole.OWNER)
    own = _DeskOfReporter(**vars(desk), reporter=owner.id or she)

    with pytest.raises(ForbiddenError, match="your own report"):
        await ACTS[act](own, owner, she)
    own.mail(she)

    assert await cases.list_cases(desk.db, owner, None, 5) == []
    assert await mails.list_mails(desk.db, owner) == []
    assert await mails.list_mails(desk.db, ROOT) != []
    assert act not in {action for _, action, *_ in desk.audited()}


async def test_reported_operator_does_not_learn_to_whom_news_of_the_case_go(desk: Desk) -> None:
    she, owner = desk.person("linh@example.org"), desk.operator(OperatorRole.OWNER)
    case = desk.case(owner.id or she)
    desk.conn.execute("update automatch.cases set reporter_id = %s", [she])
    await cases.write_in_case(
        desk.db, ROOT, case, KEY, audience=CaseSide.REPORTER, text="We look at it."
    )
    mail = one(desk.conn, "select id from automatch.mails")

    with pytest.raises(ForbiddenError):
        await mails.hand_over_mail(desk.db, owner, mail, desk.settings)

    assert await mails.list_mails(desk.db, owner) == []


async def test_case_that_becomes_one_about_an_owner_is_not_decided_by_those_below(
    desk: Desk,
) -> None:
    owner, moderator = desk.operator(OperatorRole.OWNER), desk.operator(OperatorRole.MODERATOR)
    case = desk.case(desk.person("linh@example.org"))

    with desk.conn.transaction():
        desk.conn.execute("select public.point_case(%s, %s)", [case, owner.id])
        deciding = asyncio.create_task(
            cases.decide_case(desk.db, moderator, case, KEY, CaseAct.FREEZE, erasing=desk.erasing)
        )
        await _until_somebody_waits(desk)

    with pytest.raises(ForbiddenError, match="higher role"):
        await deciding
    assert one(desk.conn, "select count(*) from automatch.frozen_profiles") == 0


@pytest.mark.parametrize(
    "taken",
    [
        "delete from automatch.operators where profile_id = %s",
        "delete from auth.sessions where user_id = %s",
    ],
)
async def test_nothing_is_done_once_the_role_or_the_session_is_gone(desk: Desk, taken: str) -> None:
    desk.operator(OperatorRole.OWNER)
    operator = desk.operator(OperatorRole.OPERATOR)
    claims = replace(operator.claims or SERVICE, session_id=desk.session(operator.id))
    operator = replace(operator, claims=claims)
    assert await people.find_people(desk.db, operator, "nobody") == []
    desk.conn.execute(taken, [operator.id])

    with pytest.raises(ForbiddenError):
        await people.find_people(desk.db, operator, "linh")
    with pytest.raises(ForbiddenError):
        async with authorized_steps(desk.db, operator, Act.RENAME_SCHOOL):
            raise AssertionError("it began")


async def test_moderator_says_whom_a_take_down_is_about_and_once(desk: Desk) -> None:
    moderator, owner = desk.operator(OperatorRole.MODERATOR), desk.operator(OperatorRole.OWNER)
    she, he = desk.person("linh@example.org"), desk.person("minh@example.org")
    case = desk.case(she)
    desk.conn.execute("update automatch.cases set kind = 'take_down', profile_id = null")

    for higher_or_oneself in (owner.id, moderator.id):
        with pytest.raises(ForbiddenError):
            await cases.point_case(desk.db, moderator, case, higher_or_oneself or she)
    await cases.point_case(desk.db, moderator, case, she)
    await cases.point_case(desk.db, moderator, case, desk.photo(she))
    with pytest.raises(InputInvalidError, match="Say why"):
        await cases.point_case(desk.db, moderator, case, he)
    with pytest.raises(ForbiddenError):
        await cases.point_case(desk.db, moderator, case, he, "because")
    await cases.point_case(desk.db, ROOT, case, he, "because")

    named = desk.conn.execute(
        "select automatch.people_of(details) from automatch.audit_log order by id"
    ).fetchall()
    assert [set(row[0]) for row in named] == [{str(she)}, {str(she)}, {str(she), str(he)}]


async def test_report_whose_person_left_opens_no_photos_of_others(desk: Desk) -> None:
    case = desk.case(desk.person("linh@example.org"))
    desk.conn.execute("update automatch.cases set profile_id = null")

    with pytest.raises(InputInvalidError, match="Say why"):
        await cases.point_case(
            desk.db, desk.operator(OperatorRole.MODERATOR), case, desk.person("minh@example.org")
        )


async def test_each_look_and_act_names_whom_it_is_about(
    desk: Desk, subtests: pytest.Subtests
) -> None:
    # Of an audit log as a whole, and of somebody who is only made an operator.
    about = {act for act in Act if RULES[act].about} - {Act.READ_AUDIT_LOG, Act.SET_ROLE}
    for number, act in enumerate(sorted(about)):
        she = desk.person(f"linh{number}@example.org")
        with subtests.test(act.value):
            desk.conn.execute("delete from automatch.audit_log")

            await ACTS[act](desk, ROOT, she)

            assert str(she) in desk.named()


async def test_each_list_names_whom_it_shows(desk: Desk) -> None:
    she = desk.person("linh@example.org")
    for make in (desk.case, desk.held, desk.mail, desk.pair):
        make(she)
    desk.conn.execute(
        "insert into automatch.operators (profile_id, role) values (%s, 'viewer')", [she]
    )
    lists = (Act.LIST_CASES, Act.LIST_HELD_PHOTOS, Act.LIST_MAILS, Act.LIST_DUPLICATES)

    for act in (*lists, Act.LIST_OPERATORS):
        desk.conn.execute("delete from automatch.audit_log")
        await ACTS[act](desk, ROOT, she)
        assert str(she) in desk.named(), act


async def _until_somebody_waits(desk: Desk) -> None:
    waits = "select exists (select from pg_locks where not granted)"
    while not one(desk.conn, waits):
        await asyncio.sleep(0)
