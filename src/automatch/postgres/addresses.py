"""Connection strings of the four logins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from automatch.errors.configuration import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from automatch.settings import Settings
    from automatch.settings.secrets import Secrets

Role = Literal["owner", "api", "worker", "schedule"]

PORT = 5432
"""Part of the name of the embedded server's socket file; it has no TCP port."""
DATABASE = "postgres"
SUPERUSER = "postgres"
API_LOGIN = "automatch_api"
WORKER_LOGIN = "automatch_worker"
SCHEDULE_LOGIN = "automatch_schedule"

# `sun_path` of a Unix socket address holds 108 bytes with the terminating zero.
_MAX_SOCKET_BYTES = 107

_WHICH = "target_session_attrs"
_WRITABLE = ("read-write", "primary")
"""Values of libpq's option for which of several servers to take."""


def database_address(settings: Settings, secrets: Secrets, role: Role) -> str:
    """Return the connection string of a login, whose connections keep their sessions.

    With `direct_url` or `database_url`, it has the same servers and form (URL or keywords) as that
    setting, which also names the owner's login.

    Raises:
        SettingsError: the setting is not a connection string.
    """
    logins = {
        "owner": (SUPERUSER, secrets.owner_password),
        "api": (API_LOGIN, secrets.api_password),
        "worker": (WORKER_LOGIN, secrets.worker_password),
        "schedule": (SCHEDULE_LOGIN, secrets.schedule_password),
    }
    login, password = logins[role]
    url = given_address(settings)
    if url is None:
        folder = quote(str(socket_folder(settings.home)), safe="")
        return f"postgresql://{login}:{_quote(password)}@/{DATABASE}?host={folder}&port={PORT}"
    return url if role == "owner" else address_of_login(url, login, password)


def pooled_address(settings: Settings, secrets: Secrets, role: Literal["api", "worker"]) -> str:
    """Return the connection string of a login for transactions alone, maybe through a pooler.

    Raises:
        SettingsError: `database_url` is not a connection string.
    """
    return database_address(settings.model_copy(update={"direct_url": None}), secrets, role)


def replica_address(settings: Settings, secrets: Secrets) -> str | None:
    """Return the connection string of the server's login at the replica, if there is one.

    Raises:
        SettingsError: `replica_url` is not a connection string.
    """
    if settings.replica_url is None:
        return None
    url = settings.replica_url.get_secret_value()
    return address_of_login(url, API_LOGIN, secrets.api_password)


def given_address(settings: Settings) -> str | None:
    """Return the address that keeps sessions; of several servers the one that takes writes.

    Raises:
        SettingsError: it is not a connection string.
    """
    if settings.database_url is None:
        return None
    url = (settings.direct_url or settings.database_url).get_secret_value()
    parts = _parse(url)
    servers = f"{parts.get('host') or os.environ.get('PGHOST')} {parts.get('hostaddr')}"
    if "," not in servers or _WHICH in parts or "PGTARGETSESSIONATTRS" in os.environ:
        return url
    if "://" not in url:
        from psycopg.conninfo import make_conninfo

        return make_conninfo(url, **{_WHICH: _WRITABLE[0]})
    return f"{url}{'&' if '?' in url else '?'}{_WHICH}={_WRITABLE[0]}"


def is_for_writing(address: str) -> bool:
    """Tell whether connections to this address take only a server that takes writes."""
    which = _parse(address).get(_WHICH) or os.environ.get("PGTARGETSESSIONATTRS")
    return which in _WRITABLE


def login_passwords(secrets: Secrets) -> dict[str, str]:
    """Return the passwords of the logins that migrations make."""
    return {
        API_LOGIN: secrets.api_password,
        WORKER_LOGIN: secrets.worker_password,
        SCHEDULE_LOGIN: secrets.schedule_password,
    }


def socket_folder(data_dir: Path) -> Path:
    """Return the folder of the embedded server's socket, with links resolved as the server does."""
    folder = data_dir / "postgres" / "run"
    return folder if socket_fits(folder) else folder.resolve()


def socket_fits(folder: Path) -> bool:
    """Tell whether libpq and the kernel accept the address of a socket in this folder."""
    path = str(folder / f".s.PGSQL.{PORT}")
    # A comma would separate two hosts in libpq.
    return len(path.encode()) <= _MAX_SOCKET_BYTES and "," not in path


def _parse(url: str) -> dict[str, object]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        # Not chained, because libpq's message contains the password.
        raise SettingsError(
            "AUTOMATCH_DATABASE_URL, AUTOMATCH_DIRECT_URL or AUTOMATCH_REPLICA_URL is not a "
            "connection string; it looks like postgresql://user:password@host:5432/postgres."
        ) from None


def address_of_login(url: str, login: str, password: str) -> str:
    """Return *url*, a URL or keywords, with another login."""
    parts = _parse(url)
    # Supabase's pooler takes the project from a suffix of the user name: postgres.<project>.
    _, dot, project = str(parts.get("user", "")).partition(".")
    if dot and "pooler.supabase.com" in str(parts.get("host", "")):
        login = f"{login}.{project}"
    if "://" not in url:
        from psycopg.conninfo import make_conninfo

        return make_conninfo(url, user=login, password=password)
    split = urlsplit(url)
    hosts = split.netloc.rpartition("@")[2]
    options = parse_qsl(split.query, keep_blank_values=True)
    kept = [(name, value) for name, value in options if name not in {"user", "password"}]
    return split._replace(
        netloc=f"{_quote(login)}:{_quote(password)}@{hosts}",
        query=urlencode(kept, quote_via=quote),
    ).geturl()


def _quote(text: str) -> str:
    return quote(text, safe="")
