"""Who runs this: whether people are told."""

from __future__ import annotations

from automatch.model.notices import NoticeKind
from automatch.ops.doctor.check import Check, Result, ok, warn
from automatch.ops.doctor.context import CheckContext
from automatch.store import notices, operators


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


CHECKS = [
    Check("operator.owner", "The installation has an owner", _owner),
    Check("operator.contact", "People know who runs this", _contact),
    Check("operator.texts", "Privacy notice and consent text are your own", _texts),
]
