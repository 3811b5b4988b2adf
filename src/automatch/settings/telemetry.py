"""Settings of metrics and traces."""

from __future__ import annotations

from pydantic import Field, SecretStr

from automatch.settings.group import SERVICE_URL, SettingsGroup

_OWN_PORT = "of this machine without a token, and at `AUTOMATCH_HOST` with one"


class MetricsSettings(SettingsGroup):
    """Metrics for Prometheus: see docs/metrics.md. Without these settings there are none."""

    token: SecretStr | None = Field(
        None,
        min_length=32,
        description="Token with which the server answers `/metrics`: `Authorization: Bearer`. It "
        "is asked for on the ports of their own too.",
    )
    port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description=f"Port on which a server answers `/metrics` besides, {_OWN_PORT}; 0 picks a "
        "free one.",
    )
    worker_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description=f"Port on which a worker answers `/metrics`, {_OWN_PORT}; 0 picks a free one. "
        "Unset, it listens nowhere.",
    )


class TraceSettings(SettingsGroup):
    """Traces of uploads for OpenTelemetry; needs `automatch[otel]`."""

    otlp_url: str | None = Field(
        None,
        pattern=SERVICE_URL,
        description="Address that takes traces (OTLP over HTTP), as "
        "`http://localhost:4318/v1/traces`; if it is not set, there are none.",
    )
    share: float = Field(
        1, gt=0, le=1, description="Share of the requests that are traced, with all their jobs."
    )
