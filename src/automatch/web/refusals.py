"""What pages say of an error, in the reader's language: a sentence by its code and case.

The API has its own, in English, which is part of its contract; nothing here looks at that text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta

from automatch.errors import AutomatchError
from automatch.errors.embedder import EmbedderError
from automatch.web.language import as_wait, gettext
from automatch.web.language import gettext_noop as _
from automatch.web.photo_reasons import REFUSALS

_OURS = _("Something went wrong on our side. Try again in a moment.")
_OUR_PHOTO = _("Something went wrong on our side. Add the photo again later.")
_BUSY = _("We're very busy right now. Try again in a moment.")
_AGAIN = _("That didn't reach us in one piece. Try again.")
_NOT_HERE = _("There's nothing here, or it isn't yours to see.")

_SENTENCES: Mapping[str, str] = {
    # Signing in
    "credentials_invalid": _("That e-mail address or password isn't right."),
    "token_missing": _("Sign in first."),
    "token_invalid": _("You were signed out. Sign in again."),
    "token_expired": _("You were signed out. Sign in again."),
    "issuer_unavailable": _BUSY,
    "sign_in_elsewhere": _("You don't sign in here. Sign in where your app does."),
    "sign_in_busy": _("Lots of people are signing in. Try again in a few seconds."),
    "email_taken": _("There's already an account with this e-mail address. Sign in instead."),
    "link_expired": _("This link has expired or was used already. Ask for a new one."),
    "password_weak": _("Choose a password of at least 8 characters."),
    "password_weak.spaces": _("A password can't be only spaces."),
    "password_common": _("Lots of people use this password. Choose one that's harder to guess."),
    "password_common.pattern": _(
        "This password repeats or counts up. Choose one that's harder to guess."
    ),
    "password_common.own_words": _(
        "Choose a password that isn't made of your e-mail address or our name."
    ),
    "reauthentication_needed": _("Enter your current password too, or sign in again first."),
    # What was typed
    "input_invalid": _("Something here isn't right. Check it and try again."),
    "input_invalid.email": _("Enter an e-mail address, such as an@example.org."),
    "input_invalid.same_email": _("That's your e-mail address already."),
    "input_invalid.face": _("Choose one of the faces."),
    "input_invalid.reason": _("Choose a reason."),
    "input_invalid.statement_missing": _("Tell us in a sentence what happened."),
    "input_invalid.statement_long": _("Write at most %(most)s characters."),
    "age_not_allowed": _("Auto-Match is for people aged 18 and over."),
    "consent_required": _("To add a photo, first agree to face matching in your profile."),
    "consent_outdated": _("Our consent text has changed. Read the new one and agree to it first."),
    "profile_incomplete": _("Fill in your school, gender and birth date first."),
    "school_unknown": _("Choose a school from the list."),
    "code_invalid": _(
        "This code doesn't work for your school. Check it for typos, or ask for a new one."
    ),
    "code_invalid.any_school": _("This code doesn't work. It may be used up or out of date."),
    "changes_used": _("You can't change your school or gender again this year."),
    "receipt_invalid": _("This receipt isn't one of ours, or it was changed."),
    # What is there
    "not_found": _NOT_HERE,
    "forbidden": _("You can't do that here."),
    "forbidden.other_site": _("This form was sent from another site."),
    "forbidden.other_person": _("You're signed in as someone else now. Load the page again."),
    "profile_not_found": _("This profile doesn't exist any more."),
    "request_timeout": _AGAIN,
    "url_too_long": _NOT_HERE,
    "headers_too_large": _AGAIN,
    "too_many_connections": _BUSY,
    "too_many_streams": _("Your feed is open in too many places. Close one of them."),
    "request_invalid": _("Something here isn't right. Check it and try again."),
    # Too often; %(wait)s is a length of time, such as "3 minutes"
    "rate_limited": _("That was a bit too often. Try again in %(wait)s."),
    "rate_limited.sign_up": _(
        "Lots of accounts were made from your network. Try again in %(wait)s."
    ),
    "rate_limited.sign_in": _("Too many wrong passwords for this account. Try again in %(wait)s."),
    "rate_limited.sign_in_account": _(
        "Too many wrong passwords for this account. Try again in %(wait)s."
    ),
    "rate_limited.sign_in_address": _(
        "Too many wrong passwords from your network. Try again in %(wait)s."
    ),
    "rate_limited.mailed_links": _(
        "Lots of links were requested from your network. Try again in %(wait)s."
    ),
    "rate_limited.mailed_links_account": _(
        "Several links were requested for this address already. Look for our e-mail, or try again "
        "in %(wait)s."
    ),
    "rate_limited.reports": _("You've made a lot of reports today. Try again in %(wait)s."),
    "rate_limited.take_downs": _("Lots of requests came from your network. Try again in %(wait)s."),
    "rate_limited.take_downs_account": _(
        "Several requests came from this address today. Try again in %(wait)s."
    ),
    "rate_limited.uploads": _("You've sent a lot of photos. Try again in %(wait)s."),
    "rate_limited.searches": _("You've searched a lot today. Try again in %(wait)s."),
    "rate_limited.photo_searches": _(
        "We've searched with %(most)s of your photos in the last 24 hours. You can add another "
        "in %(wait)s."
    ),
    "rate_limited.join_codes": _(
        "Lots of codes that don't work came from your network. Try again in %(wait)s."
    ),
    "rate_limited.feed": _("You've opened your feed very often. Try again in %(wait)s."),
    "rate_limited.photos": _("You've looked at a lot of photos. Try again in %(wait)s."),
    "rate_limited.exports": _(
        "You've downloaded your data several times today. Try again in %(wait)s."
    ),
    # Sending a photo
    "photos_full": _(
        "You can't add any more photos. Delete one first: those that still wait count, too."
    ),
    "photos_waiting": _("Your other photos are still waiting. Try again when one is done."),
    "uploads_at_once": _("You're sending several photos at once. Wait until one has arrived."),
    "uploads_busy": _BUSY,
    "queue_full": _("Lots of photos are waiting right now. Try again in a minute."),
    "storage_full": _(
        "Our server has no room right now, so nothing was saved. Whoever runs this site has to "
        "make some. Try again later."
    ),
    "body_too_large": _("This photo is too large. Choose a smaller one."),
    "body_timeout": _("That took too long to arrive. Try again on a better connection."),
    "body_malformed": _AGAIN,
    "upload_invalid": _AGAIN,
    "file_missing": _("Choose a photo first."),
    "file_empty": _("This file is empty. Choose the photo again."),
    "too_many_files": _("Send one photo at a time."),
    "too_many_fields": _AGAIN,
    "image_type_unsupported": _(
        "This isn't a photo we can read. Use JPEG, PNG, WebP, HEIC or AVIF."
    ),
    "photo_missing": _("We've lost this photo. Add it again."),
    "face_not_asked": _("This photo isn't waiting for your answer any more."),
    # The photo itself; the rest is in `photo_reasons`
    "challenge_failed.late": _("That took too long, or was started somewhere else. Try again."),
    "challenge_failed.face": _("Keep only your own face in the picture, in good light."),
    "challenge_failed.other_person": _("This doesn't look like the person in your photo."),
    "face_unclear": _("We can't see your face well enough. Face the camera, in good light."),
    # Our side
    "job_cancelled": _("We stopped looking for this photo. Add it again later."),
    "job_failed": _OUR_PHOTO,
    "job_crashed": _OUR_PHOTO,
    "decode_timeout": _OUR_PHOTO,
    "worker_lost": _OUR_PHOTO,
    **dict.fromkeys(EmbedderError.codes(), _OUR_PHOTO),
    "db_unavailable": _BUSY,
    "not_ready": _BUSY,
    "queue_paused": _BUSY,
    "storage_unavailable": _BUSY,
    "ai_busy": _BUSY,
}


def describe(error: AutomatchError) -> str:
    """Return what a page says of an error."""
    values = {"wait": _wait(getattr(error, "retry_after_s", 60)), **error.values}
    return _sentence(error.code, error.case) % values


def describe_code(code: str) -> str:
    """Return what a page says of a job that failed with a code."""
    return _sentence(code, "")


def _wait(seconds: float) -> str:
    # Rounded up: nobody should come back too early.
    size = next((size for size in (3600, 60) if seconds > size), 1)
    return as_wait(timedelta(seconds=max(math.ceil(seconds / size), 1) * size))


def _sentence(code: str, case: str) -> str:
    sentence = _SENTENCES.get(f"{code}.{case}") or _SENTENCES.get(code)
    if sentence is None and code in REFUSALS:
        return REFUSALS[code].sentence
    return gettext(sentence or _OURS)
