"""All settings: each with its default, its bounds, and what follows from several of them."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from automatch.settings.database import PoolSettings, PostgresSettings
from automatch.settings.environment import PREFIX, add_files
from automatch.settings.group import SERVICE_URL
from automatch.settings.limits import LimitSettings
from automatch.settings.mail import MailSettings
from automatch.settings.notifications import NotificationSettings
from automatch.settings.secrets import is_weak
from automatch.settings.server import AuthSettings, FeedSettings, RealtimeSettings, UploadSettings
from automatch.settings.storage import BackupSettings, PhotoSettings, RetentionSettings
from automatch.settings.telemetry import MetricsSettings, TraceSettings
from automatch.settings.vision import AiSettings, VisionSettings
from automatch.settings.worker import WorkerSettings

_EASY_TO_GUESS = "it is easy to guess; `openssl rand -base64 32` prints a better one"
_WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound


def _default_home() -> Path:
    return platformdirs.user_data_path("automatch", appauthor=False)


class Settings(BaseSettings):
    """All settings; created once by the command line and passed on.

    A nested field is written with two underscores: `AUTOMATCH_WORKER__LEASE_S=60`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,  # compose files set what is not given to nothing
        frozen=True,
        extra="forbid",
    )

    home: Path = Field(
        default_factory=_default_home,
        validate_default=True,
        description="Data folder: database, photos and secrets.",
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address the web server listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the web server; 0 picks one.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s]+/?$",
        examples=["https://match.example.org"],
        description="Address of the server for people, if it is behind a proxy.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses and networks of the proxies whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed, separated by spaces. Without any, those of this machine "
        "are if `public_url` is set, and else none.",
    )
    web_origins: str = Field(
        "",
        pattern=r"^(\*|(https?://[^/\s*]+ ?)*)$",
        description="Origins of web apps that may call the API from a browser, separated by "
        "spaces; `*` for any. The server's own pages need none.",
    )
    net_origins: str | None = Field(
        None,
        pattern=r"^(\*|(https?://[^/\s*@]+ ?)*)$",
        description="Origins that SQL may send requests to with `net.http_post()` and the like, "
        "separated by spaces, beside the server's own; `*` for any, which is the default where "
        "`database_url` is set.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Another Postgres (login of the owner); the embedded one is then not started. "
        "Of several hosts, the one that takes writes is used.",
    )
    direct_url: SecretStr | None = Field(
        None,
        description="Address of the same database that leads to Postgres itself (login of the "
        "owner), if `database_url` leads to a pooler that gives each transaction another session. "
        "Migrations and commands, the schedule and what listens for notifications use it.",
    )
    replica_url: SecretStr | None = Field(
        None,
        description="A streaming replica of the database (any login), from which servers read "
        "feeds and photos while it keeps up.",
    )
    ai_url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s?#@]+/?$",
        description="AI service that the workers use instead of analyzing photos themselves.",
    )
    ai_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="Key of the AI service, the same on the server and on its clients; without one "
        "it accepts the service_role key of the project.",
    )
    supabase_url: str | None = Field(
        None,
        pattern=SERVICE_URL,
        description="Address of a Supabase project; people then sign in at its Auth, not here.",
    )
    jwks_url: str | None = Field(
        None,
        pattern=SERVICE_URL,
        description="Address of the public keys of the tokens, if it is not that of "
        "the Supabase project.",
    )
    jwt_issuer: str | None = Field(
        None,
        min_length=1,
        description="`iss` of the tokens, if it is not that of the Supabase project.",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="Secret shared with the issuer of the tokens (HS256): the legacy JWT secret of "
        "a Supabase project.",
    )
    secret_keys: SecretStr | None = Field(
        None,
        description="Secret keys (`sb_secret_…`, separated by commas) that have the rights of the "
        "service_role key, in the header `apikey`.",
    )
    secrets: SecretStr | None = Field(
        None,
        description="What `secrets.json` of the installation holds, where the data folder of a "
        "host has no copy of that file.",
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Lowest level that is logged."
    )
    log_json: bool = Field(False, description="Log one JSON object per line instead of text.")

    postgres: PostgresSettings = PostgresSettings()
    pool: PoolSettings = PoolSettings()
    auth: AuthSettings = AuthSettings()
    upload: UploadSettings = UploadSettings()
    limits: LimitSettings = LimitSettings()
    mail: MailSettings = MailSettings()
    notifications: NotificationSettings = NotificationSettings()
    vision: VisionSettings = VisionSettings()
    ai: AiSettings = AiSettings()
    worker: WorkerSettings = WorkerSettings()
    feed: FeedSettings = FeedSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    photos: PhotoSettings = PhotoSettings()
    retention: RetentionSettings = RetentionSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TraceSettings = TraceSettings()
    backup: BackupSettings = BackupSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, and the files that it names."""
        del dotenv_settings, file_secret_settings
        assert isinstance(env_settings, EnvSettingsSource)
        env_settings.env_vars = add_files(env_settings.env_vars, settings_cls)
        return init_settings, env_settings

    @field_validator("home")
    @classmethod
    def _home_is_an_absolute_path_in_utf_8(cls, value: Path) -> Path:
        home = Path.cwd() / value
        try:
            str(home).encode()
        except UnicodeEncodeError:
            # An address of Postgres, a log line and JSON are text in UTF-8.
            raise ValueError(
                f"the path {str(home)!a} is not text in UTF-8; rename or move the folder"
            ) from None
        return home

    @model_validator(mode="after")
    def _other_urls_stand_beside_the_first(self) -> Self:
        if self.direct_url is not None and self.database_url is None:
            raise ValueError("direct_url needs database_url, which may lead to a pooler")
        if self.replica_url is not None and self.database_url is None:
            raise ValueError("replica_url needs database_url, the address of its primary")
        return self

    @model_validator(mode="after")
    def _photos_are_encrypted_in_transit(self) -> Self:
        if self.ai_url and not self.ai.allow_http and not _is_private(self.ai_url):
            raise ValueError(
                "ai_url must be https://, or http:// on this machine; "
                "AUTOMATCH_AI__ALLOW_HTTP=true is for a network that nobody else can read"
            )
        return self

    @model_validator(mode="after")
    def _job_timeout_exceeds_ai_timeout(self) -> Self:
        if self.ai_url and self.ai.timeout_s >= self.worker.job_timeout_s:
            raise ValueError("worker.job_timeout_s must exceed ai.timeout_s")
        return self

    @model_validator(mode="after")
    def _issuer_has_keys(self) -> Self:
        if self.issuer_url is None and (self.jwks_url or self.jwt_secret):
            raise ValueError(
                "jwks_url and jwt_secret need an issuer: set supabase_url or jwt_issuer too"
            )
        if self.issuer_url is not None and not (self.keys_url or self.jwt_secret):
            raise ValueError("jwt_issuer needs jwks_url or jwt_secret to check its tokens")
        return self

    @model_validator(mode="after")
    def _secret_keys_are_long(self) -> Self:
        keys = [re.fullmatch(r"sb_secret_([\w-]{16,})", key) for key in self.listed_secret_keys]
        if not all(keys):
            raise ValueError("secret_keys are keys that begin with sb_secret_, separated by commas")
        if any(is_weak(key[1]) for key in keys if key):
            raise ValueError("one of secret_keys is easy to guess; take it from the project")
        return self

    @field_validator("ai_key", "jwt_secret")
    @classmethod
    def _is_hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and is_weak(value.get_secret_value()):
            raise ValueError(_EASY_TO_GUESS)
        return value

    @field_validator("metrics")
    @classmethod
    def _token_is_hard_to_guess(cls, value: MetricsSettings) -> MetricsSettings:
        if value.token is not None and is_weak(value.token.get_secret_value()):
            raise ValueError(f"token: {_EASY_TO_GUESS}")
        return value

    @model_validator(mode="after")
    def _proxies_are_networks(self) -> Self:
        try:
            for proxy in self.proxies:
                ip_network(proxy)
        except ValueError:
            raise ValueError(
                "trusted_proxies are addresses or networks, such as 10.0.0.0/8"
            ) from None
        return self

    def local_url(self, port: int) -> str:
        """Return the address of a server on *port* from its own machine."""
        host = _WILDCARD_HOSTS.get(self.host, self.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def server_url(self, port: int | None = None) -> str:
        """Return the address of the server for people and clients, on *port* or the set one."""
        local = self.local_url(self.port if port is None else port)
        return (self.public_url or local).rstrip("/")

    def allowed_net_origins(self, port: int) -> list[str] | None:
        """Return where the server on *port* may send requests of SQL to; None is anywhere."""
        allowed = self.net_origins
        if allowed == "*" or (allowed is None and self.database_url is not None):
            return None
        own = [self.local_url(port), f"http://localhost:{port}"]
        return [*own, *([self.public_url] if self.public_url else []), *(allowed or "").split()]

    @property
    def proxies(self) -> list[str]:
        """The addresses and networks of the proxies that are believed."""
        if self.trusted_proxies or not self.public_url:
            return self.trusted_proxies.split()
        return ["127.0.0.0/8", "::1"]

    @property
    def is_public_https(self) -> bool:
        """Whether people reach the server by HTTPS only."""
        return (self.public_url or "").startswith("https://")

    @property
    def is_in_development(self) -> bool:
        """Whether only somebody at this machine reaches the server."""
        try:
            is_local = self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False
        return is_local and self.public_url is None

    @property
    def erasure_log(self) -> Path:
        """The file with a line for each erased person."""
        return self.home / (self.retention.erasure_log or "erasures.log")

    @property
    def listed_secret_keys(self) -> list[str]:
        """The secret keys, one by one."""
        keys = self.secret_keys.get_secret_value() if self.secret_keys else ""
        return [key.strip() for key in keys.split(",") if key.strip()]

    @property
    def issuer_url(self) -> str | None:
        """The `iss` of the other service where people sign in; None when they sign in here."""
        if self.jwt_issuer is not None or self.supabase_url is None:
            return self.jwt_issuer
        return self.supabase_url.rstrip("/") + "/auth/v1"

    @property
    def mails_people(self) -> bool:
        """Whether people get mails from here; who signs in elsewhere gets them from there."""
        return self.mail.smtp_url is not None and self.issuer_url is None

    @property
    def keys_url(self) -> str | None:
        """Address of the public keys of the issuer."""
        if self.jwks_url is not None or self.supabase_url is None:
            return self.jwks_url
        return self.supabase_url.rstrip("/") + "/auth/v1/.well-known/jwks.json"


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
