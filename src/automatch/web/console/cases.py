"""The console's pages of cases, and of photos that wait for a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automatch.errors.request import InputInvalidError
from automatch.http.declaration import Access, declare
from automatch.http.deps import ServicesDep
from automatch.model.cases import CaseAct, CaseSide, CaseState
from automatch.services.operation.overview import count_waiting
from automatch.services.operators.acts import Act
from automatch.services.protection import cases
from automatch.web.console.frame import (
    ConfirmPage,
    ConsolePage,
    ConsoleRoute,
    HandOverPage,
    MeDep,
    show,
)
from automatch.web.pages import go_to, read_form, text_of

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from automatch.model.cases import Case
    from automatch.model.faces import HeldPhoto
    from automatch.services.protection.cases import CaseFile

router = APIRouter(prefix="/admin", route_class=ConsoleRoute, include_in_schema=False)

_LIMIT = 100
_NOTICES = {
    "decided": "Decided. Both sides were told what concerns them.",
    "written": "Sent. They get a mail that there is something to read.",
    "noted": "Noted. Only operators read it.",
    "pointed": "The case is about it now.",
    "banned": "The person is frozen, and their address is banned.",
    "unbanned": "The ban is lifted. Unfreeze the person too if they may take part again.",
    "released": "The photo is found and searched for now.",
    "refused": "The photo is refused. Its person is told.",
}
_NOTICES_WITHOUT_MAIL = {
    "decided": "Decided. No mail server is set: the mails about it wait on the Mail page for "
    "somebody to hand them over.",
    "written": "Written. No mail server is set: the mail about it waits on the Mail page for "
    "somebody to hand it over.",
}
_PLAIN_ACTS = {
    CaseAct.HIDE: "Hide the photo",
    CaseAct.UNHIDE: "Show the photo again",
    CaseAct.FREEZE: "Freeze the person",
    CaseAct.UNFREEZE: "Unfreeze the person",
    CaseAct.DISMISS: "Find nothing wrong",
    CaseAct.CLOSE: "Close; what is hidden stays hidden",
}
HELD_REASONS = {
    "another_person": "Shows somebody else than their first photo",
    "another_account": "Looks like the person of another account",
    "challenge": "Not shown to be theirs before the camera yet",
    "refused": "Refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CasesPage(ConsolePage):
    """The inbox."""

    template: ClassVar[str] = "console/cases.html"
    section: ClassVar[str] = "cases"
    title: str = "Cases"
    state: str
    """Empty for those that are not decided."""
    found: Sequence[Case]
    unproven: int
    sends_mail: bool
    limit: int = _LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePage(ConsolePage):
    """One case, with all that was written and done."""

    template: ClassVar[str] = "console/case.html"
    section: ClassVar[str] = "cases"
    title: str = "Case"
    file: CaseFile

    @property
    def acts(self) -> list[tuple[str, str]]:
        """What can be decided as things are: name and text."""
        case = self.file.details
        hidden = bool(case.hidden_face_ids)
        possible = {
            CaseAct.HIDE: bool(case.face_ids),
            CaseAct.UNHIDE: hidden,
            CaseAct.FREEZE: case.profile_id is not None,
            CaseAct.UNFREEZE: case.frozen,
        }
        texts = dict(_PLAIN_ACTS)
        if not hidden and not case.frozen:
            texts[CaseAct.CLOSE] = "Close; nothing is hidden, and nothing gets hidden"
        return [(act.value, text) for act, text in texts.items() if possible.get(act, True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPage(ConsolePage):
    """Photos that wait for a decision."""

    template: ClassVar[str] = "console/held.html"
    section: ClassVar[str] = "held"
    title: str = "Photos that wait"
    reason: str
    found: Sequence[HeldPhoto]
    limit: int = _LIMIT

    @property
    def reasons(self) -> dict[str, str]:
        return HELD_REASONS


@router.get("/cases")
@declare(Access.CONSOLE, act=Act.LIST_CASES)
async def list_cases(me: MeDep, services: ServicesDep, state: str = "") -> Response:
    """Show the inbox, those still shown to others first."""
    only = CaseState(state) if state in set(CaseState) else None
    found = await cases.list_cases(services.db, me, only, _LIMIT)
    waiting = await count_waiting(services.db, me)
    return show(
        CasesPage(
            me=me,
            state=only or "",
            found=found,
            unproven=waiting.unproven_cases,
            sends_mail=services.mailed_links.sends_mail,
        )
    )


@router.get("/cases/{case_id:uuid}")
@declare(Access.CONSOLE, act=Act.SHOW_CASE)
async def show_case(case_id: UUID, me: MeDep, services: ServicesDep, done: str = "") -> Response:
    """Show a case; its photos are placeholders."""
    file = await cases.load_case(services.db, me, case_id)
    notices = _NOTICES if services.mailed_links.sends_mail else _NOTICES | _NOTICES_WITHOUT_MAIL
    return show(CasePage(me=me, file=file, notice=notices.get(done)))


@router.post("/cases/{case_id:uuid}/photo")
@declare(Access.CONSOLE, act=Act.SEE_PHOTO)
async def see_photo(case_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Show a photo, after recording who looks and why."""
    form = await read_form(request)
    jpeg = await cases.load_case_photo(
        services.db,
        me,
        case_id,
        services.photos,
        reason=text_of(form, "reason"),
        face_id=_id_in(form, "face"),
    )
    return Response(jpeg, media_type="image/jpeg")


