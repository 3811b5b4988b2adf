"""`automatch restore`: bring an installation back from a backup."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import confirmed, echo
from automatch.cli.runtime.logging_setup import load_settings_and_logging

if TYPE_CHECKING:
    from automatch.ops.backup.manifest import Manifest
    from automatch.settings import Settings


def restore(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="The folder or `s3://bucket/prefix` of backups.")
    ],
    *,
    home: Home = None,
    name: Annotated[
        str | None, typer.Option("--backup", help="Which one; the newest, if it is not given.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="File with the secret key of an encrypted one."),
    ] = None,
    signed_by: Annotated[
        str | None,
        typer.Option(
            help="The fingerprint that `automatch backup` printed; without it you are asked.",
            show_default=False,
        ),
    ] = None,
    new_secrets: Annotated[
        bool,
        typer.Option(
            "--new-secrets", help="Make new secrets for a backup that has none: all are signed out."
        ),
    ] = False,
    keep_photos: Annotated[
        bool,
        typer.Option(
            "--keep-photos", help="The photos are in their bucket still, and nobody else uses it."
        ),
    ] = False,
) -> None:
    """Restore a backup into an empty installation.

    That is a new data folder, and with a Postgres of your own an empty database. The backup is
    checked first. People whom the log of erasures names are erased again. An installation that is
    there is not touched.

    Example: `automatch restore /mnt/backups --key-file backup.key --home /var/lib/match`
    """
    from automatch.store.protection.erasure_log import ErasureLog

    settings = load_settings_and_logging(home=home)
    manifest = asyncio.run(
        _restore(
            settings,
            source,
            name,
            key_file,
            signed_by=signed_by,
            new_secrets=new_secrets,
            keep=keep_photos,
        )
    )
    echo(
        f"The state of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC is in {settings.home}: "
        f"{sum(manifest.tables.values())} rows and {manifest.photos.count} photos, as the manifest "
        "says. Now `automatch up`, then `automatch verify` and `automatch doctor`."
    )
    log = ErasureLog(settings.erasure_log)
    if not any(line.erased_at > manifest.taken_at for line in log.read()):
        echo(
            "The log of erasures names nobody who was erased after the backup. If somebody was, "
            f"they are back: add the lines of the old installation's {log.path.name} to "
            f"{log.path}; `automatch up` then erases them before anybody is served.",
            fg="yellow",
            err=True,
        )


async def _restore(
    settings: Settings,
    source: str,
    name: str | None,
    key_file: Path | None,
    *,
    signed_by: str | None,
    new_secrets: bool,
    keep: bool,
) -> Manifest:
    from automatch.cli.runtime.progress import step_progress
    from automatch.cli.runtime.start_checks import migrate_database
    from automatch.ops.backup.keys import Identities
    from automatch.ops.backup.manifest import newest_manifest
    from automatch.ops.backup.place import open_place
    from automatch.ops.backup.restore import restored

    place = open_place(source, settings.backup)
    identities = Identities(key_file)
    manifest = await newest_manifest(place, name)
    if signed_by is None:
        question = (
            f"The backup {manifest.name} is signed by {manifest.signed_by}. "
            "Is that the fingerprint of your installation?"
        )
        if not confirmed(question, yes=False, option="--signed-by"):
            raise typer.Exit(1)
        signed_by = manifest.signed_by
    with step_progress() as report:
        async with restored(
            settings,
            place,
            manifest,
            identities,
            report,
            signed_by=signed_by,
            new_secrets=new_secrets,
            keep_photos=keep,
        ) as secrets:
            await migrate_database(settings, secrets)
    return manifest
