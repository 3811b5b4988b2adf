"""What the hourly sweep of photos costs with a million of them, in a folder of this machine.

Makes empty files and bare rows, with refused uploads and copies without a face among them, and
sweeps until the copies have all had their turn.

    .venv/bin/python -m benchmarks.photo_sweep [--photos 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from pathlib import Path
from uuid import UUID

import numpy as np
import psycopg

from automatch.ops.bench.usage import describe_machine
from automatch.photos.folder import FolderPhotos
from automatch.photos.store import ListedPhoto, Part, photo_path
from automatch.settings.database import PoolSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.store.database import Database
from automatch.worker.maintenance import MaintenanceRunner
from benchmarks.search.server import own_postgres
from tests.support.bulk import as_texts, copy_columns

STRAY, REFUSED = 1000, 1000


class Counting(FolderPhotos):
    """Counts what is listed."""

    listed = 0
    longest_s = 0.0

    async def list_page(self, part: Part, after: str) -> list[ListedPhoto]:
        began = time.perf_counter()
        page = await super().list_page(part, after)
        self.longest_s = max(self.longest_s, time.perf_counter() - began)
        self.listed += len(page)
        return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"{options.photos:,} photos, on {describe_machine()}")
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name) / "photos", options.photos))


async def measure(folder: Path, photos: int) -> None:
    """Print what each sweep looked at, and how long that took."""
    async with own_postgres(256) as dsn:
        began = time.perf_counter()
        await asyncio.to_thread(fill, dsn, folder, photos)
        print(f"made in {time.perf_counter() - began:.0f} s")
        store, sweeps = Counting(folder, min_free_mb=0), 0
        async with Database(dsn, PoolSettings(), name="bench") as db:
            while sweeps == 0 or left(folder)[1]:
                store.listed, store.longest_s = 0, 0.0
                runner = MaintenanceRunner(db, store, WorkerSettings(), RetentionSettings())
                began, cpu = time.perf_counter(), time.process_time()
                await runner.photos.clean_up_photos()
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
                sweeps += 1
                uploads, strays = left(folder)
                print(
                    f"sweep {sweeps}: {store.listed:,} photos in {took:.1f} s, {cpu:.1f} s of CPU,"
                    f" longest page {store.longest_s * 1000:.0f} ms;"
                    f" {uploads} refused uploads and {strays} strays left"
                )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"largest memory of the process: {memory} MiB")


def fill(dsn: str, folder: Path, photos: int) -> None:
    """Make the rows and files, as they are an age after the last upload."""
    ids = np.random.default_rng(0).integers(0, 256, (photos + STRAY, 16), np.uint8)
    paths = [photo_path(UUID(bytes=one.tobytes())) for one in ids]
    with psycopg.connect(dsn) as conn:
        conn.execute("set session_replication_role = replica")
        for begin in range(0, photos, 100_000):
            end = min(begin + 100_000, photos)
            some, names = ids[begin:end], paths[begin:end]
            hashes = as_texts([path[3:].replace("-", "") * 2 for path in names])
            copy_columns(conn, "public.profiles (id, school, gender)", [some, "S", "female"])
            copy_columns(
                conn,
                "public.faces (id, profile_id, image_path, image_sha256)",
                [some, some, as_texts(names), hashes],
            )
    for top in (folder, folder / "uploads"):
        for number in range(256):
            (top / f"{number:02x}").mkdir(parents=True)
    for path in paths:
        touch(folder / f"{path}.jpg")
        touch(folder / f"{path}.thumb.jpg")
    for path in paths[:REFUSED]:
        touch(folder / "uploads" / f"{path}.upload")
    (folder / "strays").write_text("\n".join(paths[photos:]))


def touch(file: Path) -> None:
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    os.utime(file, (0, 0))


def left(folder: Path) -> tuple[int, int]:
    """Return how many uploads and how many copies without a face there still are."""
    strays = (folder / "strays").read_text().split()
    uploads = sum(len(files) for _, _, files in os.walk(folder / "uploads"))
    return uploads, sum((folder / f"{path}.jpg").exists() for path in strays)


if __name__ == "__main__":
    main()
