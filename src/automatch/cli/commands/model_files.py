"""`automatch models list`, `fetch`, `verify`: which face models there are, and their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from automatch.cli.commands.run import Home
from automatch.cli.commands.threshold import Json
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.errors.configuration import SettingsError
from automatch.errors.embedder import EmbedderError, LicenceNotAcceptedError, ModelMissingError
from automatch.settings import Settings, load_settings
from automatch.vision.model_check import try_model
from automatch.vision.models.model_fetch import fetch_file
from automatch.vision.models.model_files import fetched_folder, path_of, read_checked
from automatch.vision.models.registry import ModelEntry, ModelFile, find_entry, load_registry

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `automatch models list` says.")]
Licence = Annotated[
    str | None,
    typer.Option(
        "--accept-licence", metavar="LICENCE", help="For a licence that forbids commercial use."
    ),
]


def list_models(as_json: Json = False, home: Home = None) -> None:
    """List the models of the registry, and whether their files are here."""
    settings = load_settings(home=home)
    configure_logs(settings)
    registry = load_registry(settings.home)
    told = [_told(entry, settings) for entry in registry.values()]
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("Name", "For", "Numbers", "Size", "Licence", "Files"):
        table.add_column(heading, justify="right" if heading in {"Numbers", "Size"} else "left")
    for entry, one in zip(registry.values(), told, strict=True):
        table.add_row(
            entry.name,
            "comparing" if entry.purpose == "embedder" else "finding",
            str(entry.dimensions or "-"),
            f"{one['bytes'] / 2**20:.1f} MiB",
            entry.licence.name
            + (" (not commercial)" if entry.licence.forbids_commercial_use else ""),
            "here" if one["here"] else "bring it" if one["bring"] else "fetch",
        )
    Console().print(table)


def fetch(
    name: Name,
    brought: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take this file and load nothing."),
    ] = None,
    accept_licence: Licence = None,
    home: Home = None,
) -> None:
    """Fetch the files of a model and check them against their SHA-256.

    Stopped in the middle it goes on the next time. A proxy is taken from HTTPS_PROXY.
    """
    settings = load_settings(home=home)
    configure_logs(settings)
    entry = find_entry(load_registry(settings.home), name)
    check_licence(entry, accept_licence)
    if entry.package is not None:
        for file in entry.files:
            read_checked(file, path_of(entry, file, settings.home), f"reinstall {entry.package}")
        typer.echo(f"{name} is here: it comes with the package {entry.package}.")
        return
    if brought is not None and len(entry.files) > 1:
        raise SettingsError(f"{name} has several files; --from names one.")
    for file in entry.files:
        path = _fetch(file, settings, brought)
        typer.echo(f"{path} is whole, and the file that the registry means.")
    if entry.runs_as == "yunet":
        typer.echo(f"Set AUTOMATCH_VISION__YUNET_FILE={path} to find faces with it.")


def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All, if left out.")] = None,
    home: Home = None,
) -> None:
    """Check the files that are here once more, and try the models.

    Exit code 1 when one is damaged, or NAME is not here.
    """
    settings = load_settings(home=home)
    configure_logs(settings)
    registry = load_registry(settings.home)
    entries = [find_entry(registry, name)] if name else list(registry.values())
    bad = False
    for entry in entries:
        if name is None and not _is_here(entry, settings):
            typer.echo(f"{entry.name}: not here")
            continue
        try:
            try_model(entry, settings)
        except EmbedderError as exc:
            bad = True
            typer.secho(f"{entry.name}: {exc.message}", fg=typer.colors.RED)
        else:
            typer.echo(f"{entry.name}: right, and it works")
    if bad:
        raise typer.Exit(1)


def _fetch(file: ModelFile, settings: Settings, brought: Path | None) -> Path:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(file.name, total=file.bytes)

        def tell(here: int) -> None:
            progress.update(task, completed=here)

        path = fetch_file(file, fetched_folder(settings.home), tell, brought=brought)
        tell(file.bytes)
    return path


def check_licence(entry: ModelEntry, accepted: str | None) -> None:
    """Make sure that a licence which forbids commercial use was accepted by its name.

    Raises:
        LicenceNotAcceptedError: it was not.
    """
    licence = entry.licence
    if licence.forbids_commercial_use and accepted != licence.name:
        raise LicenceNotAcceptedError(
            f"The licence of {entry.name} forbids commercial use"
            + (f" ({licence.url})" if licence.url else "")
            + f". If you keep to it: --accept-licence {licence.name}"
        )


def _told(entry: ModelEntry, settings: Settings) -> Mapping[str, Any]:
    return {
        "name": entry.name,
        "purpose": entry.purpose,
        "about": entry.about,
        "dimensions": entry.dimensions,
        "bytes": sum(file.bytes for file in entry.files),
        "licence": entry.licence.name,
        "forbids_commercial_use": entry.licence.forbids_commercial_use,
        "here": _is_here(entry, settings),
        "bring": entry.package is None and any(file.url is None for file in entry.files),
        "sha256": {file.name: file.sha256 for file in entry.files},
    }


def _is_here(entry: ModelEntry, settings: Settings) -> bool:
    """Tell whether the files lie there; what is in them, `verify` looks at."""
    try:
        return all(path_of(entry, file, settings.home).is_file() for file in entry.files)
    except ModelMissingError:
        return False
