"""Settings: read from the environment alone, checked before anything starts, told in the docs.

`UPDATE_DOCS=1` writes docs/settings.md anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import annotated_types
import pytest
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from automatch.errors.configuration import SettingsError
from automatch.settings import Settings, load_settings
from automatch.settings.limits import RATES
from automatch.settings.load import secret_names, setting_names

_DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
_INTRODUCTION = """\
# Settings

Auto-Match reads its settings from environment variables and nothing else; `--home`, `--host` and
`--port` of the commands go before them. Every setting has a default that works. A name that starts
with `AUTOMATCH_` and is not in this file, a value out of bounds, and two values that contradict
each other keep Auto-Match from starting, with a message that names the setting.

A secret may be in a file instead, as containers mount them: its name with `_FILE` behind it holds
the path, as in `AUTOMATCH_DATABASE_URL_FILE=/run/secrets/database_url`. So may {secrets}.
"""
OWN = ["http://127.0.0.1:8000", "http://localhost:8000"]
_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("AUTOMATCH_"):
            monkeypatch.delenv(name)


def rendered() -> str:
    """Return docs/settings.md as the settings are now."""
    own = {name: field for name, field in Settings.model_fields.items() if not _group(field)}
    others = [f"`AUTOMATCH_{name.upper()}_FILE`" for name in secret_names()[1:]]
    introduction = _INTRODUCTION.format(secrets=f"{', '.join(others[:-1])} and {others[-1]}")
    text = [introduction, "## Where and how\n", _table("AUTOMATCH_", own)]
    for name, field in Settings.model_fields.items():
        if group := _group(field):
            title, _, more = (group.__doc__ or "").strip().partition("\n")
            text += [f"## `AUTOMATCH_{name.upper()}__…`\n", f"{title}{more}\n"]
            text.append(_table(f"AUTOMATCH_{name.upper()}__", group.model_fields))
    return "\n".join(text).rstrip() + "\n"


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(prefix: str, fields: dict[str, FieldInfo]) -> str:
    lines = ["| variable | default | allowed | meaning |", "|---|---|---|---|"]
    lines += [
        " | ".join([f"| `{prefix}{name.upper()}`", _default(field), _allowed(field)])
        + f" | {field.description} |"
        for name, field in fields.items()
    ]
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the platform's folder for user data"
    if field.default is None:
        return "none"
    return f"`{str(field.default).lower() if field.annotation is bool else field.default}`"


def _allowed(field: FieldInfo) -> str:
    bounds = []
    for one in field.metadata:
        for name, words in _BOUNDS.items():
            if (bound := getattr(one, name, None)) is not None:
                bounds.append(words.format(bound))
        if pattern := getattr(one, "pattern", None):
            choice = re.fullmatch(r"\^\(([\w|]+)\)\$", pattern)
            other = "rates" if pattern == RATES else "an address"
            bounds.append(
                ", ".join(f"`{word}`" for word in choice[1].split("|")) if choice else other
            )
        assert not isinstance(one, annotated_types.MultipleOf)
    if field.annotation is bool:
        return "`true`, `false`"
    return ", ".join(bounds) or "any"


def test_docs_tell_every_setting_as_it_is() -> None:
    if os.environ.get("UPDATE_DOCS") == "1":
        _DOCS.write_text(rendered())

    assert _DOCS.read_text() == rendered(), (
        "run UPDATE_DOCS=1 pytest tests/settings/test_settings.py"
    )


def test_every_setting_has_a_description_and_a_default() -> None:
    for group in (Settings, *filter(None, map(_group, Settings.model_fields.values()))):
        for name, field in group.model_fields.items():
            if not _group(field):
                assert field.description, name
                assert field.description.endswith("."), name
            assert not field.is_required(), name


def test_defaults_work_together() -> None:
    settings = load_settings()

    assert settings.home.is_absolute()
    assert settings.database_url is None


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATCH_PORT", "9000")
    monkeypatch.setenv("AUTOMATCH_WORKER__LEASE_S", "60")
    monkeypatch.setenv("AUTOMATCH_DATABASE_URL", "postgresql://me:hush@db/x")

    settings = load_settings()

    assert settings.port == 9000
    assert settings.worker.lease_s == 60
    assert isinstance(settings.database_url, SecretStr)
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [
        ({}, OWN),
        ({"PUBLIC_URL": "https://match.example.org"}, [*OWN, "https://match.example.org"]),
        (
            {"NET_ORIGINS": "https://a.example http://b:81"},
            [*OWN, "https://a.example", "http://b:81"],
        ),
        ({"NET_ORIGINS": "*"}, None),
        ({"DATABASE_URL": "postgresql://db/x"}, None),
        (
            {"DATABASE_URL": "postgresql://db/x", "NET_ORIGINS": "http://b:81"},
            [*OWN, "http://b:81"],
        ),
    ],
    ids=str,
)
def test_requests_of_sql_go_to_the_server_itself_unless_more_is_allowed(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], allowed: list[str] | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"AUTOMATCH_{name}", value)

    assert load_settings().allowed_net_origins(8000) == allowed


def test_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATCH_PORT", "9000")

    assert load_settings(port=9001, host=None).port == 9001
    assert load_settings(port=None).port == 9000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "x"),
        ("LOG_LEVEL", "loud"),
        ("LOG_JSON", "maybe"),
        ("UPLOAD__MAX_BYTES", "1"),
        ("UPLOAD__STALL_TIMEOUT_S", "0"),
        ("AUTH__ACCESS_TOKEN_S", "1e9"),
        ("PUBLIC_URL", "match.example.org"),
        ("PUBLIC_URL", "https://match.example.org/path"),
        ("WORKER__LEASE_S", "-1"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AUTOMATCH_{name}", value)

    with pytest.raises(SettingsError, match=f"^AUTOMATCH_{name}: "):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PUBLIC_URL", "match.example.org", "like https://match.example.org"),
        ("LIMITS__SIGN_UP", "often", "like 60/hour"),
        ("WEB_ORIGINS", "app.example.org", "docs/settings.md"),
    ],
)
def test_value_of_another_form_is_told_the_right_one(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"AUTOMATCH_{name}", value)

    with pytest.raises(SettingsError, match=says):
        load_settings()


def test_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = load_settings()
    for name in setting_names():
        monkeypatch.setenv(f"AUTOMATCH_{name.upper()}", "")

    assert load_settings() == defaults


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORKER__LEASE_S": "10", "WORKER__HEARTBEAT_S": "9"}, "twice"),
        ({"POOL__MIN_SIZE": "9", "POOL__MAX_SIZE": "2"}, "must not exceed"),
        ({"TRUSTED_PROXIES": "10.0.0.1 proxy.example.org"}, "addresses or networks"),
        ({"TRUSTED_PROXIES": "*"}, "addresses or networks"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"AUTOMATCH_{name}", value)

    with pytest.raises(SettingsError, match=words):
        load_settings()


@pytest.mark.parametrize("name", ["AUTOMATCH_PROT", "AUTOMATCH_WORKER__LEASE", "AUTOMATCH_WORKER"])
def test_name_that_no_setting_has_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")

    with pytest.raises(SettingsError, match=rf"^{name} is no setting"):
        load_settings()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("POOL__ANSWER_S", "POOL__TRANSACTION_TIMEOUT_S"),
        ("VISION__MAX_TURN_DEGREES", "VISION__MAX_YAW_DEGREES"),
        ("WORKER__LANES", "WORKER__CONCURRENCY"),
        ("WORKER__STOP_S", "WORKER__SHUTDOWN_TIMEOUT_S"),
        ("WORKER__TROUBLE_MAX_S", "WORKER__OUTAGE_PAUSE_MAX_S"),
    ],
)
def test_renamed_setting_is_refused_with_its_new_name(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.setenv(f"AUTOMATCH_{old}", "1")

    with pytest.raises(SettingsError, match=f"^AUTOMATCH_{old} was renamed to AUTOMATCH_{new}"):
        load_settings()
    assert new.lower() in setting_names()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AI_KEY", "k" * 40),
        ("JWT_SECRET", "super-secret-jwt-token-with-at-least-32-characters-long"),
        ("SECRET_KEYS", "sb_secret_aaaaaaaaaaaaaaaaaaaa"),
    ],
)
def test_secret_that_is_easy_to_guess_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AUTOMATCH_{name}", value)
    monkeypatch.setenv("AUTOMATCH_SUPABASE_URL", "https://project.supabase.co")

    with pytest.raises(SettingsError, match="easy to guess") as refusal:
        load_settings()

    assert value not in refusal.value.message


def test_value_of_a_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATCH_PUBLIC_URL", "canary")

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert "canary" not in refusal.value.message


def test_settings_cannot_be_changed() -> None:
    settings: Any = Settings()

    with pytest.raises(ValidationError):
        settings.port = 1
    with pytest.raises(ValidationError):
        settings.worker.batch = 1


def test_names_are_those_of_the_fields() -> None:
    names = setting_names()

    assert {"home", "port", "worker__lease_s", "feed__ping_s"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://[::1]:8123"),
        ("::1", "http://[::1]:8123"),
        ("match.example.org", "http://match.example.org:8123"),
    ],
)
def test_server_is_reached_where_it_listens(host: str, url: str) -> None:
    settings = Settings(host=host, port=8123)

    assert settings.local_url(8123) == settings.server_url() == url
    assert settings.server_url(9000) == url.replace("8123", "9000")


def test_server_behind_a_proxy_is_reached_by_its_public_address() -> None:
    settings = Settings(public_url="https://match.example.org/")

    assert settings.server_url() == settings.server_url(9000) == "https://match.example.org"
    assert settings.local_url(9000) == "http://127.0.0.1:9000"


def test_data_folder_whose_path_is_not_utf_8_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    monkeypatch.setenv("AUTOMATCH_HOME", os.fsdecode(folder))
    with pytest.raises(SettingsError, match=r"AUTOMATCH_HOME.*udcff.* is not text in UTF-8"):
        load_settings()

    monkeypatch.delenv("AUTOMATCH_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", os.fsdecode(folder))
    with pytest.raises(SettingsError, match="not text in UTF-8"):
        load_settings()

    Path(os.fsdecode(folder)).mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(SettingsError, match="not text in UTF-8"):
        load_settings(home=Path("data"))


def test_secrets_are_read_from_files_beside_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("postgresql://owner:of-a-file@db/automatch\n")
    (tmp_path / "smtp").write_text("smtp://me:mailing@mail.example.org\n")
    monkeypatch.setenv("AUTOMATCH_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("AUTOMATCH_MAIL__SMTP_URL_FILE", str(tmp_path / "smtp"))
    monkeypatch.setenv("AUTOMATCH_MAIL__SENDER", "Auto-Match <no-reply@uit.example>")

    settings = load_settings(port=8001)

    assert settings.database_url
    assert settings.database_url.get_secret_value() == "postgresql://owner:of-a-file@db/automatch"
    assert settings.mail.smtp_url
    assert settings.mail.smtp_url.get_secret_value() == "smtp://me:mailing@mail.example.org"
    assert settings.mail.sender == "Auto-Match <no-reply@uit.example>"
    assert "of-a-file" not in repr(settings)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AUTOMATCH_AI_KEY_FILE": "/nowhere/key"}, "AUTOMATCH_AI_KEY_FILE: the file /nowhere/key"),
        ({"AUTOMATCH_AI_KEY_FILE": "/dev/null", "AUTOMATCH_AI_KEY": "x" * 40}, "and so is"),
        ({"AUTOMATCH_PORT_FILE": "/dev/null"}, "AUTOMATCH_PORT_FILE is no setting"),
    ],
)
def test_file_of_a_secret_that_cannot_be_meant_is_refused(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=said):
        load_settings()
