"""The user that the embedded Postgres runs as: oneself, or an unprivileged one under root."""

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

# None of libpq's variables of the operator's shell may reach the server or initdb.
CLEAN_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


@dataclass(frozen=True)
class Owner:
    """Who owns the cluster's files and runs its processes."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        """Whether this is not the user we run as ourselves."""
        return self.uid != os.geteuid()

    @property
    def identity(self) -> dict[str, Any]:
        """Keywords for `subprocess` that start a program as this user with its group alone."""
        if not self.is_other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def run(
        self, *command: str | Path, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.CompletedProcess[str]:
        """Run a short program as this user; its exit status is the caller's to judge.

        Raises:
            EmbeddedPostgresError: it cannot be started as this user at all, or takes minutes.
        """
        try:
            return subprocess.run(  # noqa: S603 - a list without a shell, and our own words
                [str(part) for part in command],
                stdin=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                env=CLEAN_ENVIRONMENT,
                timeout=120,
                **self.identity,
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
        """Tell, by trying, whether this user can enter a folder and write in it."""
        return self.run("/bin/sh", "-c", 'cd -- "$1" && test -w .', "sh", folder).returncode == 0

    def make_folder(self, folder: Path) -> None:
        """Make a folder of mode 0700 as this user, so that root follows nobody's links.

        Raises:
            EmbeddedPostgresError: it cannot be made, or what is there is another user's.
        """
        done = self.run("mkdir", "-m", "700", "--", folder)
        try:
            status = folder.lstat()
        except OSError as exc:
            raise EmbeddedPostgresError(
                f"The folder {folder} cannot be made: {done.stderr.strip()}"
            ) from exc
        # A setgid folder above hands its bit down, which opens nothing.
        is_closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if status.st_uid != self.uid or not is_closed:
            raise EmbeddedPostgresError(
                f"{folder} must be a folder of the user {self.name} with mode 0700; remove it."
            )


def find_owner(system_user: str) -> Owner:
    """Return who is to run Postgres; as root, make *system_user* when it is missing.

    Raises:
        EmbeddedPostgresError: root has no unprivileged user to run it as.
    """
    if os.geteuid() != 0:
        return Owner(os.geteuid(), os.getegid(), str(os.geteuid()))
    try:
        entry = pwd.getpwnam(system_user)
    except KeyError:
        entry = _create_user(system_user)
    if entry.pw_uid == 0:
        raise EmbeddedPostgresError(
            f"Postgres refuses to run as {system_user}, which is root; "
            "set AUTOMATCH_POSTGRES__SYSTEM_USER to an unprivileged user."
        )
    return Owner(entry.pw_uid, entry.pw_gid, system_user)


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
        # Asked even after a failure: another first start may have made it meanwhile.
        return pwd.getpwnam(name)
    except KeyError as exc:
        raise EmbeddedPostgresError(
            f"Postgres cannot run as root, and the user {name} could not be made ({reason}); make "
            "it, or set AUTOMATCH_POSTGRES__SYSTEM_USER to an existing unprivileged user."
        ) from exc
