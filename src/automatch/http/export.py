"""The answer with everything that is kept about a person, for programs and for browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from starlette.responses import StreamingResponse

from automatch.http.deps import Caller, Services
from automatch.services.protection.export import open_export
from automatch.store.people import profiles


async def send_export(caller: Caller, services: Services) -> StreamingResponse:
    """Answer with the ZIP of a person whose session goes on.

    Raises:
        TokenInvalidError: the session has ended.
        ProfileNotFoundError: the account was deleted while its token lives on.
    """
    async with services.db.as_user(caller.claims) as conn:
        await profiles.load_profile(conn)
    return send_zip(
        await open_export(services.db, services.photos, caller.id, services.rate_limits)
    )


def send_zip(parts: AsyncIterator[bytes]) -> StreamingResponse:
    """Answer with the ZIP of a person, for a browser to keep."""
    name = f"auto-match-{datetime.now(UTC):%Y-%m-%d}.zip"
    return StreamingResponse(
        parts,
        media_type="application/zip",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
