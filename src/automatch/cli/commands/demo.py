"""`automatch demo`: simulated people, so that a first photo shows a moving feed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import typer

from automatch.app import make_photos
from automatch.cli.commands.run import Home
from automatch.cli.runtime.logging_setup import configure_logs
from automatch.cli.runtime.progress import counting_bar
from automatch.cli.runtime.running_database import migrate_database, running_database
from automatch.postgres.addresses import database_address
from automatch.services.demo_school import count_simulated, empty_school, fill_school
from automatch.settings import Settings, load_settings
from automatch.settings.secrets import load_or_create
from automatch.store.database import Database


def demo(
    home: Home = None,
    school: Annotated[
        str, typer.Option(help="School to fill; choose it when you sign up.")
    ] = "UIT",
    people: Annotated[int, typer.Option(min=2, max=20_000, help="How many.")] = 400,
    seed: Annotated[int, typer.Option(help="Another number gives other people.")] = 1,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete all simulated people instead.")
    ] = False,
) -> None:
    """Fill a school with simulated people, all marked as such.

    200 women and 200 men have portraits of their own; with more people, portraits repeat.
    """
    settings = load_settings(home=home)
    configure_logs(settings)
    asyncio.run(_demo(settings, school=school, people=people, seed=seed, remove=remove))


async def _demo(settings: Settings, *, school: str, people: int, seed: int, remove: bool) -> None:
    secrets = load_or_create(settings.home)
    photos = make_photos(settings)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running_database(settings, secrets))
        await migrate_database(settings, secrets)
        db = await stack.enter_async_context(
            Database(
                database_address(settings, secrets, "worker"), settings.pool, name="automatch-demo"
            )
        )
        bar = stack.enter_context(counting_bar())
        if remove:
            total = await count_simulated(db)
            task = bar.add_task("Removing simulated people", total=total)
            async for _ in empty_school(db, photos):
                bar.advance(task)
        else:
            task = bar.add_task(f"Simulated people at {school}", total=people)
            async for _ in fill_school(db, photos, school=school, count=people, seed=seed):
                bar.advance(task)
    if remove:
        typer.echo(f"{total} simulated people removed.")
    else:
        typer.echo(
            f"{school} has {people} simulated people now. Sign up, choose {school} as your school "
            "and upload a photo of yourself; `automatch demo --remove` takes them away again."
        )
