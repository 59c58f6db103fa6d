"""The Redis broker on a real server: what taskiq-redis lacks, and what it shares with it."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import AckableMessage, BrokerMessage, TaskiqResult
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from fastask.brokers import broker_from
from fastask.brokers.inbox import Taken
from fastask.brokers.once import ONCE
from fastask.brokers.redis import RedisBroker

pytestmark = pytest.mark.redis
WAIT = 10.0  # seconds, at most
MODULE = sys.modules[RedisBroker.__module__]  # the package has a function of its name


def made(redis_url: str, queue: str, **query: Any) -> RedisBroker:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    broker = broker_from(f"{redis_url}?queue={queue}{more}")
    assert isinstance(broker, RedisBroker)
    broker.is_worker_process = True
    return broker


@asynccontextmanager
async def up(*brokers: Any) -> AsyncGenerator[None, None]:
    for broker in brokers:
        await broker.startup()
    try:
        yield
    finally:
        for broker in brokers:
            await broker.shutdown()


def message(text: str, task_id: str = "id", **labels: Any) -> BrokerMessage:
    return BrokerMessage(task_id=task_id, task_name="a:b", message=text.encode(), labels=labels)


async def taken(broker: RedisBroker, most: int = 10) -> list[Taken]:
    """Take until something comes."""
    async with asyncio.timeout(WAIT):
        while not (found := await broker.take(most)):
            pass
    return list(found)


async def nothing(broker: RedisBroker) -> None:
    """Look for what others have left, then for what is new; nothing comes."""
    broker._next_look = 0.0
    assert list(await broker.take(10)) == []


def texts(found: list[Taken]) -> list[str]:
    return [each.data.decode() for each in found]


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis, None]:
    async with Redis.from_url(redis_url, protocol=2) as client:
        yield client


async def test_deleted_when_acknowledged(redis_url: str, queue: str, redis: Redis) -> None:
    """taskiq-redis 1.2.4 leaves every entry in the stream."""
    broker = made(redis_url, queue)
    async with up(broker):
        for text in "abc":
            await broker.kick(message(text))
        found = await taken(broker)
        assert texts(found) == ["a", "b", "c"]
        await asyncio.gather(*(broker.acknowledge(each) for each in found))
        assert await redis.xlen(queue) == 0
        assert (await redis.xpending(queue, "taskiq"))["pending"] == 0


async def test_dead_workers_messages_come_without_a_new_one(redis_url: str, queue: str) -> None:
    """taskiq-redis 1.2.4 looks for them only after a new message has come."""
    dead, alive = made(redis_url, queue, deadline=1), made(redis_url, queue, deadline=1)
    async with up(dead, alive):
        await dead.kick(message("a"))
        assert texts(await taken(dead)) == ["a"]
        [found] = await taken(alive)
        assert (found.data, found.is_again, found.starts) == (b"a", True, 0)
        assert [await alive.count_start(found) for _ in range(2)] == [1, 2]
        await alive.acknowledge(found)


async def test_living_workers_messages_are_not_taken(
    redis_url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """taskiq-redis 1.2.4 takes the message of a task that runs for longer than its timeout."""
    monkeypatch.setattr(MODULE, "_LOOK", 0.5)
    busy, idle = made(redis_url, queue, deadline=1), made(redis_url, queue, deadline=1)
    async with up(busy, idle):
        await busy.kick(message("a"))
        [found] = await taken(busy)
        async with asyncio.timeout(WAIT):
            for _ in range(4):  # each look of the other one waits half a second
                await busy.extend([found])
                idle._next_look = 0.0
                assert list(await idle.take(1)) == []


async def test_no_stealing_back(redis_url: str, queue: str, redis: Redis) -> None:
    """A worker that was away too long does not take back what another one has got."""
    slow, other = made(redis_url, queue, deadline=1), made(redis_url, queue, deadline=1)
    async with up(slow, other):
        await slow.kick(message("a"))
        [mine] = await taken(slow)
        [theirs] = await taken(other)
        await slow.extend([mine])
        await slow.give_back([mine], is_fresh=True)
        [pending] = await redis.xpending_range(queue, "taskiq", "-", "+", 1)
        assert pending["consumer"] == other.consumer_name.encode()
        await other.acknowledge(theirs)
        await slow.acknowledge(mine)  # its task has run, too: no error


@pytest.mark.parametrize(("is_fresh", "starts"), [(True, 0), (False, 2)])
async def test_handed_back(redis_url: str, queue: str, is_fresh: bool, starts: int) -> None:
    """What is handed back can be taken at once; in order, it is as if it was never taken."""
    first, second, third = (made(redis_url, queue) for _ in range(3))
    async with up(first, second, third):
        await first.kick(message("a"))
        [found] = await taken(first)
        assert [await first.count_start(found) for _ in range(2)] == [1, 2]
        await first.give_back([found], is_fresh=is_fresh)
        second._next_look = 0.0
        [again] = await taken(second)
        assert (again.data, again.is_again, again.starts) == (b"a", not is_fresh, starts)
        # And after that, it counts as any other.
        await second.give_back([again], is_fresh=False)
        third._next_look = 0.0
        [last] = await taken(third)
        assert last.is_again
        await third.acknowledge(last)


async def test_stopping_strands_nothing(redis_url: str, queue: str) -> None:
    """taskiq-redis 1.2.4 leaves what it has read ahead with a consumer that is gone."""
    first, second = made(redis_url, queue), made(redis_url, queue)
    async with up(second):
        async with up(first):
            for text in "abcd":
                await first.kick(message(text))
            messages = first.listen()
            async with asyncio.timeout(WAIT):
                given = await anext(messages)
                await messages.aclose()
            second._next_look = 0.0
            assert texts(await taken(second)) == ["b", "c", "d"]
            answer: Any = given.ack()
            await answer
        second._next_look = 0.0
        await nothing(second)


async def test_wiped_server(redis_url: str, queue: str, redis: Redis) -> None:
    """A worker of taskiq-redis 1.2.4 ends with the stream; this one makes it anew."""
    broker = made(redis_url, queue)
    async with up(broker):
        await redis.delete(queue)
        await broker.kick(message("a"))
        assert texts(await taken(broker)) == ["a"]


async def test_entry_of_another_kind(redis_url: str, queue: str, redis: Redis) -> None:
    """An entry without data ends a worker of taskiq-redis 1.2.4, again after each restart."""
    broker = made(redis_url, queue)
    async with up(broker):
        await redis.xadd(queue, {"other": "thing"})
        [found] = await taken(broker)
        assert found.data == b""


async def test_sent_before_the_first_worker(redis_url: str, queue: str) -> None:
    """taskiq-redis 1.2.4 skips what was sent before its group was made."""
    web = broker_from(f"{redis_url}?queue={queue}")
    await web.kick(message("a"))
    broker = made(redis_url, queue)
    async with up(broker):
        assert texts(await taken(broker)) == ["a"]
    await web.shutdown()


async def test_delayed(redis_url: str, queue: str) -> None:
    """A delayed message comes when it is due, and not before."""
    broker = made(redis_url, queue)
    async with up(broker):
        loop = asyncio.get_running_loop()
        start = loop.time()
        await broker.kick(message("later", delay=1.5))
        await broker.kick(message("soon", delay="0.7"))
        await broker.kick(message("now"))
        found = [await taken(broker) for _ in range(3)]
        assert [texts(each) for each in found] == [["now"], ["soon"], ["later"]]
        assert loop.time() - start >= 1.5


async def test_equal_messages_are_all_delayed(redis_url: str, queue: str) -> None:
    """Messages that are equal to the letter are several nevertheless."""
    broker = made(redis_url, queue)
    async with up(broker):
        for _ in range(2):
            await broker.kick(message("a", delay=0.1))
        async with asyncio.timeout(WAIT):
            found: list[Taken] = []
            while len(found) < 2:
                found += await broker.take(10)
        assert texts(found) == ["a", "a"]


@pytest.mark.parametrize("delay", [0, 0.2])
async def test_once(redis_url: str, queue: str, redis: Redis, delay: float) -> None:
    """A message with an id of the sender's choice is sent once; for how long, the URL says."""
    broker = made(redis_url, queue, results_ttl=1000)
    async with up(broker):
        for _ in range(3):
            await broker.kick(message("a", "chosen", **{ONCE: "1"}, delay=delay))
        await broker.kick(message("b", "other", **{ONCE: "1"}))
        async with asyncio.timeout(WAIT):
            found: list[Taken] = []
            while len(found) < 2:
                found += await broker.take(10)
        assert sorted(texts(found)) == ["a", "b"]
        await nothing(broker)
        [noted] = await redis.keys(f"{queue}/once/chosen:*")
        assert 0 < await redis.ttl(noted) <= 1000


