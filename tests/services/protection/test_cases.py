"""What becomes of a decision beyond the database."""

from __future__ import annotations

import pytest

from automatch.auth.addresses import AddressKey
from automatch.errors.request import InputInvalidError
from automatch.model.cases import CaseAct
from automatch.model.operators import Operator
from automatch.services.protection import cases
from tests.support.build import one
from tests.support.operators import Desk

pytestmark = pytest.mark.anyio

ROOT = Operator.of_machine("cli:linh")
KEY = AddressKey("a key")


async def test_person_who_is_erased_by_a_decision_gets_a_receipt(desk: Desk) -> None:
    case = desk.case(desk.person("linh@example.org"))

    receipt = await cases.decide_case(
        desk.db, ROOT, case, KEY, CaseAct.ERASE_PERSON, erasing=desk.erasing
    )

    claims = desk.erasing.receipts.verify(receipt or "")
    assert (claims["act"], claims["destroyed"]["database"]["public.faces"]) == ("operator", 1)
    assert one(desk.conn, "select count(*) from public.profiles") == 0


async def test_nobody_is_erased_by_who_decided_before_the_appeal(desk: Desk) -> None:
    case = desk.case(desk.person("linh@example.org"))
    await cases.decide_case(desk.db, ROOT, case, KEY, CaseAct.FREEZE, erasing=desk.erasing)
    desk.conn.execute(
        "update automatch.cases set state = 'open', decided_at = null, appealed_at = now()"
    )

    with pytest.raises(InputInvalidError, match="before the appeal"):
        await cases.decide_case(
            desk.db, ROOT, case, KEY, CaseAct.ERASE_PERSON, erasing=desk.erasing
        )

    assert one(desk.conn, "select count(*) from public.profiles") == 1
