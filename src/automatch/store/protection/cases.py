"""Cases: reports, take-down requests, messages of both sides, and the acts of operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from psycopg.rows import AsyncRowFactory, class_row, kwargs_row, tuple_row

from automatch.errors.request import NotFoundError
from automatch.model.cases import (
    Case,
    CaseAct,
    CaseDetails,
    CaseMessage,
    CaseRecipient,
    CaseRecord,
    CaseSide,
    CaseState,
    CaseViewer,
    LinkedCase,
    OwnCase,
    OwnMessage,
    ReportReason,
    ShownPerson,
)
from automatch.store.call import call, call_row, call_rows, call_value
from automatch.store.database import Connection
from automatch.store.protection.erasures import Erased

_T = TypeVar("_T")

_ENUMS: dict[str, type[StrEnum]] = {
    "reason": ReportReason,
    "state": CaseState,
    "side": CaseSide,
    "author": CaseSide,
    "audience": CaseSide,
}


def own_case_of(**columns: Any) -> OwnCase:
    """Return a case from the columns of a row."""
    return _from_row(OwnCase, columns)


def _rows_of(kind: Callable[..., _T]) -> AsyncRowFactory[_T]:
    return kwargs_row(lambda **columns: _from_row(kind, columns))


def _from_row(kind: Callable[..., _T], columns: Mapping[str, Any]) -> _T:
    return kind(**{n: _ENUMS[n](v) if n in _ENUMS else v for n, v in columns.items()})


async def find_shown_person(conn: Connection, profile_id: UUID) -> ShownPerson | None:
    """Return somebody who is or was in the caller's feed."""
    return await call_row(conn, "find_shown_person", class_row(ShownPerson), profile_id=profile_id)


async def report_profile(
    conn: Connection,
    profile_id: UUID,
    reason: ReportReason,
    statement: str | None,
    face_id: UUID | None = None,
) -> UUID:
    """Report somebody of the caller's feed, and block them; return the id of the case.

    Raises:
        NotFoundError: the caller was not shown this person, or this photo.
    """
    case_id: UUID = await call_value(
        conn,
        "report_profile",
        profile_id=profile_id,
        reason=reason.value,
        statement=statement,
        face_id=face_id,
    )
    return case_id


async def withdraw_report(conn: Connection, case_id: UUID) -> None:
    """Take back a report of the caller, made just now, with the block that came with it.

    Raises:
        NotFoundError: it is not theirs, too old, or somebody has looked at it.
    """
    await call(conn, "withdraw_report", case_id=case_id)


async def request_take_down(
    conn: Connection,
    *,
    subject_id: UUID | None,
    reason: ReportReason,
    statement: str,
    address: str,
    address_hash: bytes,
) -> UUID:
    """Keep a request of somebody without an account, whose *address* is encrypted."""
    case_id: UUID = await call_value(
        conn,
        "request_take_down",
        subject_id=subject_id,
        reason=reason.value,
        statement=statement,
        address=address,
        address_hash=address_hash,
    )
    return case_id


async def create_token(
    conn: Connection, case_id: UUID, token_sha256: bytes, life: timedelta
) -> bool:
    """Keep the token of a mailed link; return False once the address is forgotten."""
    return bool(
        await call_value(
            conn, "create_case_token", case_id=case_id, token_sha256=token_sha256, life=life
        )
    )


async def find_by_token(conn: Connection, token_sha256: bytes) -> LinkedCase | None:
    """Return the case that a mailed link is for."""
    return await call_row(conn, "find_case_token", _rows_of(LinkedCase), token_sha256=token_sha256)


async def prove_take_down(conn: Connection, token_sha256: bytes) -> bool:
    """Open the case of a request; return False when that was done before."""
    return bool(await call_value(conn, "prove_take_down", token_sha256=token_sha256))


async def list_messages_by_token(conn: Connection, token_sha256: bytes) -> list[OwnMessage]:
    """Return what whoever has the link wrote and was answered, oldest first."""
    return await call_rows(
        conn, "list_case_messages_by_token", _rows_of(OwnMessage), token_sha256=token_sha256
    )


async def write_by_token(conn: Connection, token_sha256: bytes, body: str) -> bool:
    """Answer, or appeal; return False when the link is too old.

    Raises:
        InputInvalidError: there was an appeal, or nothing is written.
    """
    return bool(
        await call_value(conn, "write_to_case_by_token", token_sha256=token_sha256, body=body)
    )


async def list_own_cases(conn: Connection) -> list[OwnCase]:
    """Return the caller's reports, and what was done about the caller, newest first."""
    return await call_rows(conn, "list_own_cases", _rows_of(OwnCase))


