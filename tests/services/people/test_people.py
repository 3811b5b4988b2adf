"""What operators look at of people, and do for them."""

from __future__ import annotations

import re
from dataclasses import replace
from uuid import uuid4

import pytest

from automatch.errors.request import InputInvalidError, NotFoundError, SignInElsewhereError
from automatch.model.operators import Operator
from automatch.services.people import people
from automatch.store.accounts.accounts import hash_token
from tests.support.build import a_face, a_match, a_profile, one, record_consent, unit
from tests.support.operators import Desk

pytestmark = pytest.mark.anyio

ROOT = Operator.of_machine("cli:linh")


async def test_people_are_found_by_name_address_and_id(desk: Desk) -> None:
    # Her address is a part of his, and her name was typed on a Mac: letter and accent apart.
    she = desk.person("h@example.org", "Lan Nguye\u0302\u0303n")
    he = desk.person("minh@example.org", "Minh Trần")

    async def found(query: str) -> list[object]:
        return [person.id for person in await people.find_people(desk.db, ROOT, query)]

    assert await found("nguyễn") == [she]
    assert await found(" trần ") == [he]
    assert await found("H@EXAMPLE.org") == [she, he]
    assert await found(str(he).upper()) == [he]
    assert await found("%") == []
    assert await found(" ") == []
    assert len(await people.find_people(desk.db, ROOT, "example", limit=1)) == 1


async def test_person_is_named_by_id_or_whole_address(desk: Desk) -> None:
    she = desk.person("linh@example.org")

    assert await people.find_id(desk.db, str(she)) == she
    assert await people.find_id(desk.db, "LINH@example.org") == she
    with pytest.raises(NotFoundError):
        await people.find_id(desk.db, "lin@example.org")
    with pytest.raises(InputInvalidError):
        await people.find_id(desk.db, "Linh")
    assert desk.audited() == []


async def test_what_is_shown_is_no_photo_and_no_template(desk: Desk) -> None:
    she = desk.person("linh@example.org")
    desk.conn.execute(
        "update profiles set school = 'UIT', gender = 'female', birth_date = '2000-02-29'"
    )
    record_consent(desk.conn, she, "granted")
    he = a_profile(desk.conn, gender="male")
    a_face(desk.conn, he, unit(1))
    a_match(desk.conn, a_face(desk.conn, she, unit(1)))
    a_face(desk.conn, she)
    one(desk.conn, "select auth.start_session(%s, 'token')", she)

    shown = await people.show_person(desk.db, ROOT, she)

    assert (shown.email, shown.school, shown.gender) == ("linh@example.org", "UIT", "female")
    assert (shown.photos, shown.matches, shown.sessions, shown.jobs_waiting) == (2, 1, 1, 0)
    assert (shown.consents, shown.consent_version) == (True, "2026-11")
    assert (shown.operator_role, shown.suspected_duplicates, shown.imported) == (None, 0, False)
    with pytest.raises(NotFoundError):
        await people.show_person(desk.db, ROOT, uuid4())


async def test_sessions_are_listed_and_ended(desk: Desk) -> None:
    she, he = desk.person("linh@example.org"), desk.person("minh@example.org")
    for number, person in enumerate((she, she, he)):
        one(desk.conn, "select auth.start_session(%s, %s)", person, bytes([number]))

    listed = await people.list_sessions(desk.db, ROOT, she, desk.links)
    ended = await people.end_sessions(desk.db, ROOT, she, desk.links, "lost her phone")

    assert [session.by_operator for session in listed] == [False, False]
    assert ended == 2
    assert one(desk.conn, "select user_id from auth.sessions") == he
    assert desk.audited()[-1] == ("cli:linh", "end_sessions", she, "lost her phone")


async def test_password_link_is_mailed_or_handed_over(desk: Desk) -> None:
    she = desk.person("linh@example.org")

    assert await people.reset_password(desk.db, ROOT, she, desk.links) is None
    handed = await people.reset_password(desk.db, ROOT, she, desk.without_mail().links)

    assert one(desk.conn, "select recipient from automatch.mails") == "linh@example.org"
    assert handed is not None
    assert "/reset-password?token=" in handed.text
    # It works until a new one is chosen.
    assert one(desk.conn, "select encrypted_password from auth.users") == "x"


async def test_person_is_invited_until_the_account_is_used(desk: Desk) -> None:
    she = desk.without_password(desk.person("linh@example.org"))

    assert await people.invite_person(desk.db, ROOT, she, desk.links) is None
    handed = await people.invite_person(desk.db, ROOT, she, desk.without_mail().links)

    assert one(desk.conn, "select kind from automatch.mails") == "invite"
    assert handed is not None
    [token] = re.findall(r"/invitation\?token=(\S+)", handed.text)
    assert one(desk.conn, "select expires_at > now() + interval '6 days' from auth.one_time_tokens")
    used = "select auth.use_one_time_token(%s, 'invite', 'a hash')"
    assert one(desk.conn, used, hash_token(token)) == she
    assert one(desk.conn, "select email_confirmed_at is not null from auth.users")
    with pytest.raises(InputInvalidError):
        await people.invite_person(desk.db, ROOT, she, desk.links)


async def test_frozen_person_is_out_until_unfrozen(desk: Desk) -> None:
    she = desk.person("linh@example.org")
    desk.conn.execute("update profiles set school = 'UIT' where id = %s", [she])

    await people.freeze_person(desk.db, ROOT, she, "case 12")
    frozen = await people.show_person(desk.db, ROOT, she)
    await people.unfreeze_person(desk.db, ROOT, she)

    assert (frozen.admitted, frozen.frozen_reason) == (False, "case 12")
    assert (await people.show_person(desk.db, ROOT, she)).admitted
    with pytest.raises(NotFoundError):
        await people.unfreeze_person(desk.db, ROOT, she)
    with pytest.raises(NotFoundError):
        await people.freeze_person(desk.db, ROOT, uuid4(), "case 12")


async def test_erased_person_is_gone(desk: Desk) -> None:
    she = desk.person("linh@example.org")

    await people.erase_person(desk.db, ROOT, she, "asked for it", desk.erasing)

    assert one(desk.conn, "select count(*) from auth.users") == 0
    assert one(desk.conn, "select count(*) from profiles") == 0
    assert desk.audited() == [("cli:linh", "erase_person", she, "asked for it")]
    with pytest.raises(NotFoundError):
        await people.erase_person(desk.db, ROOT, she, "again", desk.erasing)


async def test_where_people_sign_in_elsewhere_their_sign_in_is_left_alone(desk: Desk) -> None:
    elsewhere, she = replace(desk.links, are_ours=False), uuid4()

    for attempt in (people.list_sessions, people.end_sessions, people.reset_password):
        with pytest.raises(SignInElsewhereError):
            await attempt(desk.db, ROOT, she, elsewhere)
