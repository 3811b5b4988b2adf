"""What operators may do: each act with its least role.

An act is done inside `authorized`, which opens its transaction: what an operator may not do does
not begin, and what is done or looked at and its row in the audit log are committed together. What
takes several transactions is done inside `authorized_steps`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from automatch.errors.request import (
    ForbiddenError,
    InputInvalidError,
    ReauthenticationNeededError,
)
from automatch.model.operators import Operator, OperatorRole
from automatch.store.database import Connection, Database
from automatch.store.operators import audit_log, operators

PASSWORD_LIFE = timedelta(minutes=5)
"""For how long the password that an operator entered stands for what cannot be undone."""
_MAX_REASON = 200
_OWN = "Nobody does this for themselves: leave it to another operator."
_OWN_CASE = "This case is about you or your own report: leave it to others."


class Act(StrEnum):
    """What operators look at and do; the name in the audit log."""

    FIND_PEOPLE = "find_people"
    SHOW_PERSON = "show_person"
    LIST_SESSIONS = "list_sessions"
    FREEZE_PERSON = "freeze_person"
    UNFREEZE_PERSON = "unfreeze_person"
    END_SESSIONS = "end_sessions"
    RESET_PASSWORD = "reset_password"  # noqa: S105  no password
    INVITE_PERSON = "invite_person"
    EXPORT_PERSON = "export_person"
    ERASE_PERSON = "erase_person"
    IMPERSONATE = "impersonate"
    LIST_OPERATORS = "list_operators"
    SET_ROLE = "set_role"
    READ_AUDIT_LOG = "read_audit_log"
    SET_SITE_OPERATOR = "set_site_operator"
    PUBLISH_NOTICE = "publish_notice"
    LIST_CASES = "list_cases"
    SHOW_CASE = "show_case"
    SEE_PHOTO = "see_photo"
    SEE_HELD_PHOTO = "see_held_photo"
    WRITE_IN_CASE = "write_in_case"
    POINT_CASE = "point_case"
    REPOINT_CASE = "repoint_case"
    DECIDE_CASE = "decide_case"
    ERASE_BY_CASE = "erase_by_case"
    BAN = "ban"
    LIFT_BAN = "lift_ban"
    LIST_HELD_PHOTOS = "list_held_photos"
    RELEASE_PHOTO = "release_photo"
    REFUSE_PHOTO = "refuse_photo"
    LIST_DUPLICATES = "list_duplicates"
    DECIDE_DUPLICATE = "same_person"
    SET_DUPLICATE_MATCHING = "match_same_person"
    CHANGE_PERSON = "change_person"
    ADD_SCHOOL = "add_school"
    CHANGE_SCHOOL = "change_school"
    OPEN_SCHOOL = "open_school"
    CLOSE_SCHOOL = "close_school"
    RENAME_SCHOOL = "rename_school"
    MERGE_SCHOOLS = "merge_schools"
    REMOVE_SCHOOL = "remove_school"
    INVITE_TO_SCHOOL = "invite_to_school"
    END_INVITATION = "end_invitation"
    LIST_REQUESTS = "list_requests"
    APPROVE_MEMBER = "approve_member"
    REFUSE_MEMBER = "refuse_member"
    LIST_MAILS = "list_mails"
    READ_MAIL = "read_mail"
    RESEND_MAIL = "resend_mail"
    PAUSE_QUEUE = "pause"
    RESUME_QUEUE = "resume"
    SET_CONCURRENCY = "concurrency"
    RETRY_JOBS = "retry"
    CANCEL_JOBS = "cancel"
    PRIORITIZE_JOBS = "prioritize"
    REQUEUE_JOB = "requeue"
    SEE_SYSTEM = "see_system"
    CHANGE_SCHEDULE = "change_schedule"
    RUN_SCHEDULE = "run_schedule"
    CHANGE_SETTING = "change_setting"
    SET_THRESHOLD = "threshold"
    USE_SCALE = "use_scale"
    BEGIN_MODEL_CHANGE = "begin_model_change"
    USE_MODEL = "use_model"
    ROLL_BACK_MODEL = "roll_back_model"
    RETIRE_MODEL = "retire_model"


class About(StrEnum):
    """What the object of an act is."""

    PERSON = "person"
    CASE = "case"
    HELD = "held"
    """A photo that waits, or its person."""
    PAIR = "pair"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an act takes."""

    least_role: OperatorRole
    about: About | None = None
    refuses_own: bool = False
    """Nobody does it about themselves, or about a case in which they are a side."""
    is_look: bool = False
    """Nothing is changed, so it may be done about operators of a higher role too."""
    needs_reason: bool = False
    needs_password: bool = False
    """It cannot be undone or opens an account, so the operator enters the password again."""
    records_itself: bool = False
    """Its SQL function writes the row, because a project calls that over RPC too."""


