"""Whose messages the Redis broker takes: after an outage, and from workers of other deadlines."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from fastask.brokers.inbox import Taken
from fastask.brokers.redis import RedisBroker
from tests.integration.test_redis_broker import MODULE, WAIT, made, message, taken, texts, up

pytestmark = pytest.mark.redis


class Clock:
    """The time as the broker sees it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis, None]:
    async with Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A time that only a test moves, and looks that are soon done."""
    clock = Clock()
    monkeypatch.setattr(MODULE, "monotonic", clock)
    monkeypatch.setattr(MODULE, "_LOOK", 0.01)
    return clock


async def aged(redis: Redis, holder: RedisBroker, held: list[Taken], seconds: float) -> None:
    """Make messages look as if their worker had said nothing for so long."""
    await redis.xclaim(
        holder.queue_name,
        holder.consumer_group_name,
        holder.consumer_name,
        0,
        [each.handle for each in held],
        idle=int(seconds * 1000),
        justid=True,
    )


async def look(broker: RedisBroker, most: int = 10) -> list[str]:
    """Look for what others have left."""
    broker._next_look = 0.0
    return texts(list(await broker.take(most)))


@pytest.mark.parametrize("noticed_in", ["_look", "_read", "_moved"])
async def test_living_workers_come_first_after_an_outage(
    redis_url: str,
    queue: str,
    redis: Redis,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    noticed_in: str,
) -> None:
    """All look dead for a moment: who lives has half a deadline from the server's return on."""
    holder, leaving, other = (made(redis_url, queue) for _ in range(3))
    async with up(holder, leaving, other):
        await holder.kick(message("a"))
        held = await taken(holder)
        await leaving.kick(message("b"))
        given_back = await taken(leaving)
        await other.kick(message("soon", delay=0.3))  # for which it looks more often
        assert await look(other) == []
        with monkeypatch.context() as away:
            away.setattr(other, noticed_in, _fails)
            for _ in range(2):
                with pytest.raises(ConnectionError):
                    await (other.extend([]) if noticed_in == "_moved" else look(other))
                clock.now += 31
        await aged(redis, holder, held, 100)
        await leaving.give_back(given_back, is_fresh=True)
        assert await look(other) == ["b"]  # what was handed back is nobody's
        clock.now += 29
        assert "a" not in await look(other)
        clock.now += 2
        assert await look(other) == ["a"]


async def _fails(*args: Any, **more: Any) -> Any:
    raise ConnectionError("gone")


async def test_waiting_for_a_server_is_an_outage(
    redis_url: str, queue: str, redis: Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has waited for its server leaves the others as much time."""
    holder, other = made(redis_url, queue), made(redis_url, queue, wait=60)
    async with up(holder):
        await holder.kick(message("a"))
        await aged(redis, holder, await taken(holder), 100)
        with monkeypatch.context() as away:
            away.setattr(other._redis, "type", _fails)
            with pytest.raises(ConnectionError):
                await other._reach()
        async with up(other):
            assert await look(other) == []
            clock.now += 31
            assert await look(other) == ["a"]


async def test_delayed_while_a_connection_is_lost(redis_url: str, queue: str, redis: Redis) -> None:
    """A connection that is lost once does not delay what is due."""
    broker = made(redis_url, queue)
    async with up(broker):
        await broker.kick(message("a", delay=0.3))
        taking = asyncio.create_task(broker.take(1))
        async with asyncio.timeout(WAIT):
            while not any(each["cmd"] == "xreadgroup" for each in await redis.client_list()):
                await asyncio.sleep(0.01)
            await redis.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(RedisConnectionError):
                await taking
            found: list[Taken] = []
            while not found:
                with suppress(RedisConnectionError):  # there may be others in the pool
                    found = list(await broker.take(1))
        assert texts(found) == ["a"]


@pytest.mark.parametrize(("of_holder", "of_other"), [(60, 1), (1, 60)])
async def test_longer_deadline_counts(
    redis_url: str, queue: str, redis: Redis, clock: Clock, of_holder: int, of_other: int
) -> None:
    """In a rolling deploy workers may have different deadlines, and say so as often."""
    holder = made(redis_url, queue, deadline=of_holder)
    other = made(redis_url, queue, deadline=of_other)
    async with up(holder, other):
        await holder.kick(message("a"))
        held = await taken(holder)
        await aged(redis, holder, held, 50)
        assert await look(other) == []
        await aged(redis, holder, held, 61)
        assert await look(other) == ["a"]


async def test_handed_back_by_a_shorter_deadline(redis_url: str, queue: str, clock: Clock) -> None:
    """What is handed back can be taken at once by any worker."""
    short, long = made(redis_url, queue, deadline=1), made(redis_url, queue, deadline=1000)
    async with up(short, long):
        await short.kick(message("a"))
        await short.give_back(await taken(short), is_fresh=True)
        assert await look(long) == ["a"]


@pytest.mark.parametrize("page", [2, 1000])
async def test_left_behind_living_ones(
    redis_url: str,
    queue: str,
    redis: Redis,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    page: int,
) -> None:
    """Dead workers' messages are found behind any number of those of living workers."""
    monkeypatch.setattr(MODULE, "_PAGE", page)
    living, dead = made(redis_url, queue, deadline=60), made(redis_url, queue, deadline=1)
    other = made(redis_url, queue, deadline=1)
    async with up(living, dead, other):
        for number, holder in enumerate([living] * 7 + [dead] * 3):
            await holder.kick(message(str(number)))
            await aged(redis, holder, await taken(holder), 10)
        found = [await look(other, 2) for _ in range(3)]
        assert [text for each in found for text in each] == ["7", "8", "9"]
        assert max(map(len, found)) <= 2
