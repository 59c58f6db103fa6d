"""Messages of RabbitMQ that are given back while something fails, or after a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from taskiq import AckableMessage

from fastask.brokers.inbox import put_off
from fastask.brokers.rabbitmq import RabbitBroker
from fastask.brokers.rabbitmq.consuming import Delivery
from tests.integration.rabbitmq_brokers import (
    WAIT,
    depth,
    made,
    message,
    nothing,
    taken,
    texts,
    up,
)
from tests.integration.rabbitmq_server import rabbitmq


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server.url


def fails_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Have one call of a method fail, as when a connection is lost."""
    calls, real = 0, getattr(owner, name)

    async def failing(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise ConnectionError("the connection was lost")
        return await real(*args)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize("is_fresh", [True, False])
async def test_again_after_one_has_failed(
    url: str, queue: str, monkeypatch: pytest.MonkeyPatch, is_fresh: bool
) -> None:
    """What went back already is left alone, and a second try has the rest go back."""
    broker = made(url, queue)
    async with up(broker):
        for text in "abc":
            await broker.kick(message(text))
        found = await taken(broker, 3)
        owner, name = (broker, "_publish") if is_fresh else (Delivery, "requeue")
        fails_once(monkeypatch, owner, name, call=2)
        consumer = broker._consumer
        for each in found:
            broker.inbox._held.add(each)
        monkeypatch.setattr(type(broker.inbox), "is_taking", True)
        with pytest.raises(ConnectionError):
            await broker.give_back(found, is_fresh=is_fresh)
        await broker.give_back(found, is_fresh=is_fresh)
        again = await taken(broker, 3)
        assert sorted(texts(again)) == ["a", "b", "c"]
        await nothing(broker)
        assert broker._consumer is consumer is not None
        await asyncio.gather(*(broker.acknowledge(each) for each in again))
        await nothing(broker)
        assert not consumer.is_over


async def test_copied_and_not_acknowledged(url: str, queue: str) -> None:
    """A message whose channel is lost once it has a copy comes again, and does not run twice."""
    broker = made(url, queue)
    async with up(broker):
        await broker.kick(message("a"))
        listening = broker.listen()
        publish = broker._publish

        async def publishing(*args: Any) -> None:
            await publish(*args)
            await broker._reading.close()

        async with asyncio.timeout(WAIT):
            first = await anext(listening)
            assert isinstance(first, AckableMessage)
            broker._publish = publishing  # type: ignore[assignment, method-assign]
            await later(first, 0.5)
            again = await anext(listening)
        assert isinstance(again, AckableMessage)
        await again.ack()  # type: ignore[misc]
        await listening.aclose()
        await nothing(broker)
        assert await depth(url, queue) == 0


async def later(received: AckableMessage, pause: float) -> None:
    acknowledge: Any = received.ack
    await put_off(acknowledge, pause)


async def after(broker: RabbitBroker) -> AckableMessage:
    """Put off the only message that may be held, and give the next."""
    broker.inbox.max_running = 1
    for text in "ab":
        await broker.kick(message(text))
    listening = broker.listen()
    async with asyncio.timeout(WAIT):
        first = await anext(listening)
        assert isinstance(first, AckableMessage)
        await later(first, 60)
        second = await anext(listening)
        await listening.aclose()
    assert isinstance(second, AckableMessage)
    return second


async def test_put_off_takes_no_place(url: str, queue: str) -> None:
    """Others run while a delay queue keeps a message that was put off."""
    broker = made(url, queue)
    async with up(broker):
        second = await after(broker)
        assert second.data == b"b"
        await second.ack()  # type: ignore[misc]
        assert await depth(url, f"{queue}.delay.60000") == 1
    assert await depth(url, queue) == 0


async def test_put_off_without_a_delay_queue(
    url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it can't be moved it is held, and handed back at the end."""
    broker = made(url, queue)
    async with up(broker):
        await broker.kick(message("a"))
        fails_once(monkeypatch, broker, "_queue_for", call=1)
        listening = broker.listen()
        async with asyncio.timeout(WAIT):
            first = await anext(listening)
            assert isinstance(first, AckableMessage)
            await later(first, 60)
            assert [each.data for each in broker.inbox.held] == [b"a"]
            await listening.aclose()
    assert await depth(url, queue) == 1
