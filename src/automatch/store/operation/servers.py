"""Which servers run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from automatch.store.call import call, call_rows
from automatch.store.database import Connection


@dataclass(frozen=True, slots=True)
class Server:
    """A server process, as it described itself last."""

    id: UUID
    host: str
    version: str
    started_at: datetime
    seen_at: datetime
    streams: int
    """Open feeds of pages and apps."""
    channels: int
    """Channels of supabase clients."""
    keys: Mapping[str, str]
    """Fingerprints of what its host has in its data folder, by name."""
    alive: bool
    """False once it was silent for half a minute; an hour later it is forgotten."""


async def report_server(
    conn: Connection,
    server_id: UUID,
    *,
    host: str,
    version: str,
    streams: int,
    channels: int,
    refusals: Mapping[str, int] | None = None,
    keys: Mapping[str, str] | None = None,
) -> None:
    """Show a sign of life, every ten seconds.

    Args:
        conn: of the server's login.
        server_id: of this process.
        host: the name of its machine.
        version: what it runs.
        streams: feeds that are open.
        channels: channels of supabase clients.
        refusals: uploads that were refused since the last report, by error code.
        keys: fingerprints of what has to be the same on all hosts.
    """
    await call(
        conn,
        "report_server",
        server_id=server_id,
        host=host,
        version=version,
        streams=streams,
        channels=channels,
        refusals=Jsonb(refusals or {}),
        keys=Jsonb(keys or {}),
    )


async def forget_server(conn: Connection, server_id: UUID) -> None:
    """Say that a server stops."""
    await call(conn, "forget_server", server_id=server_id)


async def list_servers(conn: Connection) -> list[Server]:
    """Return the servers, the one that runs longest first."""
    return await call_rows(conn, "list_servers", class_row(Server))
