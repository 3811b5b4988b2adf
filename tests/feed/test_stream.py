"""One stream: what it reads when it opens, and what it may not miss before it is attached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from automatch.feed.live import LiveFeed
from automatch.feed.stream import FeedEvent, FeedStream
from automatch.model.matches import FeedEntry
from automatch.model.people import Claims, Role
from automatch.settings.database import PoolSettings
from automatch.settings.server import FeedSettings
from automatch.store.database import Database
from automatch.store.news import News, NewsQuery
from automatch.telemetry.metrics import ServerMetrics
from tests.support import build
from tests.support.build import connect
from tests.support.postgres import Database as Address
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


class Client:
    """A client that reads all it gets."""

    is_free = True
    on_lost: Callable[[], None]

    def __init__(self) -> None:
        self.got: asyncio.Queue[str] = asyncio.Queue()

    def write(self, text: str) -> None:
        self.got.put_nowait(text)

    async def wait_until_free(self) -> None:
        """Is free."""

    def close(self) -> None:
        self.on_lost()


@pytest.fixture
def pair(database: Address) -> tuple[UUID, UUID]:
    """Give two people, and a photo of each that is not matched yet."""
    with connect(database.owner, autocommit=True) as conn:
        (she, her_face), _ = build.a_pair(conn)
        return she, her_face


async def encode(events: AsyncIterator[FeedEvent]) -> AsyncIterator[str]:
    async for event in events:
        if isinstance(event, FeedEntry):
            yield str(event.position)


async def open_stream(live: LiveFeed, person: UUID, *, after: int | None) -> FeedStream:
    stream = FeedStream(live, Claims(Role.AUTHENTICATED, subject=person), encode, ping="")
    await stream.open(after=after)
    return stream


@pytest.mark.parametrize("is_woken", [False, True])
async def test_what_changes_before_a_stream_is_attached_is_told(
    database: Address, pair: tuple[UUID, UUID], is_woken: bool
) -> None:
    she, her_face = pair
    async with Database(database.api, PoolSettings(), name="test") as db:
        live = LiveFeed.over(db, FeedSettings(), ServerMetrics(), None)
        stream = await open_stream(live, she, after=0)
        with connect(database.owner, autocommit=True) as conn:
            build.a_match(conn, her_face)
        # As by the notification, which the test gives instead of a listener.
        if is_woken:
            stream.wake()
        client = Client()
        stream.attach(client)
        async with asyncio.timeout(PATIENCE_S):
            if not is_woken:
                await settled(stream)
                assert client.got.empty()
                stream.wake()
            told = await client.got.get()
        stream.close()

    assert told == "1"


async def test_stream_that_opens_reads_once(
    database: Address, pair: tuple[UUID, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    she, her_face = pair
    with connect(database.owner, autocommit=True) as conn:
        build.a_match(conn, her_face)
    async with Database(database.api, PoolSettings(), name="test") as db:
        live = LiveFeed.over(db, FeedSettings(), ServerMetrics(), None)
        read, reads = live.reader.read, 0

        async def counted(query: NewsQuery) -> News:
            nonlocal reads
            reads += 1
            return await read(query)

        monkeypatch.setattr(live.reader, "read", counted)
        stream = await open_stream(live, she, after=0)
        client = Client()
        stream.attach(client)
        async with asyncio.timeout(PATIENCE_S):
            told = await client.got.get()
            await settled(stream)
        stream.close()

    assert (told, reads) == ("1", 1)


async def settled(stream: FeedStream) -> None:
    """Wait until a stream waits."""
    if stream._task is not None:
        await stream._task
