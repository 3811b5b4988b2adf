"""`automatch models`: the commands about face models."""

from __future__ import annotations

import typer

from automatch.cli.commands import model_change, model_files

app = typer.Typer(
    help="Face models: which there are, their files, and changing the one in use.",
    no_args_is_help=True,
)
app.command("list")(model_files.list_models)
app.command()(model_files.fetch)
app.command()(model_files.verify)
app.command()(model_change.use)
app.command()(model_change.status)
app.command()(model_change.rollback)
app.command()(model_change.retire)
