"""`automatch demo`: simulated people, so that the first uploaded photo finds matches."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from automatch.cli.options import Home
from automatch.cli.output.echo import echo
from automatch.cli.runtime.db_session import ensure_postgres
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.cli.runtime.start_checks import migrate_database

if TYPE_CHECKING:
    from automatch.settings import Settings


def demo(
    *,
    home: Home = None,
    school: Annotated[
        str, typer.Option(help="School to fill; choose the same when you sign up.")
    ] = "UIT",
    people: Annotated[int, typer.Option(min=2, max=20_000, help="Number of people.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed; each gives other people.")] = 1,
    join_every: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=3600,
            help="Seconds between people of the second half, who join one by one.",
        ),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete all simulated people instead.")
    ] = False,
) -> None:
    """Fill a school with simulated people, all marked as such.

    200 women and 200 men have portraits of their own; with more people, portraits repeat.
    Skin, hair, glasses, beard and the shape of the face go with what the photos are compared by.

    Example: `automatch demo --school UIT --people 400 --join-every 3`
    """
    settings = load_settings_and_logging(home=home)
    asyncio.run(
        _demo(
            settings, school=school, people=people, seed=seed, join_every=join_every, remove=remove
        )
    )


async def _demo(
    settings: Settings,
    *,
    school: str,
    people: int,
    seed: int,
    join_every: float | None,
    remove: bool,
) -> None:
    from automatch.cli.runtime.progress import counting_progress
    from automatch.demo.people import simulated_people
    from automatch.photos.make import make_photos
    from automatch.postgres.addresses import database_address
    from automatch.services.people.demo import count_simulated, empty_school, fill_school
    from automatch.settings.secrets import secrets_of
    from automatch.store.database import Database
    from automatch.store.photos.photo_store import check_photo_store

    secrets = secrets_of(settings)
    photos = make_photos(settings)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(ensure_postgres(settings, secrets))
        await migrate_database(settings, secrets)
        db = await stack.enter_async_context(
            Database(
                database_address(settings, secrets, "worker"), settings.pool, name="automatch-demo"
            )
        )
        async with db.connection() as conn:
            await check_photo_store(conn, photos, may_claim=False)
        progress = stack.enter_context(counting_progress())
        if remove:
            total = await count_simulated(db)
            task = progress.add_task("Removing simulated people", total=total)
            async for _ in empty_school(db, photos):
                progress.advance(task)
        else:
            everybody = await asyncio.to_thread(simulated_people, school, people, seed)
            first = people if join_every is None else people // 2
            task = progress.add_task(f"Simulated people at {school}", total=first)
            async for _ in fill_school(db, photos, everybody[:first]):
                progress.advance(task)
            if join_every is not None:
                progress.update(
                    task,
                    description=f"One more joins every {join_every:g} s. Ctrl-C stops",
                    total=people,
                )
                async for _ in fill_school(db, photos, everybody[first:], search=True):
                    progress.advance(task)
                    await asyncio.sleep(join_every)
    if remove:
        echo(f"{total} simulated people removed.")
    else:
        echo(
            f"{school} has {people} simulated people now. Sign up, choose {school} as your school "
            "and upload a photo of yourself; `automatch demo --remove` removes them again."
        )
