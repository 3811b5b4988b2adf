"""The user that the embedded Postgres runs as: the current one, or an unprivileged one."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from automatch.errors.store import EmbeddedPostgresError

if TYPE_CHECKING:
    from pathlib import Path

_NOLOGIN = "/usr/sbin/nologin"

# Keeps libpq's variables in the operator's shell from reaching the server or initdb.
CLEAN_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


@dataclass(frozen=True)
class OsUser:
    """The user that owns the cluster's files and runs its processes."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        """Whether this is another user than that of this process."""
        return self.uid != os.geteuid()

    @property
    def subprocess_args(self) -> dict[str, Any]:
        """The `subprocess` arguments to run as this user with its primary group only."""
        if not self.is_other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def run(
        self, *command: str | Path, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.CompletedProcess[str]:
        """Run a short program as this user; the caller checks its exit status.

        Raises:
            EmbeddedPostgresError: it cannot be started as this user, or takes minutes.
        """
        try:
            return subprocess.run(  # noqa: S603 - a list without a shell, with arguments of our own
                [str(part) for part in command],
                stdin=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                env=CLEAN_ENVIRONMENT,
                timeout=120,
                **self.subprocess_args,
            )
        except PermissionError as exc:
            if exc.filename == str(command[0]):
                return subprocess.CompletedProcess([], 126, "", "permission denied")
            raise EmbeddedPostgresError(
                f"A program cannot be run as the user {self.name}: {exc.strerror}."
            ) from exc
        except (OSError, subprocess.SubprocessError) as exc:
            raise EmbeddedPostgresError(f"{command[0]} failed as {self.name}: {exc}.") from exc

    def reaches(self, folder: Path) -> bool:
        """Tell by trying whether this user can enter a folder and write to it."""
        return self.run("/bin/sh", "-c", 'cd -- "$1" && test -w .', "sh", folder).returncode == 0

    def make_folder(self, folder: Path) -> None:
        """Create a folder of mode 0700 as this user, so that root follows no links of others.

        Raises:
            EmbeddedPostgresError: it cannot be created, or belongs to another user.
        """
        done = self.run("mkdir", "-m", "700", "--", folder)
        try:
            status = folder.lstat()
        except OSError as exc:
            raise EmbeddedPostgresError(
                f"The folder {folder} cannot be created: {done.stderr.strip()}"
            ) from exc
        # A setgid bit inherited from the parent folder gives no access.
        is_closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if status.st_uid != self.uid or not is_closed:
            raise EmbeddedPostgresError(
                f"{folder} must be a folder of the user {self.name} with mode 0700; remove it."
            )


def find_os_user(system_user: str) -> OsUser:
    """Return the user to run Postgres as; under root, create *system_user* if it is missing.

    Raises:
        EmbeddedPostgresError: there is no unprivileged user for it under root.
    """
    if os.geteuid() != 0:
        return OsUser(os.geteuid(), os.getegid(), str(os.geteuid()))
    try:
        entry = pwd.getpwnam(system_user)
    except KeyError:
        entry = _create_user(system_user)
    if entry.pw_uid == 0:
        raise EmbeddedPostgresError(
            f"Postgres refuses to run as {system_user}, which is root; "
            "set AUTOMATCH_POSTGRES__SYSTEM_USER to an unprivileged user."
        )
    return OsUser(entry.pw_uid, entry.pw_gid, system_user)


def _create_user(name: str) -> pwd.struct_passwd:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    reason = "useradd is not installed"
    if program is not None:
        done = subprocess.run(  # noqa: S603 - a list without a shell; `--` ends the options
            [program, "--system", "--no-create-home", "--shell", _NOLOGIN, "--", name],
            capture_output=True,
            text=True,
            check=False,
            env=CLEAN_ENVIRONMENT,
        )
        reason = done.stderr.strip()
    try:
        # Checked even after a failure, because another first start may have created it.
        return pwd.getpwnam(name)
    except KeyError as exc:
        raise EmbeddedPostgresError(
            f"Postgres cannot run as root, and the user {name} could not be created ({reason}); "
            "create it, or set AUTOMATCH_POSTGRES__SYSTEM_USER to an existing unprivileged user."
        ) from exc
