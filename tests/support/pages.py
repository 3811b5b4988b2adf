"""View models with plausible and with hostile values, one page of each kind."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any, TypeVar
from uuid import UUID

from automatch.model.cases import (
    Case,
    CaseDetails,
    CaseMessage,
    CaseRecord,
    CaseSide,
    CaseState,
    CaseViewer,
    OwnCase,
    OwnMessage,
    ReportReason,
)
from automatch.model.faces import EyePlaces, Face, FaceBox, HeldPhoto
from automatch.model.jobs import Job, JobStatus, RefusedPhoto
from automatch.model.matches import FeedEntry, FeedOrder, FeedPlace, MatchDetails, Share
from automatch.model.notices import NoticeKind, PublishedNotice, SiteOperator
from automatch.model.operators import (
    AuditEntry,
    Impersonation,
    Operator,
    OperatorAccount,
    OperatorRole,
)
from automatch.model.people import (
    Consent,
    ConsentRecord,
    FoundPerson,
    Gender,
    HiddenPerson,
    PersonDetails,
    PersonSession,
    Profile,
    UserSession,
)
from automatch.model.schools import Invitation, Membership, MembershipRequest, School
from automatch.services.accounts.notifications import NotificationChoices
from automatch.services.matching.matches import MatchView
from automatch.services.operators.acts import Act
from automatch.services.people.profiles import ProfileShown
from automatch.services.protection.cases import CaseFile
from automatch.store.accounts.mails import WaitingMail
from automatch.store.photos.photo_views import PhotoViewCounts, PhotoViewsOfWeek
from automatch.web.accounts.account_views import (
    DetailsPage,
    JoinPage,
    MembershipPage,
    OnboardingPage,
    ProfileForm,
    SignInPage,
    SignUpPage,
)
from automatch.web.accounts.mailed_link_views import (
    ConfirmEmailPage,
    ForgotPasswordPage,
    MailedLinkPage,
)
from automatch.web.accounts.notification_pages import NotificationsPage, UnsubscribePage
from automatch.web.accounts.sign_in_settings_views import SignInSettingsPage
from automatch.web.accounts.start_pages import StartPage, StyleGuidePage
from automatch.web.console.cases import CasePage, CasesPage, HeldPage
from automatch.web.console.frame import ConfirmPage, HandOverPage, RefusedPage
from automatch.web.console.mail import MailPage
from automatch.web.console.operators import AuditPage, OperatorsPage, TextsPage
from automatch.web.console.password import PasswordPage
from automatch.web.console.people import PeoplePage, PersonPage
from automatch.web.console.schools import RequestsPage, SchoolPage, SchoolsPage
from automatch.web.matching.feed_views import Card, FeedPage
from automatch.web.matching.match_views import GonePage, MatchPage
from automatch.web.people.profile_views import (
    CardPreviewPage,
    ConsentPage,
    HiddenPeoplePage,
    LanguagePage,
    PhotoViewsPage,
    ProfilePage,
    SharePage,
    VisibilityPage,
)
from automatch.web.photos.challenge_views import ChallengePage
from automatch.web.photos.own_photos import JobItem, PhotosPage
from automatch.web.photos.waiting_views import Waiting
from automatch.web.protection.data_views import (
    AccountDeletedPage,
    DeleteAccountPage,
    KeptFor,
    WithdrawConsentPage,
    YourDataPage,
)
from automatch.web.protection.privacy_pages import PrivacyPage
from automatch.web.protection.report_views import (
    CaseItem,
    LinkedCasePage,
    ReportPage,
    ReportsPage,
    TakeDownPage,
    list_notices,
)
from automatch.web.templating import (
    ErrorPage,
    Page,
    Problem,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
AN_OPERATOR = Operator(OperatorRole.OWNER, "operator:1", UUID(int=1))
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

A_PERSON = PersonDetails(
    **dict.fromkeys(("email", "name", "school", "gender", "consent_version"), HOSTILE),
    **dict.fromkeys(("photos", "jobs_waiting", "jobs_failed", "matches", "sessions"), 1),
    id=UUID(int=1),
    created_at=NOON,
    last_sign_in_at=None,
    discoverable=True,
    admitted=True,
    memberships=[HOSTILE],
    frozen_at=None,
    frozen_reason=None,
    simulated=False,
    imported=True,
    operator_role=None,
    consents=True,
    consent_at=NOON,
    suspected_duplicates=1,
)
_CASE: dict[str, Any] = {
    "id": UUID(int=1),
    "kind": "take_down",
    "reason": ReportReason.FAKE,
    "state": CaseState.OPEN,
    "opened_at": NOON,
    "hides": True,
    "decision": HOSTILE,
    "decided_at": NOON,
    "decided_by": HOSTILE,
    "appealed_at": NOON,
    "profile_id": UUID(int=2),
    "face_id": UUID(int=3),
}
A_CASE = Case(**_CASE, others=1)
A_WHOLE_CASE = CaseDetails(
    **_CASE,
    reporter_id=None,
    name=HOSTILE,
    school=HOSTILE,
    gender=HOSTILE,
    birth_date=NOON.date(),
    frozen=True,
    face_ids=[UUID(int=3), UUID(int=4)],
    hidden_face_ids=[UUID(int=3)],
    banned=True,
)
A_SCHOOL = School(HOSTILE, False, [HOSTILE], [HOSTILE], 10, 5, 1, 1, NOON, 4)
A_FOUND_PERSON = FoundPerson(UUID(int=1), HOSTILE, HOSTILE, HOSTILE, NOON)


def an_id(number: int) -> UUID:
    return UUID(int=number)


def an_entry(**values: Any) -> FeedEntry:
    entry = FeedEntry(
        position=7,
        profile_id=an_id(1),
        match_id=an_id(2),
        name="Linh T.",
        school="North",
        face_id=an_id(3),
        own_face_id=an_id(4),
        similarity=0.85,
        simulated=False,
        created_at=NOON,
        last_match_id=an_id(2),
        is_new=False,
    )
    return replace(entry, **values)


def a_card(**values: Any) -> Card:
    card = Card.from_entry(an_entry(**values))
    assert card is not None
    return card


A_JOB = Job(
    id=an_id(10),
    face_id=an_id(4),
    status=JobStatus.COMPLETED,
    attempts=1,
    max_attempts=5,
    error_code=None,
    error_message=None,
    created_at=NOON,
    started_at=NOON,
    completed_at=NOON + timedelta(milliseconds=640),
    match_count=3,
    timings={},
)


def a_match(**values: Any) -> MatchDetails:
    details = {
        "eyes": EyePlaces((0.4, 0.3), (0.6, 0.34), 1.5, (0.1, 0.05, 0.8)),
        "own_eyes": EyePlaces((0.3, 0.4), (0.5, 0.38), 0.75, (0.0, 0.0, 0.75)),
        "threshold": 0.5,
    }
    entry = an_entry(**{key: value for key, value in values.items() if key not in details})
    return MatchDetails(
        **{field.name: getattr(entry, field.name) for field in fields(entry)},
        **details | {key: value for key, value in values.items() if key in details},
    )


def a_match_page(order: FeedOrder = FeedOrder(), **values: Any) -> MatchPage:  # noqa: B008
    view = MatchView(a_match(**values), previous_id=None, next_id=an_id(8), new_count=0)
    return MatchPage.from_view(view, order, since=7)


def a_job(*, waiting: Waiting | None = None, **values: Any) -> JobItem:
    return JobItem.from_job(replace(A_JOB, **values), waiting=waiting, shown_until=NOON)


def a_profile(**values: Any) -> Profile:
    profile = Profile(
        id=an_id(20),
        email="an@example.org",
        name="An",
        school="North",
        gender=Gender.FEMALE,
        birth_date=date(2000, 2, 29),
        profile_type="user",
        discoverable=True,
        admitted=True,
    )
    return replace(profile, **values)


def a_consent(*, granted: bool = True, **values: Any) -> Consent:
    consent = Consent("2026-11", f"I agree. {HOSTILE}", granted, NOON if granted else None)
    return replace(consent, **values)


def an_onboarding_page(*, granted: bool = False, **values: Any) -> OnboardingPage:
    page = OnboardingPage(
        form=ProfileForm.from_profile(a_profile(name=HOSTILE)),
        consent=a_consent(granted=granted),
        latest_birth_date=date(2008, 5, 4),
        schools=["North", HOSTILE],
    )
    return replace(page, **values)


def vars_of(page: Page) -> dict[str, Any]:
    return {
        field.name: getattr(page, field.name) for field in fields(page) if field.name != "title"
    }


_Page = TypeVar("_Page", bound=ProfilePage)


def a_profile_page(kind: type[_Page], **values: Any) -> _Page:
    shown = ProfileShown(
        profile=a_profile(name=HOSTILE, school=HOSTILE),
        consent=a_consent(granted=True),
        consents=[ConsentRecord("2026-11", HOSTILE, True, NOON)],
        membership=None,
        photo=A_FACE,
        share=Share(HOSTILE, HOSTILE),
        hidden_people=[HiddenPerson(an_id(8), HOSTILE, True, False, NOON)],
        views=PhotoViewCounts("1-2", "12", 1),
        weeks=[PhotoViewsOfWeek(NOON.date(), "1-2", 1)],
    )
    return kind(shown=replace(shown, **values))


def a_membership(**values: Any) -> Membership:
    membership = Membership(
        school=HOSTILE,
        is_open=False,
        admitted=True,
        proof="email",
        domains=["uit.example.edu"],
        settles_at=None,
        requested_at=None,
        message=None,
        refused_at=None,
        reason=None,
    )
    return replace(membership, **values)


def a_feed_page(**values: Any) -> FeedPage:
    page = FeedPage(
        profile=a_profile(school=HOSTILE),
        faces=[],
        jobs=[],
        cards=[],
        last_position=0,
        uploads_allowed=True,
        max_upload_mb=15,
        kept_side=1600,
        person_id=an_id(20),
    )
    return replace(page, **values)


def a_case(**values: Any) -> OwnCase:
    case = OwnCase(
        id=an_id(30),
        side=CaseSide.REPORTED,
        reason=ReportReason.NOT_THEIR_PHOTO,
        state=CaseState.DECIDED,
        decision="hidden",
        effect="hidden",
        face_id=an_id(4),
        opened_at=NOON,
        may_write=True,
    )
    return replace(case, **values)


def a_case_item(**values: Any) -> CaseItem:
    case = a_case(**values)
    return CaseItem.from_own(case, [OwnMessage(case.id, CaseSide.OPERATOR, HOSTILE, NOON)])


A_FACE = Face(an_id(5), NOON, "dlib", {})
SOME_PROBLEM = Problem("input_invalid", f"Wrong. {HOSTILE}")

PAGES: dict[str, Page] = {
    "start": StartPage(),
    "start, unused": StartPage(is_unused=True),
    "style guide": StyleGuidePage.whole(),
    "sign-in": SignInPage(email=HOSTILE),
    "sign-in refused": SignInPage(problem=SOME_PROBLEM),
    "sign-up": SignUpPage(),
    "sign-up, asked": SignUpPage(email=HOSTILE, sends_mail=True, asked=True),
    "sign-up refused": SignUpPage(problem=Problem("password_weak", HOSTILE, "password")),
    "forgot password": ForgotPasswordPage(email=HOSTILE, problem=SOME_PROBLEM),
    "forgot password, asked": ForgotPasswordPage(email=HOSTILE, asked=True),
    "forgot password, no mail": ForgotPasswordPage(email=HOSTILE, asked=True, sends_mail=False),
    "reset password": MailedLinkPage(
        title="Choose a new password",
        path="/reset-password",
        token=HOSTILE,
        email=HOSTILE,
        asks_password=True,
        signs_out=True,
        problem=SOME_PROBLEM,
    ),
    "confirm as somebody else": MailedLinkPage(
        title="Confirm your address",
        path="/confirm-address",
        token=HOSTILE,
        email=HOSTILE,
        asks_password=False,
        instead_of=HOSTILE,
        instead_of_email=HOSTILE,
    ),
    "confirm e-mail": ConfirmEmailPage(token=HOSTILE, old_email=HOSTILE, new_email=HOSTILE),
    "confirm e-mail, one": ConfirmEmailPage(),
    "confirm e-mail, both": ConfirmEmailPage(changed=True),
    "password and sessions": SignInSettingsPage(
        email=HOSTILE,
        is_confirmed=False,
        sends_mail=True,
        sessions=[UserSession(NOON, NOON, True), UserSession(NOON, NOON, False)],
        impersonations=[Impersonation(NOON, "asked for help")],
    ),
    "password and sessions of an operator": SignInSettingsPage(
        email=HOSTILE,
        is_confirmed=True,
        sends_mail=True,
        sessions=[UserSession(NOON, NOON, True)],
        impersonations=[],
        is_operator=True,
    ),
    "your data": YourDataPage(
        retention=[KeptFor("Photos", "30 days")],
    ),
    "withdraw consent": WithdrawConsentPage(),
    "delete account": DeleteAccountPage(email=HOSTILE, problem=Problem("x", HOSTILE, "password")),
    "delete account, again": DeleteAccountPage(email=HOSTILE, confirmation=HOSTILE),
    "account deleted": AccountDeletedPage(receipt=HOSTILE, is_mailed=True),
    "account deleted, no receipt": AccountDeletedPage(receipt="", is_mailed=False),
    "onboarding": an_onboarding_page(),
    "onboarding of an operator": an_onboarding_page(is_operator=True),
    "onboarding refused": an_onboarding_page(problem=SOME_PROBLEM),
    "details": DetailsPage(**vars_of(an_onboarding_page(problem=SOME_PROBLEM))),
    "own school": MembershipPage(**vars_of(an_onboarding_page(membership=a_membership()))),
    "own school, unproven": MembershipPage(
        **vars_of(
            an_onboarding_page(
                membership=a_membership(
                    admitted=False, proof=None, refused_at=NOON, reason=HOSTILE, message=HOSTILE
                )
            )
        )
    ),
    "own school, settling": MembershipPage(
        **vars_of(an_onboarding_page(membership=a_membership(admitted=False, settles_at=NOON)))
    ),
    "invitation": JoinPage(school=HOSTILE),
    "profile": a_profile_page(ProfilePage),
    "profile of an operator": replace(a_profile_page(ProfilePage), is_operator=True),
    "profile of somebody hidden": a_profile_page(
        ProfilePage,
        profile=a_profile(discoverable=False),
        membership=a_membership(),
        photo=None,
        share=Share(),
    ),
    "own card": a_profile_page(CardPreviewPage),
    "own card without a photo": a_profile_page(CardPreviewPage, photo=None),
    "not found yet": a_profile_page(VisibilityPage),
    "being found": a_profile_page(VisibilityPage, membership=a_membership()),
    "not being found": a_profile_page(
        VisibilityPage, membership=a_membership(), profile=a_profile(discoverable=False)
    ),
    "notifications": NotificationsPage(notifications=NotificationChoices("key", "daily", True)),
    "no notifications": NotificationsPage(notifications=NotificationChoices(None, "off", False)),
    "stop e-mails": UnsubscribePage(token=HOSTILE),
    "stop e-mails, done": UnsubscribePage(),
    "camera": ChallengePage(face_id=an_id(4)),
    "hidden people": a_profile_page(HiddenPeoplePage),
    "photo views": a_profile_page(PhotoViewsPage),
    "language": a_profile_page(LanguagePage),
    "consent": a_profile_page(ConsentPage),
    "consent to a newer text": a_profile_page(ConsentPage, consent=a_consent(outdated=True)),
    "what one shares": SharePage(
        sentence=HOSTILE, handle=HOSTILE, problem=Problem("input_invalid", HOSTILE, "sentence")
    ),
    "feed without photos": a_feed_page(),
    "feed": a_feed_page(
        cards=[a_card(name=HOSTILE), a_card(simulated=True, is_new=True)],
        jobs=[a_job(), a_job(status=JobStatus.PENDING, completed_at=None)],
        faces=[A_FACE],
        next_place=FeedPlace(7, 0.85),
    ),
    "photos": PhotosPage(
        jobs=[
            a_job(),
            a_job(face_id=an_id(6), status=JobStatus.PENDING, completed_at=None),
            a_job(
                face_id=an_id(7),
                status=JobStatus.FAILED,
                error_code="face_too_dark",
                error_message=HOSTILE,
                match_count=None,
                refused=RefusedPhoto(800, 600, FaceBox(0.1, 0.2, 0.3, 0.4)),
            ),
        ],
        faces=[A_FACE],
        uploads_allowed=True,
        max_upload_mb=15,
        kept_side=1600,
        person_id=an_id(20),
        problem=SOME_PROBLEM,
    ),
    "photos without uploads": PhotosPage(
        jobs=[], faces=[], uploads_refused_reason=HOSTILE, max_upload_mb=15, kept_side=1600
    ),
    "feed of likes": a_feed_page(
        cards=[
            a_card(liked=True, mutual=True, sentence=HOSTILE, handle=HOSTILE),
            a_card(liked=True, was_mutual=True),
        ],
        jobs=[a_job(matches_now=1)],
    ),
    "refused photos": PhotosPage(
        jobs=[
            a_job(
                face_id=an_id(number),
                status=JobStatus.FAILED,
                error_code=code,
                match_count=None,
                refused=RefusedPhoto(800, 600, FaceBox(0.3, 0.2, 0.3, 0.4)),
            )
            for number, code in enumerate(
                (
                    "no_face",
                    "face_blurred",
                    "face_turned",
                    "face_cut_off",
                    "face_too_small",
                    "face_too_bright",
                    "face_low_confidence",
                    "job_failed",
                ),
                5,
            )
        ],
        faces=[],
        uploads_allowed=True,
        max_upload_mb=15,
        kept_side=1600,
    ),
    "feed without uploads": a_feed_page(uploads_allowed=False, uploads_refused_reason=HOSTILE),
    "feed of somebody hidden": a_feed_page(notices=list_notices([a_case()])),
    "feed of somebody frozen": a_feed_page(
        notices=list_notices([a_case(effect="frozen", state=CaseState.OPEN, decision=None)])
    ),
    "report": ReportPage(profile_id=an_id(1), name=HOSTILE, photo="/photos/1"),
    "report refused": ReportPage(
        profile_id=an_id(1),
        name=HOSTILE,
        photo=None,
        statement=HOSTILE,
        problem=Problem("input_invalid", HOSTILE, "reason"),
    ),
    "reports": ReportsPage(
        items=[a_case_item(), a_case_item(side=CaseSide.REPORTER, may_write=False)],
        problem=SOME_PROBLEM,
    ),
    "no reports": ReportsPage(items=[]),
    "take-down": TakeDownPage(
        photo=HOSTILE, statement=HOSTILE, problem=SOME_PROBLEM, sends_mail=True, kept_days=30
    ),
    "take-down asked": TakeDownPage(email=HOSTILE, asked=True, sends_mail=True, kept_days=30),
    "take-down asked, no mail": TakeDownPage(
        email=HOSTILE, asked=True, sends_mail=False, kept_days=30
    ),
    "take-down to confirm": LinkedCasePage(token=HOSTILE, is_proven=False, item=a_case_item()),
    "take-down confirmed": LinkedCasePage(token=HOSTILE, is_proven=True, item=a_case_item()),
    "feed further back": a_feed_page(is_newest=False),
    "feed of what is new": a_feed_page(order=FeedOrder("new", "best"), new_count=3),
    "match": a_match_page(name=HOSTILE, school=HOSTILE),
    "match that likes back": a_match_page(
        name=HOSTILE, liked=True, mutual=True, sentence=HOSTILE, handle=HOSTILE
    ),
    "match that liked back": a_match_page(liked=True, was_mutual=True),
    "match without shared words": a_match_page(liked=True, mutual=True, simulated=True),
    "match that is gone": GonePage(title=HOSTILE, order=FeedOrder("new")),
    "privacy": PrivacyPage(
        version=HOSTILE,
        notice_language="vi",
        paragraphs=[HOSTILE, "Xin chào"],
        published_at=NOON,
        others=[("en", "English")],
    ),
    "console: confirm": ConfirmPage(
        me=AN_OPERATOR,
        title=HOSTILE,
        act=Act.ERASE_PERSON,
        facts=[HOSTILE],
        button=HOSTILE,
        back="/admin",
        is_final=True,
        hidden={"name": HOSTILE},
    ),
    "console: refused": RefusedPage(me=AN_OPERATOR, title=HOSTILE, message=HOSTILE, back="/admin"),
    "console: hand over": HandOverPage(
        me=AN_OPERATOR, title=HOSTILE, lead=HOSTILE, text=HOSTILE, back="/admin"
    ),
    "console: password": PasswordPage(
        me=AN_OPERATOR, to=HOSTILE, problem=Problem("x", HOSTILE, "password")
    ),
    "console: person": PersonPage(
        me=AN_OPERATOR,
        title=HOSTILE,
        person=A_PERSON,
        schools=[HOSTILE],
        sends_mail=False,
        sessions=[PersonSession(an_id(1), NOON, NOON, True)],
    ),
    "console: frozen person": PersonPage(
        me=AN_OPERATOR,
        title=HOSTILE,
        person=replace(A_PERSON, frozen_at=NOON, frozen_reason=HOSTILE, operator_role=HOSTILE),
        schools=[],
        sends_mail=True,
    ),
    "console: cases": CasesPage(
        me=AN_OPERATOR, state="", found=[A_CASE], unproven=1, sends_mail=False
    ),
    "console: no cases": CasesPage(
        me=AN_OPERATOR, state="decided", found=[], unproven=0, sends_mail=True
    ),
    "console: case": CasePage(
        me=AN_OPERATOR,
        file=CaseFile(
            A_WHOLE_CASE,
            [CaseMessage(CaseSide.REPORTER, CaseSide.OPERATORS, None, HOSTILE, NOON)],
            [CaseViewer(an_id(3), NOON, True, None)],
            [CaseRecord(NOON, HOSTILE, HOSTILE, HOSTILE, {})],
        ),
    ),
    "console: held": HeldPage(
        me=AN_OPERATOR,
        reason="",
        found=[HeldPhoto(an_id(1), an_id(2), HOSTILE, HOSTILE, NOON)],
    ),
    "console: schools": SchoolsPage(
        me=AN_OPERATOR, schools=[A_SCHOOL], name=HOSTILE, problem=SOME_PROBLEM
    ),
    "console: school": SchoolPage(
        me=AN_OPERATOR,
        title=HOSTILE,
        school=A_SCHOOL,
        invitations=[Invitation(an_id(1), HOSTILE, 1, None, NOON, NOON, HOSTILE)],
        others=[HOSTILE],
    ),
    "console: requests": RequestsPage(
        me=AN_OPERATOR,
        found=[MembershipRequest(an_id(1), HOSTILE, HOSTILE, HOSTILE, HOSTILE, NOON)],
    ),
    "console: mail": MailPage(
        me=AN_OPERATOR,
        found=[WaitingMail(an_id(1), "recovery", HOSTILE, NOON, 3, True, HOSTILE, an_id(2))],
        sends_mail=True,
    ),
    "console: operators": OperatorsPage(
        me=AN_OPERATOR,
        found=[OperatorAccount(an_id(1), HOSTILE, HOSTILE, OperatorRole.OWNER, NOON)],
    ),
    "console: audit": AuditPage(
        me=AN_OPERATOR,
        entries=[
            AuditEntry(1, NOON, HOSTILE, HOSTILE, an_id(1), HOSTILE, {HOSTILE: [HOSTILE], "n": 1})
        ],
        names={HOSTILE: HOSTILE},
        person=HOSTILE,
        act=HOSTILE,
        by=HOSTILE,
        older="/admin/audit?before=1",
    ),
    "console: texts": TextsPage(
        me=AN_OPERATOR,
        site=SiteOperator(HOSTILE, HOSTILE, HOSTILE),
        notices=[
            (NoticeKind.PRIVACY, PublishedNotice(HOSTILE, HOSTILE, HOSTILE, NOON, True, False))
        ],
    ),
    "console: people": PeoplePage(me=AN_OPERATOR, query=HOSTILE, found=[A_FOUND_PERSON]),
    "console: nobody": PeoplePage(me=AN_OPERATOR, query=HOSTILE, found=[]),
    "error": ErrorPage(title=HOSTILE, status=404, message=HOSTILE),
}


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