async def test_buried(redis_url: str, queue: str, redis: Redis) -> None:
    """A dead letter is moved to a stream of its own."""
    broker = made(redis_url, queue)
    async with up(broker):
        await broker.kick(message("a"))
        [found] = await taken(broker)
        await broker.count_start(found)
        await broker.bury(found)
        assert await redis.xlen(queue) == 0
        assert await redis.exists(f"{queue}/starts") == 0
        buried: Any = await redis.xrange(f"{queue}/dead")
        [(_, fields)] = buried
        assert fields == {b"data": b"a"}


async def test_no_id_is_a_key_of_the_queue(redis_url: str, queue: str, redis: Redis) -> None:
    """Senders choose ids, so the result of any id is kept beside what the queue needs."""
    broker = made(redis_url, queue)
    names = ["delayed", "starts", "dead", "once:order:0:0:a:b", "once/order:0:0:a:b"]
    async with up(broker):
        await broker.kick(message("later", delay=0.3))
        result: TaskiqResult[int] = TaskiqResult(is_err=False, return_value=1, execution_time=0.1)
        for name in names:
            for task_id in (name, f"/{name}"):
                await broker.result_backend.set_result(task_id, result)
        await broker.kick(message("once", "order", **{ONCE: "1"}))
        found = [(await taken(broker, 1))[0] for _ in range(2)]
        assert texts(found) == ["once", "later"]
        assert await broker.count_start(found[0]) == 1
        await broker.bury(found[0])
        assert await redis.xlen(f"{queue}/dead") == 1
        for name in names:
            assert (await broker.result_backend.get_result(name)).return_value == 1


