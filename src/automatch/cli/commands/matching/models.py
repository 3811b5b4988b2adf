"""`automatch models list`, `fetch`, `verify`: the registered face models and their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automatch.cli.commands.matching import model_change
from automatch.cli.commands.matching.model_change import AcceptLicence, ModelName
from automatch.cli.options import Home, Json
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, print_tables
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.configuration import SettingsError
from automatch.errors.embedder import EmbedderError

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.vision.models.registry import ModelEntry, ModelFile

app = typer.Typer(
    help="Face models: list them, get their files, switch between them.\n\n"
    "Example: `automatch models list`",
    no_args_is_help=True,
)


@app.command("list")
def list_models(as_json: Json = False, home: Home = None) -> None:
    """List the models, and whether their files are on this machine.

    Example: `automatch models list --json`
    """
    from automatch.vision.models.registry import load_registry

    settings = load_settings_and_logging(home=home)
    registry = load_registry(settings.home)
    models = [_as_json(entry, settings) for entry in registry.values()]
    if as_json:
        echo_json(models)
        return
    rows = [
        (
            entry.name,
            entry.purpose,
            entry.dimensions or "-",
            f"{model['bytes'] / 2**20:.1f} MiB",
            entry.licence.name
            + (" (non-commercial)" if entry.licence.forbids_commercial_use else ""),
            "here" if model["here"] else "bring" if model["bring"] else "fetch",
        )
        for entry, model in zip(registry.values(), models, strict=True)
    ]
    columns = ("name", "purpose", "dimensions", "size", "licence", "files")
    print_tables(Table(columns, rows, wrapped_column="licence"))


@app.command()
def fetch(
    name: ModelName,
    brought: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Use this file instead of downloading."),
    ] = None,
    accept_licence: AcceptLicence = None,
    home: Home = None,
) -> None:
    """Download the files of a model and check their SHA-256.

    An interrupted download is resumed the next time. A proxy is taken from HTTPS_PROXY.

    Example: `automatch models fetch yunet`
    """
    from automatch.services.matching.model_changes import check_licence
    from automatch.vision.models.model_files import path_of, read_checked
    from automatch.vision.models.registry import find_entry, load_registry

    settings = load_settings_and_logging(home=home)
    entry = find_entry(load_registry(settings.home), name)
    check_licence(entry, accept_licence)
    if entry.package is not None:
        for file in entry.files:
            read_checked(file, path_of(entry, file, settings.home), f"reinstall {entry.package}")
        echo(f"{name} is installed: it comes with the package {entry.package}.")
        return
    if brought is not None and len(entry.files) > 1:
        raise SettingsError(f"{name} has several files; --from takes only one.")
    for file in entry.files:
        path = _fetch(file, settings, brought)
        echo(f"{path} is complete, and its SHA-256 is right.")
    if entry.runs_as == "yunet":
        echo(f"Set AUTOMATCH_VISION__YUNET_FILE={path} to detect faces with it.")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Default: all.")] = None,
    home: Home = None,
) -> None:
    """Check the files on this machine again, and run each model once.

    Exit code 1 if one is damaged, or if NAME is missing.

    Example: `automatch models verify`
    """
    from automatch.services.matching.model_changes import is_here
    from automatch.vision.load import check_model
    from automatch.vision.models.registry import find_entry, load_registry

    settings = load_settings_and_logging(home=home)
    registry = load_registry(settings.home)
    entries = [find_entry(registry, name)] if name else list(registry.values())
    bad = False
    for entry in entries:
        if name is None and not is_here(entry, settings):
            echo(f"{entry.name}: no files on this machine")
            continue
        try:
            check_model(entry, settings)
        except EmbedderError as exc:
            bad = True
            echo(f"{entry.name}: {exc.message}", fg="red")
        else:
            echo(f"{entry.name}: files are right, model works")
    if bad:
        raise typer.Exit(1)


for _change in (model_change.use, model_change.status, model_change.rollback, model_change.retire):
    app.command()(_change)


def _fetch(file: ModelFile, settings: Settings, brought: Path | None) -> Path:
    from automatch.cli.runtime.progress import download_progress
    from automatch.vision.models.model_fetch import fetch_file
    from automatch.vision.models.model_files import fetched_folder

    with download_progress() as progress:
        task = progress.add_task(file.name, total=file.bytes)

        def show(received: int) -> None:
            progress.update(task, completed=received)

        path = fetch_file(file, fetched_folder(settings.home), show, local=brought)
        show(file.bytes)
    return path


def _as_json(entry: ModelEntry, settings: Settings) -> Mapping[str, Any]:
    from automatch.services.matching.model_changes import is_here

    return {
        "name": entry.name,
        "purpose": entry.purpose,
        "about": entry.about,
        "dimensions": entry.dimensions,
        "bytes": sum(file.bytes for file in entry.files),
        "licence": entry.licence.name,
        "forbids_commercial_use": entry.licence.forbids_commercial_use,
        "here": is_here(entry, settings),
        "bring": entry.package is None and any(file.url is None for file in entry.files),
        "sha256": {file.name: file.sha256 for file in entry.files},
    }