_OF_CASES = {About.CASE, About.MAIL}
_case = partial(Rule, about=About.CASE, refuses_own=True)

RULES: dict[Act, Rule] = {
    Act.FIND_PEOPLE: Rule(OperatorRole.VIEWER, is_look=True),
    Act.SHOW_PERSON: Rule(OperatorRole.VIEWER, about=About.PERSON, is_look=True),
    Act.LIST_SESSIONS: Rule(OperatorRole.MODERATOR, about=About.PERSON, is_look=True),
    Act.FREEZE_PERSON: Rule(
        OperatorRole.MODERATOR, about=About.PERSON, refuses_own=True, needs_reason=True
    ),
    Act.UNFREEZE_PERSON: Rule(OperatorRole.MODERATOR, about=About.PERSON, refuses_own=True),
    Act.END_SESSIONS: Rule(OperatorRole.OPERATOR, about=About.PERSON),
    Act.RESET_PASSWORD: Rule(OperatorRole.OPERATOR, about=About.PERSON, needs_password=True),
    Act.INVITE_PERSON: Rule(OperatorRole.OPERATOR, about=About.PERSON, needs_password=True),
    Act.EXPORT_PERSON: Rule(
        OperatorRole.OPERATOR, about=About.PERSON, needs_reason=True, needs_password=True
    ),
    Act.ERASE_PERSON: Rule(
        OperatorRole.OPERATOR,
        about=About.PERSON,
        refuses_own=True,
        needs_reason=True,
        needs_password=True,
    ),
    Act.IMPERSONATE: Rule(
        OperatorRole.OWNER,
        about=About.PERSON,
        refuses_own=True,
        needs_reason=True,
        needs_password=True,
    ),
    Act.LIST_OPERATORS: Rule(OperatorRole.OPERATOR, is_look=True),
    Act.READ_AUDIT_LOG: Rule(OperatorRole.OPERATOR, about=About.PERSON, is_look=True),
    Act.LIST_CASES: Rule(OperatorRole.MODERATOR, is_look=True),
    Act.SHOW_CASE: _case(OperatorRole.MODERATOR, is_look=True),
    Act.SEE_PHOTO: _case(OperatorRole.MODERATOR, is_look=True, needs_reason=True),
    Act.SEE_HELD_PHOTO: Rule(
        OperatorRole.MODERATOR, about=About.HELD, is_look=True, needs_reason=True
    ),
    Act.WRITE_IN_CASE: _case(OperatorRole.MODERATOR),
    Act.POINT_CASE: _case(OperatorRole.MODERATOR),
    Act.REPOINT_CASE: _case(OperatorRole.OPERATOR, needs_reason=True),
    Act.DECIDE_CASE: _case(OperatorRole.MODERATOR),
    Act.ERASE_BY_CASE: _case(OperatorRole.OPERATOR, needs_password=True),
    Act.BAN: _case(OperatorRole.OPERATOR),
    Act.LIFT_BAN: _case(OperatorRole.OPERATOR),
    Act.LIST_HELD_PHOTOS: Rule(OperatorRole.MODERATOR, is_look=True),
    Act.RELEASE_PHOTO: Rule(
        OperatorRole.MODERATOR, about=About.HELD, refuses_own=True, records_itself=True
    ),
    Act.REFUSE_PHOTO: Rule(
        OperatorRole.MODERATOR,
        about=About.HELD,
        refuses_own=True,
        records_itself=True,
        needs_password=True,
    ),
    Act.LIST_DUPLICATES: Rule(OperatorRole.MODERATOR, is_look=True),
    Act.DECIDE_DUPLICATE: Rule(
        OperatorRole.MODERATOR, about=About.PAIR, refuses_own=True, records_itself=True
    ),
    Act.SET_DUPLICATE_MATCHING: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.CHANGE_PERSON: Rule(
        OperatorRole.OPERATOR, about=About.PERSON, refuses_own=True, records_itself=True
    ),
    Act.ADD_SCHOOL: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.CHANGE_SCHOOL: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.OPEN_SCHOOL: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.CLOSE_SCHOOL: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.RENAME_SCHOOL: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.MERGE_SCHOOLS: Rule(OperatorRole.OPERATOR, needs_password=True, records_itself=True),
    Act.REMOVE_SCHOOL: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.INVITE_TO_SCHOOL: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.END_INVITATION: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.LIST_REQUESTS: Rule(OperatorRole.MODERATOR, is_look=True),
    Act.APPROVE_MEMBER: Rule(
        OperatorRole.MODERATOR, about=About.PERSON, refuses_own=True, records_itself=True
    ),
    Act.REFUSE_MEMBER: Rule(
        OperatorRole.MODERATOR, about=About.PERSON, refuses_own=True, records_itself=True
    ),
    Act.LIST_MAILS: Rule(OperatorRole.OPERATOR, is_look=True),
    Act.READ_MAIL: Rule(
        OperatorRole.OPERATOR, about=About.MAIL, records_itself=True, needs_password=True
    ),
    Act.RESEND_MAIL: Rule(OperatorRole.OPERATOR, about=About.MAIL),
    Act.PAUSE_QUEUE: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.RESUME_QUEUE: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.SET_CONCURRENCY: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.RETRY_JOBS: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.CANCEL_JOBS: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.PRIORITIZE_JOBS: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.REQUEUE_JOB: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.SET_ROLE: Rule(OperatorRole.OWNER, about=About.PERSON, needs_password=True),
    Act.SET_SITE_OPERATOR: Rule(OperatorRole.OWNER),
    Act.PUBLISH_NOTICE: Rule(OperatorRole.OWNER, needs_password=True),
    Act.SEE_SYSTEM: Rule(OperatorRole.VIEWER, is_look=True),
    Act.CHANGE_SCHEDULE: Rule(OperatorRole.OPERATOR),
    Act.RUN_SCHEDULE: Rule(OperatorRole.OPERATOR),
    Act.CHANGE_SETTING: Rule(OperatorRole.OPERATOR),
    Act.SET_THRESHOLD: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.USE_SCALE: Rule(OperatorRole.OPERATOR, records_itself=True),
    Act.BEGIN_MODEL_CHANGE: Rule(OperatorRole.OWNER, records_itself=True),
    Act.USE_MODEL: Rule(OperatorRole.OWNER, records_itself=True),
    Act.ROLL_BACK_MODEL: Rule(OperatorRole.OWNER, records_itself=True),
    Act.RETIRE_MODEL: Rule(OperatorRole.OWNER, needs_password=True, records_itself=True),
}


