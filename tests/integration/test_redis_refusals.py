"""The Redis broker where a server refuses, forgets, or is not there."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from fastask import BrokerUnavailableError
from fastask.brokers import broker_from
from fastask.brokers.once import ONCE
from fastask.brokers.redis import RedisResults
from tests.integration.processes import free_port
from tests.integration.test_redis_broker import WAIT, made, message, taken, texts, up

pytestmark = pytest.mark.redis


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis, None]:
    async with Redis.from_url(redis_url, protocol=2) as client:
        yield client


async def test_deleted_entry_of_a_dead_worker(redis_url: str, queue: str, redis: Redis) -> None:
    """Redis 6.2 tells of an entry that was deleted for ever, unless it is acknowledged."""
    dead, alive = made(redis_url, queue, deadline=1), made(redis_url, queue, deadline=1)
    async with up(dead, alive):
        for text in "ab":
            await dead.kick(message(text))
        deleted, kept = await taken(dead)
        await redis.xdel(queue, deleted.handle)
        alive._redis.xclaim = _as_redis_6(alive._redis, alive._redis.xclaim)
        [found] = await taken(alive)
        assert (found.data, found.is_again) == (b"b", True)
        [pending] = await redis.xpending_range(queue, "taskiq", "-", "+", 10)
        assert pending["message_id"] == kept.handle
        await redis.xdel(queue, kept.handle)
        alive.inbox._held.clear()
        async with asyncio.timeout(WAIT):
            while (await redis.xpending(queue, "taskiq"))["pending"]:  # none is left to give
                assert not await alive.take(1)


def _as_redis_6(client: Redis, xclaim: Any) -> Any:
    """Claim as Redis 6.2 does: what was deleted stays pending, and its place is empty."""

    async def claim(stream: str, group: str, consumer: str, idle: int, ids: list[bytes]) -> Any:
        claimed: list[Any] = []
        for each in ids:
            is_there = await client.xrange(stream, each, each)
            more = (
                await xclaim(stream, group, consumer, idle, [each]) if is_there else [(None,) * 2]
            )
            claimed += more
        return claimed

    return claim


@pytest.mark.parametrize(("delay", "key"), [(0, ""), (0.2, "/delayed")])
async def test_once_and_a_sending_that_fails(
    redis_url: str, queue: str, redis: Redis, delay: float, key: str
) -> None:
    """A message that the server has refused is not taken for one that was sent."""
    broker = made(redis_url, queue)
    sent = message("a", "chosen", **{ONCE: "1"}, delay=delay)
    async with up(broker):
        if not delay:
            await redis.delete(queue)
        await redis.set(f"{queue}{key}", "no stream")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await broker.kick(sent)
        await redis.delete(f"{queue}{key}")
        await broker.kick(sent)
        assert texts(await taken(broker)) == ["a"]


async def test_no_server(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is not there is told by its URL, without the password; or waited for."""
    url = f"redis://me:hunter2@127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnavailableError) as caught:
        await broker_from(url).startup()
    assert "redis://me:***@127.0.0.1" in str(caught.value)
    assert caplog.records == []
    async with asyncio.timeout(WAIT):
        with pytest.raises(BrokerUnavailableError):
            await broker_from(f"{url}?wait=1").startup()
    assert "waiting for it, 1 s left" in caplog.text
    assert "hunter2" not in caplog.text + str(caught.value)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize(
    ("user", "path", "told"),
    [
        ("", "/99", "correct the number of the database in the URL"),
        (":hunter2@", "/0", "correct the user and the password in the URL"),
    ],
)
async def test_nothing_to_wait_for(
    redis_url: str, user: str, path: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What no waiting changes is told at once, with what does."""
    place = redis_url.partition("://")[2]
    async with asyncio.timeout(WAIT):
        with pytest.raises(BrokerUnavailableError) as caught:
            await broker_from(f"redis://{user}{place}{path}?wait=60").startup()
    assert str(caught.value).endswith(told)
    assert "hunter2" not in str(caught.value)
    assert caplog.records == []


@pytest.mark.parametrize("is_worker", [True, False])
async def test_key_of_another_program(
    redis_url: str, queue: str, redis: Redis, is_worker: bool
) -> None:
    """A queue's name that is something else in that database is told at the start of each."""
    await redis.set(queue, "a string")
    broker = made(redis_url, queue, wait=60)
    broker.is_worker_process = is_worker
    async with asyncio.timeout(WAIT):
        with pytest.raises(BrokerUnavailableError) as caught:
            await broker.startup()
    assert redis_url in str(caught.value)
    assert f"the key '{queue}' is a string of another program, not a stream" in str(caught.value)
    assert str(caught.value).endswith("name another queue in the URL)")


@pytest.mark.parametrize("is_ping", [True, False])
async def test_narrow_rights(redis_url: str, queue: str, redis: Redis, is_ping: bool) -> None:
    """Who may not ask for the type of the queue's key may send; who may do nothing is told."""
    rights = ["-@all", "+client", "+hello", "+select", "+xadd", *(["+ping"] if is_ping else [])]
    await redis.acl_setuser(queue, enabled=True, passwords=["+pw"], keys=["*"], commands=rights)
    sender = made(redis_url.replace("//", f"//{queue}:pw@"), queue)
    sender.is_worker_process = False
    try:
        if is_ping:
            async with up(sender):
                await sender.kick(message("a"))
        else:
            with pytest.raises(BrokerUnavailableError, match="correct the user"):
                await sender.startup()
        assert await redis.xlen(queue) == int(is_ping)
    finally:
        await redis.acl_deluser(queue)


async def test_results_are_away(redis_url: str, queue: str, redis: Redis) -> None:
    """A start that fails for the results' server leaves no connection to the broker's."""
    broker = made(redis_url, queue)
    broker.with_result_backend(RedisResults(f"redis://127.0.0.1:{free_port()}"))
    before = len(await redis.client_list())
    with pytest.raises(BrokerUnavailableError):
        await broker.startup()
    async with asyncio.timeout(WAIT):
        while len(await redis.client_list()) > before:
            await asyncio.sleep(0.01)
