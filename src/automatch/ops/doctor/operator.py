"""What is the operator's to decide before real people come."""

from __future__ import annotations

import shlex

from automatch.model.notices import NoticeKind
from automatch.ops.doctor.check import Check, Result, abbreviate, ok, warn
from automatch.ops.doctor.context import CheckContext
from automatch.store.operation import overview
from automatch.store.operators import notices, operators
from automatch.store.people import schools


async def _contact(context: CheckContext) -> Result:
    operator = await notices.load_site_operator(context.database)
    if operator.name is None or not operator.has_contact:
        return warn(
            "People are not told who runs this and how to reach them; sign-up calls it a test "
            "installation.",
            'automatch about set --name "Your name" --email you@example.org',
        )
    return ok("People are told who runs this and how to reach them.")


async def _texts(context: CheckContext) -> Result:
    for kind in NoticeKind:
        published = await notices.list_published(context.database, kind)
        if not any(notice.by_operator for notice in published):
            return warn(
                f"The {kind} text is the one that comes with Auto-Match, which names nobody.",
                f"Write your own: `automatch notice publish {kind} FILE --language en`.",
            )
    return ok("Privacy notice and consent text are your own.")


async def _owner(context: CheckContext) -> Result:
    if not await operators.has_owner(context.database):
        return warn(
            "Nobody is the owner of this installation: nobody but whoever has the machine can help "
            "a person or answer a complaint.",
            "automatch operator add you@example.org --role owner",
        )
    return ok("The installation has an owner.")


async def _schools(context: CheckContext) -> Result:
    found = await schools.list_schools(context.database)
    if not found:
        return warn("There is no school to choose.", "automatch school add NAME --domain DOMAIN")
    open_ones = [school.name for school in found if school.is_open]
    if not open_ones:
        return ok("Whoever names a school has to prove that they belong to it.")
    return warn(
        f"Open schools, whose people anybody sees who names one: {abbreviate(open_ones)}.",
        f"automatch school close {shlex.quote(open_ones[0])} --yes",
    )


async def _waiting(context: CheckContext) -> Result:
    waiting = await overview.count_waiting(context.database, None)
    found = {
        "automatch case list": waiting.open_cases,
        "automatch photos held": waiting.held_photos,
        "automatch school requests": waiting.membership_requests,
    }
    kinds = {command: count for command, count in found.items() if count}
    if not kinds:
        return ok("No report, photo or request to join a school waits for a decision.")
    return warn(
        "People wait for a decision: "
        f"{waiting.open_cases} open cases, {waiting.held_photos} photos, "
        f"{waiting.membership_requests} requests to join a school.",
        ", ".join(f"`{command}`" for command in kinds) + ", or the console.",
    )


CHECKS = [
    Check("operator.owner", "The installation has an owner", _owner),
    Check("operator.contact", "People know who runs this", _contact),
    Check("operator.schools", "Schools ask for a proof", _schools),
    Check("operator.texts", "Privacy notice and consent text are your own", _texts),
    Check("operator.waiting", "Nobody waits for a decision", _waiting),
]