@asynccontextmanager
async def authorized(
    db: Database,
    operator: Operator,
    act: Act,
    object_id: UUID | None = None,
    *,
    reason: str | None = None,
    details: dict[str, Any] | None = None,
) -> AsyncIterator[Connection]:
    """Open the transaction of an act, and record it when it has been done.

    *object_id* is what is looked at or changed, of the kind that the rule names; whom it is about
    is recorded too. *details* are ids and counts; the block may add some.

    Raises:
        ForbiddenError: the operator may not do it, or not to this person or in this case.
        InputInvalidError: it needs a reason, or the reason is too long.
        ReauthenticationNeededError: it needs a password that was entered a moment ago.
    """
    rule = RULES[act]
    check_role(operator, act)
    reason = _check_reason(reason, needed=rule.needs_reason)
    if needs_password_now(operator, act):
        raise ReauthenticationNeededError
    details = details if details is not None else {}
    async with db.transaction() as conn:
        subjects = await check_object(conn, operator, act, rule.about, object_id)
        # The row of an act on a person has them as its object.
        if rule.about is not About.PERSON and subjects:
            name_people(details, subjects)
        yield conn
        if not rule.records_itself:
            await audit_log.record_act(
                conn, operator.actor, act.value, object_id=object_id, reason=reason, details=details
            )


