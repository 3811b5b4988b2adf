"""The migration of the database, and whether its photos are here, before something is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automatch.cli.output.echo import echo
from automatch.errors.store import DatabaseUnavailableError, PhotoStorageError

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.settings.secrets import Secrets


async def migrate_database(
    settings: Settings, secrets: Secrets, *, take_over: bool = False
) -> list[str]:
    """Migrate the database to this version; return the versions applied.

    Raises:
        WrongPhotoStoreError: its photos are elsewhere; nothing was changed.

    See `automatch.store.installation.migrate.migrate` for others.
    """
    from automatch.postgres.addresses import database_address, login_passwords
    from automatch.store.installation.migrate import migrate

    owner = database_address(settings, secrets, "owner")
    # Before anything is changed, and once there is a place for the mark.
    await _mark_photos(settings, owner)
    versions = await migrate(
        owner,
        login_passwords(secrets),
        # Nobody else can use the embedded server.
        take_over=take_over or settings.database_url is None,
    )
    if versions:
        await _mark_photos(settings, owner)
    if count := await replay_erasures(settings, secrets):
        echo(f"The database was restored: people erased since are erased again: {count}.", err=True)
    return versions


async def owner_hints(settings: Settings, secrets: Secrets) -> list[str]:
    """Return how to make the first owner, while there is none."""
    import psycopg

    from automatch.postgres.addresses import database_address
    from automatch.store.operators.operators import has_owner

    async with await psycopg.AsyncConnection.connect(
        database_address(settings, secrets, "owner"),
        connect_timeout=10,
        prepare_threshold=None,
        application_name="automatch-check",
    ) as conn:
        if await has_owner(conn):
            return []
    return ["No owner yet: automatch operator add you@example.org --role owner"]


async def replay_erasures(settings: Settings, secrets: Secrets) -> int:
    """Erase again everybody whom a restored database brought back; return how many.

    Raises:
        ErasureLogError: the log of erasures cannot be read.
        DatabaseUnavailableError: the database does not answer.
    """
    import psycopg

    from automatch.postgres.addresses import database_address
    from automatch.store.database import translate_errors
    from automatch.store.protection.erasure_log import ErasureLog
    from automatch.store.protection.erasures import replay_log

    with translate_errors():
        async with await psycopg.AsyncConnection.connect(
            database_address(settings, secrets, "owner"),
            connect_timeout=10,
            prepare_threshold=None,
            application_name="automatch-erasures",
        ) as conn:
            # Their photos are deleted by a worker, as after any erasure.
            return len(await replay_log(conn, ErasureLog(settings.erasure_log)))


async def _mark_photos(settings: Settings, owner: str) -> None:
    try:
        await check_photos(settings, owner)
    except PhotoStorageError as exc:
        # They may not be reachable from here; the server marks them when it starts.
        reason = exc.reason or exc.message
        echo(f"The photos are not marked yet: {reason}", fg="yellow", err=True)
    except DatabaseUnavailableError:
        # The migration says why.
        return


async def check_migrated(address: str) -> None:
    """Return when this version works on the schema of the database.

    Raises:
        DatabaseOlderError, DatabaseNewerError: see `automatch.store.installation.schema_version`.
    """
    import psycopg

    from automatch.store.database import translate_errors
    from automatch.store.installation.schema_version import check_schema

    with translate_errors():
        async with await psycopg.AsyncConnection.connect(
            address, connect_timeout=10, prepare_threshold=None, application_name="automatch-check"
        ) as conn:
            await check_schema(conn)


async def check_photos(settings: Settings, address: str) -> None:
    """Return when the photo store of *settings* is the one of the database, if that is migrated.

    Raises:
        WrongPhotoStoreError: it is another one.
    """
    import psycopg

    from automatch.photos.make import make_photos
    from automatch.store.database import translate_errors
    from automatch.store.photos.photo_store import check_photo_store, is_markable

    photos = make_photos(settings)
    with translate_errors():
        async with await psycopg.AsyncConnection.connect(
            address, connect_timeout=10, prepare_threshold=None, application_name="automatch-check"
        ) as conn:
            if await is_markable(conn):
                await check_photo_store(conn, photos, may_claim=True)