async def test_failing_acknowledgements_fail(redis_url: str, queue: str) -> None:
    """What could not be acknowledged is told to each who waits, and can be tried again."""
    broker = made(redis_url, queue)
    async with up(broker):
        for text in "ab":
            await broker.kick(message(text))
        found = await taken(broker)
        delete = broker._delete

        def fails(pipe: Any, entries: list[bytes]) -> None:
            raise ConnectionError("gone")

        broker._delete = fails  # type: ignore[method-assign]
        answers = [broker.acknowledge(each) for each in found]
        told = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(each) for each in told] == [ConnectionError, ConnectionError]
        broker._delete = delete  # type: ignore[method-assign]
        await asyncio.gather(*(broker.acknowledge(each) for each in found))


async def test_consumers_are_removed(redis_url: str, queue: str, redis: Redis) -> None:
    """A worker that ends leaves no consumer behind, unless it still has something."""
    broker, other = made(redis_url, queue), made(redis_url, queue)
    async with up(other):
        await broker.startup()
        await other.kick(message("b"))
        [found] = await taken(broker)
        await broker.acknowledge(found)
        await other.kick(message("a"))
        await taken(other)
        await broker.shutdown()
        left = {each["name"] for each in await redis.xinfo_consumers(queue, "taskiq")}
        assert broker.consumer_name.encode() not in left
        await other._drop(other.consumer_name)
        left = {each["name"] for each in await redis.xinfo_consumers(queue, "taskiq")}
        assert left == {other.consumer_name.encode()}


async def test_plain_client_and_worker(redis_url: str, queue: str) -> None:
    """taskiq-redis's own broker sends to it, and receives from it, in the same group."""
    plain = RedisStreamBroker(redis_url, queue_name=queue, consumer_id="0")
    broker = made(redis_url, queue)
    async with up(plain, broker):
        await plain.kick(message("from plain"))
        [found] = await taken(broker)
        assert found.data == b"from plain"
        await broker.acknowledge(found)
        await broker.kick(message("to plain"))
        messages = plain.listen()
        async with asyncio.timeout(WAIT):
            given = await anext(messages)
        assert isinstance(given, AckableMessage)
        assert given.data == b"to plain"
        await given.ack()  # type: ignore[misc]
        await messages.aclose()


async def test_results(redis_url: str, queue: str, redis: Redis) -> None:
    """Results are JSON that expires, under names that a plain backend can read."""
    broker = made(redis_url, queue, results_ttl=1000)
    plain: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(
        redis_url, serializer=JSONSerializer(), prefix_str=queue
    )
    async with up(broker):
        result: TaskiqResult[list[int]] = TaskiqResult(
            is_err=False, return_value=[1], execution_time=0.1
        )
        backend: Any = broker.result_backend
        await backend.set_result("id", result)
        assert (await plain.get_result("id")).return_value == [1]
        assert 0 < await redis.ttl(f"{queue}:id") <= 1000
    await plain.shutdown()
