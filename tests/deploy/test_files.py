"""The files in `deploy/` and the `Dockerfile`: what their own tools say, and that they agree."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from automatch import __version__
from automatch.settings.load import secret_names, setting_names

_ROOT = Path(__file__).parents[2]
_DEPLOY = _ROOT / "deploy"
_BIN = Path(sys.executable).parent
_UNITS = sorted((_DEPLOY / "systemd").glob("*.service"))
_MANIFESTS = sorted(
    path for path in (_DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml"
)
_COMPOSE = yaml.safe_load((_DEPLOY / "compose" / "compose.yaml").read_text())
_PINNED_KUBERNETES = "1.37"
# The definitions that all kinds share are megabytes of JSON.
_SCHEMA_CONTENTS = cache(kubernetes_validate.utils.schema_contents)


def _documents() -> list[dict[str, Any]]:
    return [one for path in _MANIFESTS for one in yaml.safe_load_all(path.read_text())]


def _pods() -> list[dict[str, Any]]:
    return [
        one["spec"]["template"]["spec"]
        for one in _documents()
        if one["kind"] in {"Deployment", "Job"}
    ]


def test_linter_of_dockerfiles_finds_nothing() -> None:
    done = subprocess.run(
        [_BIN / "hadolint", _ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_image_is_given_what_it_copies_and_nothing_else() -> None:
    ignored = (_ROOT / ".dockerignore").read_text().split("\n")
    allowed = {line[1:] for line in ignored if line.startswith("!")}

    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert "*" in ignored
    assert allowed == {word for line in copied for word in line.split()}
    assert all((_ROOT / name).exists() for name in allowed)


def test_compose_file_is_one_by_its_schema() -> None:
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"

    jsonschema.validate(_COMPOSE, json.loads(vendored.read_text("utf-8")))


def test_no_secret_is_in_a_file_of_ours() -> None:
    texts = [path.read_text() for path in _DEPLOY.rglob("*") if path.is_file()]
    passwords = [word for text in texts for word in re.findall(r"://[^/\s@:]+:([^@\s]+)@", text)]

    # What is made, and what is to be replaced.
    assert set(passwords) <= {"$password", "PASSWORD"}


def test_every_service_of_ours_is_as_closed_as_it_can_be() -> None:
    ours = {
        name: service
        for name, service in _COMPOSE["services"].items()
        if service["image"] == "automatch"
    }

    assert set(ours) == {"migrate", "server", "worker"}
    for service in ours.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert [name for name, service in ours.items() if "secrets" in service] == ["migrate"]


@pytest.mark.skipif(not shutil.which("caddy"), reason="caddy is not installed")
def test_proxy_accepts_its_file() -> None:
    done = subprocess.run(
        ["caddy", "validate", "--config", "Caddyfile", "--adapter", "caddyfile"],
        cwd=_DEPLOY / "compose",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_secrets_are_made_once_and_closed_to_others(tmp_path: Path) -> None:
    script = shutil.copy(_DEPLOY / "compose" / "make-secrets", tmp_path)

    subprocess.run([script], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run([script], check=True, capture_output=True)

    password = made["postgres_password"].strip()
    assert re.fullmatch("[0-9a-f]{64}", password)
    assert f":{password}@db:5432/" in made["database_url"]
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert set(made) == {Path(one["file"]).name for one in _COMPOSE["secrets"].values()}


@pytest.mark.parametrize("unit", _UNITS, ids=lambda path: path.name)
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_nothing_in_a_unit(unit: Path, tmp_path: Path) -> None:
    # Where the program is, on the machine that runs it.
    for path in _UNITS:
        text = path.read_text().replace("/opt/automatch/bin/automatch", "/bin/true")
        (tmp_path / path.name).write_text(text)
    name = unit.name.replace("@.", "@1.")

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", tmp_path / name],
        capture_output=True,
        text=True,
        check=False,
    )
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", tmp_path / unit.name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stderr) == (0, "")
    assert rated.returncode == 0, rated.stdout[-300:]


@pytest.mark.parametrize("path", _MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_knows_every_field_of_a_manifest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", _SCHEMA_CONTENTS)
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, _PINNED_KUBERNETES, strict=True)


def test_all_manifests_are_applied_but_the_template_of_the_secret() -> None:
    applied = yaml.safe_load((_DEPLOY / "kubernetes" / "kustomization.yaml").read_text())

    assert {*applied["resources"], "secret.example.yaml"} == {path.name for path in _MANIFESTS}
    assert applied["images"] == [
        {"name": "automatch", "newName": "registry.example.org/automatch", "newTag": __version__}
    ]


def test_every_pod_is_as_closed_as_the_restricted_standard_asks() -> None:
    pods = _pods()

    assert len(pods) == 3
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        if "livenessProbe" in container:
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_every_selector_finds_pods() -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in _documents()
        if one["kind"] in {"Deployment", "Job"}
    ]
    selectors = [
        one["spec"]["selector"].get("matchLabels", one["spec"]["selector"])
        for one in _documents()
        if one["kind"] in {"Service", "Deployment"}
    ]
    selectors += [
        one["spec"]["podSelector"].get("matchLabels", {})
        for one in _documents()
        if one["kind"] == "NetworkPolicy"
    ]

    assert len(selectors) == 6
    for selector in selectors:
        assert [pod for pod in labels if selector.items() <= pod.items()]


def test_files_set_no_setting_that_there_is_not() -> None:
    known = {f"AUTOMATCH_{name.upper()}" for name in setting_names()}
    known |= {f"AUTOMATCH_{name.upper()}_FILE" for name in secret_names()}
    known.add("AUTOMATCH_DOMAIN")  # of compose.yaml and its proxy, which Auto-Match never sees
    texts = [
        path.read_text() for path in [*_DEPLOY.rglob("*"), _ROOT / "Dockerfile"] if path.is_file()
    ]

    named = {name for text in texts for name in re.findall(r"AUTOMATCH_[A-Z_]+", text)}

    assert len(named) > 5
    assert named <= known
