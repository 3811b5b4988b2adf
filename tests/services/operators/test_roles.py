"""Operators and their roles."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from automatch.errors.request import (
    ForbiddenError,
    InputInvalidError,
    LastOwnerError,
    NotFoundError,
)
from automatch.model.operators import Operator, OperatorRole
from automatch.model.people import Claims, Role
from automatch.services.operators import roles
from automatch.services.people import people
from tests.support.build import connect, one
from tests.support.operators import Desk
from tests.support.postgres import Database

pytestmark = pytest.mark.anyio

ROOT = Operator.of_machine("cli:linh")
HER = "linh@example.org"
BLOCKED = """
    select exists (
        select from pg_stat_activity as a
        where a.datname = current_database() and cardinality(pg_blocking_pids(a.pid)) > 0
    )
"""


def session_of(desk: Desk, person_id: UUID) -> Claims:
    session = one(desk.conn, "select auth.start_session(%s, %s)", person_id, person_id.bytes)
    return Claims(Role.AUTHENTICATED, person_id, session)


async def test_first_owner_gets_an_account_and_a_link(desk: Desk) -> None:
    by_hand = desk.without_mail()

    added = await roles.add_operator(desk.db, ROOT, HER, OperatorRole.OWNER, by_hand.links)

    assert added.mail is not None
    assert "https://match.example.org/invitation?token=" in added.mail.text
    [owner] = await roles.list_operators(desk.db, ROOT)
    assert (owner.id, owner.email, owner.role) == (added.id, HER, OperatorRole.OWNER)
    assert one(desk.conn, "select encrypted_password from auth.users") == "!"
    [entry, *_] = (await roles.read_audit_log(desk.db, ROOT, act="set_role")).entries
    assert entry.details == {"role": "owner", "person": str(added.id)}


async def test_link_is_mailed_where_there_is_a_mail_server(desk: Desk) -> None:
    added = await roles.add_operator(desk.db, ROOT, HER, OperatorRole.OWNER, desk.links)

    assert added.mail is None
    assert desk.conn.execute("select kind, recipient from automatch.mails").fetchall() == [
        ("invite", HER)
    ]


async def test_whoever_signed_up_with_the_address_has_to_prove_it(desk: Desk) -> None:
    stranger = desk.person(HER)
    claims = session_of(desk, stranger)

    added = await roles.add_operator(desk.db, ROOT, HER, OperatorRole.OWNER, desk.links)

    assert added.id == stranger
    assert one(desk.conn, "select encrypted_password from auth.users") == "!"
    with pytest.raises(ForbiddenError):
        await roles.load_operator(desk.db, claims)


async def test_adding_an_operator_waits_for_what_changes_their_account(
    desk: Desk, database: Database
) -> None:
    she = desk.person(HER)
    with connect(database.owner) as conn:
        conn.execute("select from auth.users where id = %s for update", [she])
        added = asyncio.ensure_future(
            roles.add_operator(desk.db, ROOT, HER, OperatorRole.VIEWER, desk.links)
        )
        while not one(desk.conn, BLOCKED):
            await asyncio.sleep(0)
        # Erasing somebody goes on like this.
        conn.execute("select from public.profiles where id = %s for update", [she])

    assert (await added).id == she


async def test_operator_is_added_once_and_changed_afterwards(desk: Desk) -> None:
    she = (await roles.add_operator(desk.db, ROOT, HER, OperatorRole.VIEWER, desk.links)).id

    with pytest.raises(InputInvalidError):
        await roles.add_operator(desk.db, ROOT, HER, OperatorRole.OWNER, desk.links)
    await roles.change_role(desk.db, ROOT, she, OperatorRole.MODERATOR)

    [account] = await roles.list_operators(desk.db, ROOT)
    assert account.role is OperatorRole.MODERATOR
    await roles.change_role(desk.db, ROOT, she, None)
    assert await roles.list_operators(desk.db, ROOT) == []
    for role in (None, OperatorRole.OWNER):
        with pytest.raises(NotFoundError):
            await roles.change_role(desk.db, ROOT, she, role)


@pytest.mark.parametrize("role", [None, OperatorRole.OPERATOR])
async def test_last_owner_stays(desk: Desk, role: OperatorRole | None) -> None:
    she = desk.operator(OperatorRole.OWNER).id
    assert she is not None

    with pytest.raises(LastOwnerError):
        await roles.change_role(desk.db, ROOT, she, role)
    with pytest.raises(LastOwnerError):
        await people.erase_person(desk.db, ROOT, she, "asked for it", desk.erasing)
    desk.conn.execute(
        "insert into automatch.operators values (%s, 'owner')", [desk.person("other@example.org")]
    )
    await roles.change_role(desk.db, ROOT, she, role)


async def test_two_owners_who_remove_each_other_leave_one(desk: Desk) -> None:
    owners = []
    for number in range(2):
        owners.append(desk.person(f"owner{number}@example.org"))
        desk.conn.execute("insert into automatch.operators values (%s, 'owner')", [owners[-1]])

    results = await asyncio.gather(
        *(roles.change_role(desk.db, ROOT, owner, None) for owner in owners),
        return_exceptions=True,
    )

    assert sorted(type(result) for result in results if result is not None) == [LastOwnerError]
    assert len(await roles.list_operators(desk.db, ROOT)) == 1


async def test_operator_is_who_is_signed_in_and_has_a_role(desk: Desk) -> None:
    she = desk.person(HER)
    claims = session_of(desk, she)
    with pytest.raises(ForbiddenError):
        await roles.load_operator(desk.db, claims)
    desk.conn.execute("insert into automatch.operators values (%s, 'moderator')", [she])

    operator = await roles.load_operator(desk.db, claims)

    assert (operator.id, operator.role) == (she, OperatorRole.MODERATOR)
    assert operator.actor == f"operator:{she}"
    assert operator.password_entered_at is None
    desk.conn.execute("select auth.enter_password(%s)", [claims.session_id])
    assert (await roles.load_operator(desk.db, claims)).password_entered_at is not None
    for ended in ("update auth.sessions set by_operator = true", "delete from auth.sessions"):
        desk.conn.execute(ended.encode())
        with pytest.raises(ForbiddenError):
            await roles.load_operator(desk.db, claims)


async def test_rows_about_a_person_outlive_the_person(desk: Desk) -> None:
    she = desk.person(HER)
    await people.show_person(desk.db, ROOT, she)
    await people.find_people(desk.db, ROOT, "nobody")
    long_ago = "update automatch.audit_log set recorded_at = recorded_at - interval '2 years'"
    clean_up = "select delete_expired_rows('1d', '365d', '1d', '1d', '1d', '1d', '1d', '1d')"

    def kept() -> list[str]:
        desk.conn.execute(clean_up)
        return [action for _, action, *_ in desk.audited()]

    desk.conn.execute(long_ago)
    assert kept() == ["show_person"]
    desk.conn.execute("delete from auth.users")
    assert kept() == ["show_person", "person_erased"]
    desk.conn.execute(long_ago)
    assert kept() == []


async def test_audit_log_tells_what_concerns_a_person(desk: Desk) -> None:
    she, he = desk.person(HER), desk.person("he@example.org", "Minh")
    await people.find_people(desk.db, ROOT, "LINH")
    await people.show_person(desk.db, ROOT, he)
    await people.reset_password(desk.db, ROOT, she, desk.links, "forgot it")

    log = await roles.read_audit_log(desk.db, ROOT, person_id=she)

    assert [(entry.action, entry.reason) for entry in log.entries] == [
        ("reset_password", "forgot it"),
        ("find_people", None),
    ]
    shown = await roles.read_audit_log(desk.db, ROOT, act="show_person")
    assert [entry.object_id for entry in shown.entries] == [he]