@asynccontextmanager
async def authorized_steps(db: Database, operator: Operator, act: Act) -> AsyncIterator[Connection]:
    """Give a connection for an act in several transactions, whose SQL function records it.

    Raises:
        ForbiddenError: the operator may not do it.
        ReauthenticationNeededError: it needs a password that was entered a moment ago.
    """
    assert RULES[act].records_itself
    check_role(operator, act)
    if needs_password_now(operator, act):
        raise ReauthenticationNeededError
    async with db.connection() as conn:
        await check_object(conn, operator, act)
        yield conn


@asynccontextmanager
async def looking_at_system(db: Database, operator: Operator) -> AsyncIterator[Connection]:
    """Give a connection to look at what tells of nobody, which is not recorded.

    Raises:
        ForbiddenError: this is no operator.
    """
    check_role(operator, Act.SEE_SYSTEM)
    async with db.connection() as conn:
        yield conn


def check_role(operator: Operator, act: Act) -> None:
    """Return when the role of an operator is enough for an act.

    Raises:
        ForbiddenError: it is not.
    """
    least_role = RULES[act].least_role
    if operator.role.rank < least_role.rank:
        raise ForbiddenError(f"This needs the role {least_role} or a higher one.")


def needs_password_now(operator: Operator, act: Act) -> bool:
    """Tell whether an operator has to enter the password before an act."""
    # Whoever has the machine is asked by the command.
    if operator.id is None or not RULES[act].needs_password:
        return False
    entered_at = operator.password_entered_at
    return entered_at is None or datetime.now(UTC) - entered_at > PASSWORD_LIFE


async def check_object(
    conn: Connection,
    operator: Operator,
    act: Act,
    about: About | None = None,
    object_id: UUID | None = None,
) -> list[UUID]:
    """Return whom an object is about, until the transaction ends, when the act may be done to it.

    Raises:
        ForbiddenError: the operator is one no longer, or is a side of it, or somebody whom it is
            about has a higher role.
    """
    found = []
    if about is not None and object_id is not None:
        erases = act is Act.ERASE_BY_CASE
        found = await operators.open_act(conn, about.value, object_id, erases=erases)
    # Whoever has the machine is nobody's account.
    if operator.id is not None:
        # A role may have been taken, or a session ended, since the request began.
        now = operator.claims and await operators.find_operator(conn, operator.claims)
        if not now:
            raise ForbiddenError("This is for operators of this installation.")
        operator = now
        check_role(operator, act)
        sides = [each for each in found if RULES[act].refuses_own or not each.is_subject]
        if any(each.profile_id == operator.id for each in sides):
            raise ForbiddenError(_OWN_CASE if about in _OF_CASES else _OWN)
    subjects = [each for each in found if each.is_subject]
    if not RULES[act].is_look and any(
        each.role is not None and each.role.rank > operator.role.rank for each in subjects
    ):
        raise ForbiddenError("This person is an operator of a higher role than yours.")
    return [each.profile_id for each in subjects]


def name_people(details: dict[str, Any], people: Iterable[UUID]) -> None:
    """Say in the details of an act whom it is about, for them to find it in their export."""
    ids = [str(each) for each in people]
    if len(ids) == 1:
        details["person"] = ids[0]
    elif ids:
        details["people"] = ids


def _check_reason(reason: str | None, *, needed: bool) -> str | None:
    reason = (reason or "").strip()
    if needed and not reason:
        raise InputInvalidError("Give a reason; it stays in the audit log.")
    if len(reason) > _MAX_REASON or not reason.isprintable():
        raise InputInvalidError(f"A reason is one line of at most {_MAX_REASON} characters.")
    return reason or None
