"""Commands that are imported when they are called: `--help` needs their names and a line each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typer._click import Command, Context

Lazy = tuple[str, str]
"""Where a command is, as `module:name` of this package, and what its help line says."""


def add_lazily(app: typer.Typer, commands: Mapping[str, Lazy]) -> None:
    """Register commands without importing them; *app* must be made with `lazy_group(commands)`."""
    for name, (_, line) in commands.items():
        app.command(name, help=line)(_stand_in)


def lazy_group(commands: Mapping[str, Lazy]) -> type[TyperGroup]:
    """Return a kind of group that puts the real command in the place of its stand-in."""

    class LazyGroup(TyperGroup):
        def resolve_command(
            self, ctx: Context, args: list[str]
        ) -> tuple[str | None, Command | None, list[str]]:
            """Find the command that *args* name, and import it if it is a stand-in."""
            name, command, rest = super().resolve_command(ctx, args)
            if name is not None and name in commands:
                command = load_command(name, commands[name][0])
            return name, command, rest

    return LazyGroup


def load_command(name: str, where: str) -> Command:
    """Import a command, or a group of commands."""
    module, _, attribute = where.partition(":")
    found: Any = getattr(import_module(f"automatch.cli.commands.{module}"), attribute)
    if isinstance(found, typer.Typer):
        command: Command = typer.main.get_group(found)
    else:
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command()(found)
        command = typer.main.get_command(alone)
    command.name = name
    return command


def _stand_in() -> None:
    raise AssertionError("the group puts the command in its place")
