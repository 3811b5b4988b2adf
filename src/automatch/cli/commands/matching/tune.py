"""`automatch tune`: how large groups are searched, with latency and recall."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from statistics import quantiles
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automatch.cli.options import Home, Json, Preview, Rerun
from automatch.cli.output.echo import echo, echo_json
from automatch.cli.output.tables import Table, print_tables
from automatch.cli.runtime.db_session import ensure_postgres
from automatch.cli.runtime.logging_setup import load_settings_and_logging
from automatch.errors.request import InputInvalidError

if TYPE_CHECKING:
    from automatch.settings import Settings
    from automatch.store.database import Connection
    from automatch.store.matching.tune import SearchGroup, SearchSettings

_SAMPLES = 30


def tune(
    *,
    home: Home = None,
    as_json: Json = False,
    limit: Annotated[int, typer.Option(help="Number of groups to show, largest first.")] = 20,
    build: Annotated[
        bool,
        typer.Option("--build", help="Create and drop the indexes of groups as the settings say."),
    ] = False,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster", help="Store the rows of each group together; locks, so run it off-peak."
        ),
    ] = False,
    however_long: Annotated[
        bool, typer.Option("--however-long", help="With --cluster: include large partitions.")
    ] = False,
    index_from: Annotated[
        int | None, typer.Option(help="Number of faces at which a group gets an index.")
    ] = None,
    index_until: Annotated[
        int | None, typer.Option(help="Number of faces below which a group loses its index.")
    ] = None,
    most_indexes: Annotated[int | None, typer.Option(help="Maximum number of indexes.")] = None,
    m: Annotated[int | None, typer.Option(help="HNSW parameter m of new indexes.")] = None,
    ef_construction: Annotated[
        int | None, typer.Option(help="HNSW parameter ef_construction of new indexes.")
    ] = None,
    ef_search: Annotated[
        int | None, typer.Option(help="HNSW parameter ef_search of searches.")
    ] = None,
    audit_one_in: Annotated[
        int | None, typer.Option(help="Verify one search in N by brute force.")
    ] = None,
    similarity: Annotated[
        float | None,
        typer.Option("--threshold", help="Same as `automatch threshold SIMILARITY`."),
    ] = None,
    preview: Preview = False,
    rerun: Rerun = False,
) -> None:
    """Show how each group is searched; change the search settings.

    Latency is measured, and recall is that of the searches verified by brute force. With
    --threshold it is `automatch threshold`: the minimum similarity at which people match.

    Example: `automatch tune --index-from 50000 --build`
    """
    changes = {
        "index_from": index_from,
        "index_until": index_until,
        "most_indexes": most_indexes,
        "m": m,
        "ef_construction": ef_construction,
        "ef_search": ef_search,
        "audit_one_in": audit_one_in,
    }
    if similarity is not None:
        if build or cluster or any(value is not None for value in changes.values()):
            raise InputInvalidError("--threshold cannot be combined with search settings.")
        from automatch.cli.commands.matching.threshold import threshold

        threshold(value=similarity, preview=preview, rerun=rerun, as_json=as_json, home=home)
        return
    if preview or rerun:
        raise InputInvalidError("--preview and --rerun need --threshold.")
    settings = load_settings_and_logging(home=home)
    report = asyncio.run(
        _tune(settings, changes, limit, build=build, cluster=cluster, however_long=however_long)
    )
    if as_json:
        echo_json(report)
    else:
        _print(report)


async def _tune(
    settings: Settings,
    changes: dict[str, int | None],
    limit: int,
    *,
    build: bool,
    cluster: bool,
    however_long: bool,
) -> dict[str, Any]:
    from automatch.postgres.addresses import database_address
    from automatch.settings.secrets import secrets_of
    from automatch.store.installation import distribution
    from automatch.store.matching import tune as store

    secrets = secrets_of(settings)
    address = database_address(settings, secrets, "owner")
    async with (
        ensure_postgres(settings, secrets),
        store.owner_connection(address) as conn,
        store.owner_connection(address) as watcher,
    ):
        is_distributed = (await distribution.read_state(conn)).is_distributed
        if cluster and is_distributed:
            raise InputInvalidError("The rows of a shard cannot be put in order; only --build can.")
        if any(value is not None for value in changes.values()):
            await store.change_search_settings(conn, **changes)
            if is_distributed:
                await distribution.tune_cluster(conn)
        search_settings = await store.read_search_settings(conn)
        if build:
            await _build(conn, watcher, search_settings)
        if cluster:
            async for partition, outcome in store.cluster_partitions(
                conn, include_large=however_long
            ):
                echo(f"{partition} {outcome}", err=True)
        groups = [await _measured(conn, group) for group in await store.list_groups(conn, limit)]
        return {"settings": asdict(search_settings), "groups": groups}


async def _build(conn: Connection, watcher: Connection, settings: SearchSettings) -> None:
    """Drop indexes of small groups and outdated ones, then build those of the largest groups."""
    from automatch.store.matching import tune as store

    indexes = await store.list_indexes(conn)
    for index in indexes:
        is_outdated = (index.m, index.ef_construction) != (settings.m, settings.ef_construction)
        if index.faces < settings.index_until or not index.ready or is_outdated:
            await store.drop_index(conn, index.index_name)
            echo(f"dropped the index of {index.school}, {index.gender}", err=True)
    kept = {(index.school, index.gender) for index in await store.list_indexes(conn)}
    for group in await store.list_groups(conn, settings.most_indexes):
        key = (group.school, group.gender)
        if key in kept or group.faces < settings.index_from or len(kept) >= settings.most_indexes:
            continue
        name = f"{group.school}, {group.gender}, {group.faces} faces"
        echo(f"building the index of {name}", err=True)
        await store.build_index(conn, watcher, *key, on_progress=_print_progress)
        kept.add(key)


def _print_progress(phase: str, share: float) -> None:
    echo(f"  {phase}: {share:.0%}", err=True)


async def _measured(conn: Connection, group: SearchGroup) -> dict[str, Any]:
    from automatch.store.matching import tune as store

    times = await store.time_searches(conn, group.school, group.gender, _SAMPLES)
    # The first search of a connection includes its planning.
    planned = times[1:] or times
    cuts = quantiles(planned, n=100, method="inclusive") if len(planned) > 1 else planned * 99
    p50, p99 = (cuts[49] * 1000, cuts[98] * 1000) if cuts else (None, None)
    return {
        "school": group.school,
        "gender": group.gender,
        "faces": group.faces,
        "plan": "index" if group.index_ready else "exact",
        "index_mb": None if group.index_bytes is None else round(group.index_bytes / 2**20, 1),
        "p50_ms": None if p50 is None else round(p50, 2),
        "p99_ms": None if p99 is None else round(p99, 2),
        "audits": group.audits,
        "recall": group.recall,
    }


def _print(report: dict[str, Any]) -> None:
    groups = report["groups"]
    columns = list(groups[0]) if groups else []
    rows = [["-" if value is None else value for value in group.values()] for group in groups]
    optional = ("audits", "recall", "index_mb", "p99_ms")
    print_tables(
        Table(columns, rows, optional_columns=optional, if_empty="No face can be found yet."),
        Table.of_fields(report["settings"]),
    )