async def list_own_messages(conn: Connection) -> list[OwnMessage]:
    """Return what the caller wrote and was answered, oldest first."""
    return await call_rows(conn, "list_own_case_messages", _rows_of(OwnMessage))


async def write(conn: Connection, case_id: UUID, body: str) -> None:
    """Answer or appeal, in one of the caller's cases.

    Raises:
        NotFoundError: it is none of theirs.
        InputInvalidError: there was an appeal, or nothing is written.
    """
    await call(conn, "write_to_case", case_id=case_id, body=body)


async def list_cases(
    conn: Connection, state: CaseState | None, limit: int, operator_id: UUID | None = None
) -> list[Case]:
    """Return cases of one state, or with None those that are not decided; none of the operator."""
    return await call_rows(
        conn, "list_cases", _rows_of(Case), state=state, limit=limit, operator_id=operator_id
    )


async def read_case(conn: Connection, case_id: UUID) -> CaseDetails:
    """Return a case with the person it is about.

    Raises:
        NotFoundError: there is no such case.
    """
    found = await call_row(conn, "read_case", _rows_of(CaseDetails), case_id=case_id)
    if found is None:
        raise NotFoundError("There is no such case.")
    return found


async def list_messages(conn: Connection, case_id: UUID) -> list[CaseMessage]:
    """Return all that was written in a case, oldest first."""
    return await call_rows(conn, "list_case_messages", _rows_of(CaseMessage), case_id=case_id)


async def list_viewers(conn: Connection, case_id: UUID) -> list[CaseViewer]:
    """Return to whom the person of a case was shown, newest first."""
    return await call_rows(conn, "list_case_viewers", class_row(CaseViewer), case_id=case_id)


async def list_records(conn: Connection, case_id: UUID) -> list[CaseRecord]:
    """Return who looked at a case and did what, oldest first."""
    return await call_rows(conn, "list_case_acts", class_row(CaseRecord), case_id=case_id)


async def open_photo(conn: Connection, case_id: UUID, face_id: UUID | None) -> str:
    """Return where a photo of the person of a case lies; the person is told that one looked.

    Raises:
        NotFoundError: the person has no such photo.
    """
    path: str = await call_value(conn, "open_case_photo", case_id=case_id, face_id=face_id)
    return path


async def point(conn: Connection, case_id: UUID, subject_id: UUID, *, again: bool) -> UUID:
    """Say which photo or person a case is about; return the person.

    Raises:
        NotFoundError: there is no such case, photo or person.
        InputInvalidError: the case is about somebody else, and *again* is false.
    """
    person_id: UUID = await call_value(
        conn, "point_case", case_id=case_id, subject_id=subject_id, again=again
    )
    return person_id


async def decide(
    conn: Connection,
    actor: str,
    case_id: UUID,
    act: CaseAct,
    *,
    face_id: UUID | None = None,
    alone: bool = False,
) -> Erased | None:
    """Decide a case, and do what was decided; return what went with a person who was erased.

    Raises:
        NotFoundError: there is no such case, photo or person.
        InputInvalidError: *actor* decided before the appeal, and *alone* is false.
    """
    row = await call_row(
        conn,
        "decide_case",
        tuple_row,
        actor=actor,
        case_id=case_id,
        act=act.value,
        face_id=face_id,
        alone=alone,
    )
    assert row is not None
    return Erased(**row[1]) if row[1] is not None else None


async def answer(
    conn: Connection, actor: str, case_id: UUID, audience: CaseSide, body: str
) -> None:
    """Write to one side of a case, or a note to all operators.

    Raises:
        NotFoundError: there is no such case.
    """
    await call(
        conn, "answer_case", actor=actor, case_id=case_id, audience=audience.value, body=body
    )


async def find_recipient(conn: Connection, case_id: UUID, side: CaseSide) -> CaseRecipient | None:
    """Return how one side of a case is reached by mail, or None."""
    return await call_row(
        conn, "find_case_recipient", class_row(CaseRecipient), case_id=case_id, side=side.value
    )


async def find_ban(conn: Connection, address_hash: bytes) -> UUID | None:
    """Return the case in which an address was banned, if it is."""
    found: UUID | None = await call_value(conn, "find_ban", address_hash=address_hash)
    return found


async def ban(conn: Connection, actor: str, case_id: UUID, address_hash: bytes) -> None:
    """Freeze the person of a case and refuse their address from now on."""
    await call(conn, "ban_address", actor=actor, case_id=case_id, address_hash=address_hash)


async def lift_ban(conn: Connection, case_id: UUID) -> bool:
    """Lift the bans of a case; return whether there was one."""
    return bool(await call_value(conn, "lift_ban", case_id=case_id))
