"""`automatch backup`: make a backup, list what is there, check one, make a key."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from automatch.cli.options import Home, Json
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, print_tables, utc
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError

if TYPE_CHECKING:
    from automatch.ops.backup.manifest import Manifest
    from automatch.settings import Settings


class _MakeByDefault(TyperGroup):
    """What is no command of the group is the place of a new backup."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in {"--help", "-h"}):
            args = ["make", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_MakeByDefault,
    help="Backups: make one while everything runs, list and check them.\n\n"
    "Without a command's name, `make` is meant.\n\n"
    "Example: `automatch backup /mnt/backups --key-file backup.key`",
)

To = Annotated[
    str | None,
    typer.Argument(
        metavar="[TO]",
        help="A folder or `s3://bucket/prefix`, for this installation alone "
        "(AUTOMATCH_BACKUP__TO).",
        show_default=False,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="File with the secret key, as `age-keygen` writes it."),
]


@app.command()
def make(
    to: To = None,
    *,
    home: Home = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            help="Public key of age to encrypt to; may be given several times "
            "(AUTOMATCH_BACKUP__RECIPIENTS).",
            show_default=False,
        ),
    ] = None,
    key_file: KeyFile = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Read the backup back.")] = True,
    scheduled: Annotated[
        bool,
        typer.Option(
            "--scheduled", help="Delete others that are not kept any longer, as the schedule does."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a backup of database and photos while everything runs.

    Photos that an earlier backup at the same place has are not copied again. With a key it is
    encrypted and has the secrets of the installation too; without one you have to keep these apart.

    Example: `automatch backup make /mnt/backups --key-file backup.key`
    """
    settings = load_settings_and_logging(home=home)
    manifest = asyncio.run(
        _make(
            settings,
            _place_of(settings, to),
            recipient or [],
            key_file,
            check=check,
            scheduled=scheduled,
        )
    )
    if as_json:
        echo_json(manifest.model_dump(mode="json"))
        return
    photos = manifest.photos
    echo(
        f"Backup {manifest.name}: {photos.count} photos, {photos.copied} of them new; "
        f"{manifest.total_bytes / 1e6:.1f} MB beside them."
    )
    echo(f"Signed by {manifest.signed_by}; a restore asks for it: keep it with the key.")
    if photos.missing:
        echo(
            f"{photos.missing} photos have no file; see `automatch doctor`.", fg="yellow", err=True
        )
    if not manifest.recipients:
        from automatch.ops.backup.manifest import KEPT_APART

        echo(
            "It is not encrypted, and so without the secrets. Keep these files of "
            f"{settings.home} apart from it, or nobody can sign in after a restore: "
            f"{', '.join(KEPT_APART)}.",
            fg="yellow",
            err=True,
        )


async def _make(
    settings: Settings,
    to: str,
    recipients: list[str],
    key_file: Path | None,
    *,
    check: bool,
    scheduled: bool,
) -> Manifest:
    from automatch.cli.runtime.db_session import ensure_postgres
    from automatch.cli.runtime.progress import step_progress
    from automatch.ops.backup.keys import Identities, Recipients
    from automatch.ops.backup.place import open_place
    from automatch.ops.backup.take import BackupRunner
    from automatch.photos.make import make_photos
    from automatch.settings.secrets import secrets_of

    secrets = secrets_of(settings)
    identities = Identities(key_file)
    names = recipients or settings.backup.recipients.split() or identities.public_keys
    with step_progress() as report:
        async with ensure_postgres(settings, secrets):
            runner = BackupRunner(
                settings,
                secrets,
                make_photos(settings),
                open_place(to, settings.backup),
                recipients=Recipients(names),
                identities=identities,
                report=report,
            )
            return await runner.run(check=check, scheduled=scheduled)


@app.command("list")
def show(to: To = None, home: Home = None, as_json: Json = False) -> None:
    """List the whole backups at a place, oldest first.

    Example: `automatch backup list /mnt/backups`
    """
    from automatch.ops.backup.manifest import read_manifest
    from automatch.ops.backup.place import open_place

    settings = load_settings_and_logging(home=home)
    place = open_place(_place_of(settings, to), settings.backup)

    async def load() -> list[Manifest]:
        return [await read_manifest(place, name) for name in await place.list_backups()]

    found = asyncio.run(load())
    if as_json:
        echo_json([manifest.model_dump(mode="json") for manifest in found])
        return
    rows = [
        (
            manifest.name,
            utc(manifest.taken_at),
            manifest.automatch,
            manifest.photos.count,
            f"{manifest.total_bytes / 1e6:.1f}",
            "yes" if manifest.recipients else "no",
        )
        for manifest in found
    ]
    columns = ("backup", "taken (UTC)", "version", "photos", "MB without photos", "encrypted")
    print_tables(Table(columns, rows, if_empty=f"No whole backup in {place.location}."))


@app.command()
def check(
    to: To = None,
    name: Annotated[
        str | None, typer.Option("--backup", help="Which one; the newest, if it is not given.")
    ] = None,
    key_file: KeyFile = None,
    home: Home = None,
) -> None:
    """Read a backup to its last byte, with the key also what is in it.

    Example: `automatch backup check /mnt/backups --key-file backup.key`
    """
    settings = load_settings_and_logging(home=home)
    manifest = asyncio.run(_check(settings, _place_of(settings, to), name, key_file))
    opened = not manifest.recipients or key_file is not None
    echo(
        f"The backup {manifest.name} is whole."
        + ("" if opened else " Only its bytes were compared: with --key-file it is opened too.")
    )


async def _check(settings: Settings, to: str, name: str | None, key_file: Path | None) -> Manifest:
    import tempfile

    from automatch.ops.backup.check import check_backup
    from automatch.ops.backup.keys import Identities
    from automatch.ops.backup.manifest import newest_manifest
    from automatch.ops.backup.place import open_place

    place = open_place(to, settings.backup)
    manifest = await newest_manifest(place, name)
    with tempfile.TemporaryDirectory() as scratch:
        await check_backup(place, manifest, Identities(key_file), Path(scratch))
    return manifest


@app.command()
def new_key(
    out: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
) -> None:
    """Make a key for backups, and its recipient.

    The machine that makes backups needs only the recipient. Without the file nobody opens them.

    Example: `automatch backup new-key backup.key`
    """
    from automatch.cli.output.new_file import new_file
    from automatch.ops.backup.keys import new_key as make_key

    secret, recipient = make_key()
    with new_file(out) as file:
        file.write(f"# public key: {recipient}\n{secret}\n".encode())
    echo(recipient)
    echo(f"Move {out} off this machine; whoever loses it loses the backups.", err=True)


def _place_of(settings: Settings, to: str | None) -> str:
    if place := to or settings.backup.to:
        return place
    raise InputInvalidError(
        "Name a folder or s3://bucket for the backups, or set AUTOMATCH_BACKUP__TO."
    )
