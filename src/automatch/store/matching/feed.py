"""The live feed: pages, changes after a position, versions, what is new, and hiding people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, kwargs_row

from automatch.model.matches import FeedEntry, FeedOrder, FeedPlace, MatchDetails, Share
from automatch.model.people import HiddenPerson
from automatch.store.call import call, call_row, call_rows, call_value, call_values
from automatch.store.database import Connection


@dataclass(frozen=True, slots=True)
class FeedVersion:
    """Differs from an earlier one when the person's feed or jobs changed."""

    profile_id: UUID
    last_position: int
    jobs_version: int


async def load_feed_page(
    conn: Connection, *, before: int | None = None, limit: int = 20
) -> list[FeedEntry]:
    """Return the caller's matches at places below *before*, newest first."""
    return await call_rows(conn, "feed_page", class_row(FeedEntry), before=before, limit=limit)


async def load_feed_position(conn: Connection) -> int:
    """Return the newest position of the caller's feed, 0 for an empty one."""
    return int(await call_value(conn, "feed_position"))


async def load_match_number(conn: Connection) -> int:
    """Return the number of the caller's newest match, 0 without any."""
    return int(await call_value(conn, "last_match_number"))


async def load_feed_versions(conn: Connection, profile_ids: Sequence[UUID]) -> list[FeedVersion]:
    """Return the versions of many feeds at once; for the API's login, which sees nothing else."""
    return await call_rows(
        conn, "feed_versions", class_row(FeedVersion), profile_ids=list(profile_ids)
    )


async def like_profile(conn: Connection, profile_id: UUID) -> bool:
    """Like a person of the caller's feed; return whether both like each other now.

    Raises:
        NotFoundError: the caller has no card of this person.
        ForbiddenError: the caller hides from others.
    """
    return bool(await call_value(conn, "like_profile", profile_id=profile_id))


async def unlike_profile(conn: Connection, profile_id: UUID) -> None:
    """Take back the caller's like of a person.

    Raises:
        NotFoundError: the caller does not like this person.
    """
    await call(conn, "unlike_profile", profile_id=profile_id)


async def load_share(conn: Connection) -> Share:
    """Return what the caller shares with whom they like and who likes them."""
    return await call_row(conn, "get_share", class_row(Share)) or Share()


async def save_share(conn: Connection, share: Share) -> None:
    """Set what the caller shares; empty texts take it back.

    Raises:
        InputInvalidError: a text is too long, or has line ends.
    """
    await call(conn, "save_share", sentence=share.sentence, handle=share.handle)


async def list_matches(
    conn: Connection,
    order: FeedOrder,
    *,
    after: FeedPlace | None = None,
    back: bool = False,
    since: datetime | None = None,
    limit: int,
) -> list[FeedEntry]:
    """Return the caller's matches in an order, from the first on or from after a place.

    With *back* those before it, the nearest first. Where only new ones are asked for, those that
    were seen *since* count too.
    """
    return await call_rows(
        conn,
        "list_matches",
        class_row(FeedEntry),
        show=order.show,
        sort=order.sort,
        similarity=after.similarity if after else None,
        place=after.place if after else None,
        back=back,
        since=since,
        limit=limit,
    )


async def show_match(conn: Connection, match_id: UUID) -> MatchDetails | None:
    """Return a match of the caller, None when there is no such match (any more)."""
    return await call_row(conn, "show_match", kwargs_row(MatchDetails.from_row), match_id=match_id)


async def list_new_matches(conn: Connection) -> list[UUID]:
    """Return the caller's matches that they have not seen, a hundred of them at most."""
    return await call_values(conn, "list_new_matches")


async def mark_matches_seen(conn: Connection, match_ids: Sequence[UUID]) -> None:
    """Note that the caller was shown these matches; those of others are passed over."""
    await call(conn, "mark_matches_seen", match_ids=list(match_ids))


async def dismiss_match(conn: Connection, match_id: UUID) -> UUID:
    """Dismiss a match: neither of the two sees the other in the feed any more.

    Return the id of the other person, by which `undo_dismissal` undoes it.

    Raises:
        NotFoundError: the caller has no such match.
    """
    other: UUID = await call_value(conn, "dismiss_match", match_id=match_id)
    return other


async def block_profile(conn: Connection, profile_id: UUID) -> None:
    """Block a person of the caller's feed, in both directions.

    Raises:
        NotFoundError: this person was never in the caller's feed.
    """
    await call(conn, "block_profile", profile_id=profile_id)


async def unblock_profile(conn: Connection, profile_id: UUID) -> None:
    """Unblock a person: old matches return, and the caller's photos are searched again.

    Raises:
        NotFoundError: the caller has not blocked this person.
    """
    await call(conn, "unblock_profile", profile_id=profile_id)


async def undo_dismissal(conn: Connection, profile_id: UUID) -> None:
    """Undo the dismissal of a person, with the same effects as `unblock_profile`.

    Raises:
        NotFoundError: the caller has not dismissed a match with this person.
    """
    await call(conn, "undo_dismissal", profile_id=profile_id)


async def list_hidden(conn: Connection) -> list[HiddenPerson]:
    """Return whom the caller dismissed or blocked, newest first."""
    return await call_rows(conn, "list_hidden_profiles", class_row(HiddenPerson))