@router.post("/cases/{case_id:uuid}/write")
@declare(Access.CONSOLE, act=Act.WRITE_IN_CASE)
async def write(case_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Write to one side, or a note that operators alone read."""
    form = await read_form(request)
    to = text_of(form, "to")
    if to not in {CaseSide.REPORTER, CaseSide.REPORTED, CaseSide.OPERATORS}:
        raise InputInvalidError("Choose whom you write to.")
    audience = CaseSide(to)
    await cases.write_in_case(
        services.db,
        me,
        case_id,
        services.addresses,
        audience=audience,
        text=text_of(form, "text"),
    )
    return _back(case_id, "noted" if audience is CaseSide.OPERATORS else "written")


@router.post("/cases/{case_id:uuid}/about")
@declare(Access.CONSOLE, act=Act.POINT_CASE)
async def point(case_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Say which photo or person a case is about."""
    form = await read_form(request)
    subject = _id_in(form, "subject")
    if subject is None:
        raise InputInvalidError("Give the id of a photo or of a person.")
    reason = text_of(form, "reason").strip() or None
    await cases.point_case(services.db, me, case_id, subject, reason)
    return _back(case_id, "pointed")


@router.post("/cases/{case_id:uuid}/decide")
@declare(Access.CONSOLE, act=Act.DECIDE_CASE)
async def decide(case_id: UUID, request: Request, me: MeDep, services: ServicesDep) -> Response:
    """Decide a case by what can be undone."""
    form = await read_form(request)
    if text_of(form, "decision") not in {act.value for act in _PLAIN_ACTS}:
        raise InputInvalidError("Choose what to do.")
    await cases.decide_case(
        services.db,
        me,
        case_id,
        services.addresses,
        CaseAct(text_of(form, "decision")),
        erasing=services.erasures,
        face_id=_id_in(form, "face"),
        alone="alone" in form,
    )
    return _back(case_id, "decided")


@router.get("/cases/{case_id:uuid}/erase/{what}")
@declare(Access.CONSOLE, act=Act.ERASE_BY_CASE)
async def ask_to_erase(
    case_id: UUID, what: str, me: MeDep, face: str = "", alone: str = ""
) -> Response:
    """Ask before a photo or an account is erased."""
    act = _erasing(what)
    hidden = {"face": face} if face else {}
    if alone:
        hidden["alone"] = "1"
    if act is CaseAct.ERASE_PERSON:
        title, facts = "Erase the account?", ["The account goes, with all photos and matches."]
    else:
        title, facts = "Erase the photo?", ["The photo goes, with its matches. Its person is told."]
    return show(
        ConfirmPage(
            me=me,
            title=title,
            act=Act.ERASE_BY_CASE,
            facts=[*facts, "The case is decided by it."],
            button="Erase for good",
            back=f"/admin/cases/{case_id}",
            is_final=True,
            hidden=hidden,
        )
    )


@router.post("/cases/{case_id:uuid}/erase/{what}")
@declare(Access.CONSOLE, act=Act.ERASE_BY_CASE)
async def erase(
    case_id: UUID, what: str, request: Request, me: MeDep, services: ServicesDep
) -> Response:
    """Erase the photo, or the person with everything."""
    form = await read_form(request)
    receipt = await cases.decide_case(
        services.db,
        me,
        case_id,
        services.addresses,
        _erasing(what),
        erasing=services.erasures,
        face_id=_id_in(form, "face"),
        alone="alone" in form,
    )
    back = f"/admin/cases/{case_id}"
    if receipt is None:
        return _back(case_id, "decided")
    lead = "This receipt says what was destroyed. Hand it over to the person."
    return show(HandOverPage(me=me, title="Erased", lead=lead, text=receipt, back=back))


@router.get("/cases/{case_id:uuid}/ban")
@declare(Access.CONSOLE, act=Act.BAN)
async def ask_to_ban(case_id: UUID, me: MeDep) -> Response:
    """Ask before an address is banned."""
    return show(
        ConfirmPage(
            me=me,
            title="Ban this person's address?",
            act=Act.BAN,
            facts=[
                "The person is frozen.",
                "Nobody can use the address again, also after the account is erased.",
                "Only a keyed hash of the address is kept, and nothing of the face.",
            ],
            button="Ban",
            back=f"/admin/cases/{case_id}",
        )
    )


@router.post("/cases/{case_id:uuid}/ban")
@declare(Access.CONSOLE, act=Act.BAN)
async def ban(case_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Freeze the person, and refuse their address."""
    await cases.ban(services.db, me, case_id, services.addresses)
    return _back(case_id, "banned")


@router.post("/cases/{case_id:uuid}/unban")
@declare(Access.CONSOLE, act=Act.LIFT_BAN)
async def lift_ban(case_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Lift a ban."""
    await cases.lift_ban(services.db, me, case_id)
    return _back(case_id, "unbanned")


@router.get("/held")
@declare(Access.CONSOLE, act=Act.LIST_HELD_PHOTOS)
async def list_held(me: MeDep, services: ServicesDep, reason: str = "", done: str = "") -> Response:
    """Show the photos that wait, oldest first."""
    only = reason if reason in HELD_REASONS else ""
    found = await cases.list_held_photos(services.db, me, only or None, _LIMIT)
    return show(HeldPage(me=me, reason=only, found=found, notice=_NOTICES.get(done)))


@router.post("/held/{subject_id:uuid}/photo")
@declare(Access.CONSOLE, act=Act.SEE_HELD_PHOTO)
async def see_held_photo(
    subject_id: UUID, request: Request, me: MeDep, services: ServicesDep
) -> Response:
    """Show a photo that waits, or the first of an account to compare it with."""
    reason = text_of(await read_form(request), "reason")
    jpeg = await cases.load_held_photo(services.db, me, subject_id, services.photos, reason=reason)
    return Response(jpeg, media_type="image/jpeg")


@router.post("/held/{face_id:uuid}/release")
@declare(Access.CONSOLE, act=Act.RELEASE_PHOTO)
async def release(face_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Let a photo be found and searched for."""
    await cases.decide_held_photo(services.db, me, face_id, release=True)
    return go_to("/admin/held?done=released")


@router.get("/held/{face_id:uuid}/refuse")
@declare(Access.CONSOLE, act=Act.REFUSE_PHOTO)
async def ask_to_refuse(face_id: UUID, me: MeDep) -> Response:
    """Ask before a photo is refused."""
    del face_id
    return show(
        ConfirmPage(
            me=me,
            title="Refuse this photo?",
            act=Act.REFUSE_PHOTO,
            facts=["Its embedding is deleted.", "Its person is told to delete it."],
            button="Refuse",
            back="/admin/held",
            is_final=True,
        )
    )


@router.post("/held/{face_id:uuid}/refuse")
@declare(Access.CONSOLE, act=Act.REFUSE_PHOTO)
async def refuse(face_id: UUID, me: MeDep, services: ServicesDep) -> Response:
    """Refuse a photo."""
    await cases.decide_held_photo(services.db, me, face_id, release=False)
    return go_to("/admin/held?done=refused")


def _erasing(what: str) -> CaseAct:
    return CaseAct.ERASE_PERSON if what == "person" else CaseAct.ERASE_PHOTO


def _id_in(form: FormData, name: str) -> UUID | None:
    try:
        return UUID(text_of(form, name))
    except ValueError:
        return None


def _back(case_id: UUID, done: str) -> Response:
    return go_to(f"/admin/cases/{case_id}?done={done}")
