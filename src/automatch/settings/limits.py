"""Settings of what one person, account or network address may do in a time."""

from __future__ import annotations

import re
from functools import cache

from pydantic import Field

from automatch.settings.group import SettingsGroup

RATES = r"^([1-9]\d{0,6}/(minute|hour|day)( [1-9]\d{0,6}/(minute|hour|day))*)?$"
_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}


class LimitSettings(SettingsGroup):
    """How often a person or a network address (IPv6: /64) may do something, on all servers."""

    enabled: bool = Field(
        True,
        description="Whether there are any of these limits. Rates are texts such as `10/hour "
        "30/day`; an empty one is no limit.",
    )
    sign_up: str = Field("60/hour", pattern=RATES, description="Accounts made from one address.")
    sign_in: str = Field(
        "5/minute 20/hour 60/day",
        pattern=RATES,
        description="Wrong passwords for one account from one address; with several rates the "
        "wait grows.",
    )
    sign_in_address: str = Field(
        "100/hour",
        pattern=RATES,
        description="Wrong passwords from one address; accounts that signed in from there within "
        "30 days are excepted.",
    )
    sign_in_account: str = Field(
        "100/hour",
        pattern=RATES,
        description="Wrong passwords for one account; addresses from which it signed in within "
        "30 days are excepted, so that nobody can lock others out.",
    )
    refresh: str = Field(
        "20000/hour", pattern=RATES, description="Sessions renewed from one address."
    )
    mailed_links: str = Field(
        "60/hour",
        pattern=RATES,
        description="Mailed links (sign-in, new password, new address) asked for and used, from "
        "one address.",
    )
    mailed_links_account: str = Field(
        "5/hour 10/day",
        pattern=RATES,
        description="Mailed links for one address, whether it has an account or not.",
    )
    reports: str = Field("10/day", pattern=RATES, description="Reports that one person makes.")
    likes: str = Field(
        "100/day",
        pattern=RATES,
        description="People that one person likes; never more than 100 a day.",
    )
    take_downs: str = Field(
        "10/day",
        pattern=RATES,
        description="Take-down requests of people without an account, from one network address.",
    )
    take_downs_account: str = Field(
        "3/day", pattern=RATES, description="Take-down requests with one e-mail address."
    )
    uploads: str = Field("10/hour", pattern=RATES, description="Photos that one person sends.")
    photos_kept: int = Field(
        3, ge=1, description="Photos that one person keeps; those that were refused do not count."
    )
    photo_searches: int = Field(
        5,
        ge=1,
        description="Photos of one person that are searched for within 24 hours, deleted ones too; "
        "those that were refused do not count.",
    )
    jobs_waiting: int = Field(5, ge=1, description="Jobs of one person that wait.")
    searches: str = Field(
        "60/day",
        pattern=RATES,
        description="Searches that one person starts, each of which tells similarities: by a "
        "photo, by saving the profile or by coming back from a pause.",
    )
    changes_a_year: int = Field(
        2,
        ge=0,
        description="How often a person changes school or gender within a year, once they have "
        "added a photo; operators may always change it for them.",
    )
    settling_hours: int = Field(
        24,
        ge=0,
        description="After a change of gender, or to an open school, nobody finds the person or "
        "is found for them for so long; a closed school asks for a proof instead.",
    )
    join_codes: str = Field(
        "60/hour",
        pattern=RATES,
        description="Invitation codes that do not work, from one address.",
    )
    feed: str = Field(
        "1200/hour", pattern=RATES, description="Pages and streams of the feed one person opens."
    )
    photos: str = Field(
        "6000/hour", pattern=RATES, description="Photos one person looks at, by links too."
    )
    exports: str = Field(
        "5/day", pattern=RATES, description="Downloads of everything that is kept about one person."
    )


@cache
def parse_rates(text: str) -> list[tuple[int, float]]:
    """Return the counts and seconds of a text such as `10/hour 30/day`."""
    return [(int(count), _SECONDS[unit]) for count, unit in re.findall(r"(\d+)/(\w+)", text)]
