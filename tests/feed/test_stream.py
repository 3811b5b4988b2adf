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
from automatch.store.matching.news import News, NewsQuery
from automatch.telemetry.metrics import ServerMetrics
from tests.support import build
from tests.support.build import connect
from tests.support.kept_pools import KeptDatabase
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
        asyncio.get_running_loop().call_soon(self.on_lost)


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
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
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
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
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


async def test_stream_of_somebody_without_photos_and_cards_tells_all_when_it_opens(
    database: Address, pair: tuple[UUID, UUID]
) -> None:
    async def name(events: AsyncIterator[FeedEvent]) -> AsyncIterator[str]:
        async for event in events:
            yield f"{type(event).__name__} "

    with connect(database.owner, autocommit=True) as conn:
        nobody = build.a_profile(conn)
        build.a_match(conn, pair[1])
    opened, attached = {}, {}
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        live = LiveFeed.over(db, FeedSettings(), ServerMetrics(), None)
        for person in (nobody, pair[0]):
            stream = FeedStream(live, Claims(Role.AUTHENTICATED, subject=person), name, ping="")
            await stream.open(after=0)
            client = Client()
            opened[person] = await stream.encode_opening()
            stream.attach(client)
            await settled(stream)
            attached[person] = "".join(client.got.get_nowait() for _ in range(client.got.qsize()))
            stream.close()

    assert (opened[nobody], attached[nobody]) == ("Ready New ", "")
    assert (opened[pair[0]], attached[pair[0]]) == ("Ready ", "Job FeedEntry New ")


async def test_stream_that_opens_while_the_server_stops_ends(database: Address) -> None:
    with connect(database.owner, autocommit=True) as conn:
        nobody = build.a_profile(conn)
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        live = LiveFeed.over(db, FeedSettings(), ServerMetrics(), None)
        live.notifier.close()
        stream = await open_stream(live, nobody, after=0)
        await stream.encode_opening()
        stream.attach(Client())
        await settled(stream)

        assert live.notifier.count_streams(nobody) == 0


async def test_stream_that_does_not_show_what_is_new_does_not_read_it(
    database: Address, pair: tuple[UUID, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
        live = LiveFeed.over(db, FeedSettings(), ServerMetrics(), None)
        read = live.reader.read

        async def noted(query: NewsQuery) -> News:
            asked.append(query.unseen)
            return await read(query)

        monkeypatch.setattr(live.reader, "read", noted)
        claims = Claims(Role.AUTHENTICATED, subject=pair[0])
        stream = FeedStream(live, claims, encode, ping="", shows_new=False)
        await stream.open(after=0)
        stream.attach(Client())
        stream.wake()
        await settled(stream)
        stream.close()

    assert asked == [False, False]


async def settled(stream: FeedStream) -> None:
    """Wait until a stream waits."""
    if stream._task is not None:
        await stream._task
