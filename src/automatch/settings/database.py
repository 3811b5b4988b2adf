"""Settings of Postgres and of its connections."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from automatch.settings.group import SettingsGroup


class PostgresSettings(SettingsGroup):
    """The embedded Postgres; unused when `database_url` names another server."""

    system_user: str = Field(
        "automatch",
        description="Unprivileged user the embedded Postgres runs as when Auto-Match runs as root; "
        "created if missing.",
    )
    shared_buffers_mb: int = Field(128, ge=16, description="Postgres page cache in MiB.")
    max_connections: int = Field(60, ge=10, description="Connections Postgres accepts.")


class PoolSettings(SettingsGroup):
    """The connections of one process to Postgres."""

    min_size: int = Field(1, ge=0, description="Connections that are kept open.")
    max_size: int = Field(
        5,
        ge=1,
        description="Maximum number of connections; a worker opens no more than two beside one for "
        "each batch.",
    )
    timeout_s: float = Field(5, gt=0, description="Seconds a request waits for a connection.")
    transaction_timeout_s: float = Field(
        20, gt=0, description="A connection is closed when a transaction takes longer than this."
    )

    replica_wait_s: float = Field(
        0.1,
        gt=0,
        le=5,
        description="Seconds that a read waits for the replica to have all that was committed "
        "before; then it goes to the primary.",
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.min_size > self.max_size:
            raise ValueError("pool.min_size must not exceed pool.max_size")
        return self
