"""The RabbitMQ broker on a real server: messages, and what is declared for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aio_pika import Message
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from taskiq import AckableMessage, TaskiqMessage

from fastask import NoResultsError
from fastask.brokers.inbox import Inbox, Taken
from fastask.brokers.rabbitmq import RabbitBroker
from tests.integration.rabbitmq_brokers import (
    WAIT,
    channel,
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


async def test_acknowledged_is_gone(url: str, queue: str) -> None:
    """What was sent is there once; what was acknowledged does not come back."""
    first, second = made(url, queue), made(url, queue)
    async with up(first, second):
        for text in "abc":
            await first.kick(message(text))
        found = await taken(first, 3)
        assert texts(found) == ["a", "b", "c"]
        assert not any(each.is_again or each.starts for each in found)
        await asyncio.gather(*(first.acknowledge(each) for each in found))
        await first._reading.close()
        await nothing(second)


async def test_delays_do_not_wait_for_each_other(url: str, queue: str) -> None:
    """A short delay is over before a long one that was sent first; equal ones share a queue."""
    broker = made(url, queue)
    async with up(broker):
        start = time.monotonic()
        await broker.kick(message("long", delay=1.5))
        await broker.kick(message("short", delay=0.3))
        await broker.kick(message("as short", delay=0.299))
        await broker.kick(message("now", delay=0))
        seen: dict[str, float] = {}
        for _ in range(4):
            [found] = await taken(broker, most=1)
            seen[found.data.decode()] = time.monotonic() - start
            assert not found.is_again
            await broker.acknowledge(found)
        assert list(seen)[-1] == "long"
        assert seen["now"] < seen["short"]
        assert seen["short"] >= 0.3
        assert seen["as short"] >= 0.299
        assert seen["long"] >= 1.5
        async with channel(url) as own:
            for milliseconds in (300, 1500):
                await own.declare_queue(f"{queue}.delay.{milliseconds}", passive=True)


async def test_too_long_a_delay(url: str, queue: str) -> None:
    """The server could not count it."""
    broker = made(url, queue)
    async with up(broker):
        with pytest.raises(ValueError, match="48 days"):
            await broker.kick(message("a", delay=50 * 86_400))


async def test_nothing_is_pushed_beyond_what_can_run(url: str, queue: str) -> None:
    """The rest is left for other workers."""
    broker = made(url, queue)
    broker.inbox.max_running = 3
    async with up(broker):
        for number in range(10):
            await broker.kick(message(str(number)))
        found = await taken(broker, 3)
        await nothing(broker)
        assert await depth(url, queue) == 7
        await broker.acknowledge(found[0])
        assert texts(await taken(broker)) == ["3"]


async def test_handing_back_is_not_counted(url: str, queue: str) -> None:
    """A worker that stops hands back what it took and what was pushed, as if never sent."""
    first, second = made(url, queue), made(url, queue)
    async with up(second):
        async with up(first):
            for number in range(30):
                await first.kick(message(str(number)))
            found = await taken(first, 5, most=5)
            await first.give_back(found, is_fresh=True)
            again = await taken(second, 30)
        assert sorted(map(int, texts(again))) == list(range(30))
        assert not any(each.is_again or each.starts for each in again)
        await asyncio.gather(*(second.acknowledge(each) for each in again))
        await nothing(second)


async def test_leaving_hands_back_what_was_pushed(url: str, queue: str) -> None:
    """While its last task runs, a worker that stops keeps no other message."""
    first, second = made(url, queue), made(url, queue)
    async with up(first, second):
        for number in range(10):
            await first.kick(message(str(number)))
        listening = first.listen()
        async with asyncio.timeout(WAIT):
            running = await anext(listening)
            await listening.aclose()
        assert isinstance(running, AckableMessage)
        again = await taken(second, 9)
        assert not any(each.is_again for each in again)
        await running.ack()  # type: ignore[misc]
        await first.kick(message("later"))  # not pushed to who has left
        assert texts(await taken(second)) == ["later"]


async def test_handing_back_one_message(url: str, queue: str) -> None:
    """A worker that hands back one message, as its result can't be saved, goes on taking."""
    worker = made(url, queue)
    async with up(worker):
        await worker.kick(message("a"))
        listening = worker.listen()
        async with asyncio.timeout(WAIT):
            running = await anext(listening)
            assert isinstance(running, AckableMessage)
            consumer = worker._consumer
            [held] = worker.inbox.held
            await worker.give_back([held], is_fresh=True)
            again = await anext(listening)
        assert isinstance(again, AckableMessage)
        assert again.data == b"a"
        assert worker._consumer is consumer is not None
        await again.ack()  # type: ignore[misc]
        await listening.aclose()


async def test_who_drops_a_message_gives_it_back(url: str, queue: str) -> None:
    """Nothing of ours keeps a message that Taskiq has let go of."""
    broker = made(url, queue, deadline=1)
    async with up(broker):
        await broker.kick(message("a"))
        listening = broker.listen()
        async with asyncio.timeout(WAIT):
            dropped: object = await anext(listening)
            del dropped
            again = await anext(listening)
        assert isinstance(again, AckableMessage)
        assert again.data == b"a"
        await again.ack()  # type: ignore[misc]
        await listening.aclose()


async def test_forgotten_ones_are_counted(url: str, queue: str) -> None:
    """What is given back out of order has been started."""
    broker = made(url, queue)
    async with up(broker):
        await broker.kick(message("a"))
        [found] = await taken(broker)
        await broker.give_back([found], is_fresh=False)
        [again] = await taken(broker)
        assert (again.is_again, again.starts) == (True, 0)
        assert await broker.count_start(again) == 1
        await broker.acknowledge(again)


async def lost(broker: RabbitBroker, *numbers: int) -> list[Taken]:
    """Take all, start those that are named, and lose the connection as `kill -9` would."""
    found = sorted(await taken(broker, 4), key=lambda each: each.data)
    for number in numbers:
        if found[number].is_again:
            found[number].starts = await broker.count_start(found[number])
    await broker._reading.close()
    return found


async def test_starts_are_counted_not_deliveries(url: str, queue: str) -> None:
    """A message that was pushed to a worker that another one kills is innocent."""
    broker = made(url, queue)
    async with up(broker):
        for number in range(4):
            await broker.kick(message(str(number)))
        counts = [[each.starts for each in await lost(broker, 0)] for _ in range(6)]
        assert counts == [
            [0, 0, 0, 0],
            [1, 0, 0, 0],
            [2, 1, 1, 1],
            [3, 1, 1, 1],
            [4, 1, 1, 1],
            [5, 1, 1, 1],
        ]
        found = sorted(await taken(broker, 4), key=lambda each: each.data)
        assert [each.starts for each in found] == [5, 1, 1, 1]
        await broker.bury(found[0])
        await asyncio.gather(*(broker.acknowledge(each) for each in found[1:]))
        await nothing(broker)
        assert await depth(url, f"{queue}.dead_letter") == 1
        async with channel(url) as own:  # the counters are gone: nothing is in new ones
            for each in found:
                counter = broker._counter(each.handle)
                again = await own.declare_queue(counter, durable=True, auto_delete=True)
                assert again.declaration_result.message_count == 0
                await again.delete()


async def test_poison_is_buried(url: str, queue: str) -> None:
    """The inbox gives up on what is lost again and again; a dead letter is kept."""
    broker = made(url, queue)
    poison = broker.formatter.dumps(
        TaskiqMessage(task_id="id", task_name="program:poison", labels={}, args=[], kwargs={})
    )
    async with up(broker):
        await broker.kick(poison)
        for _ in range(5):
            listening = Inbox(broker, broker, broker.settings)
            stream = listening.messages()
            async with asyncio.timeout(WAIT):
                running = await anext(stream)
            assert isinstance(running, AckableMessage)
            assert running.data == poison.message
            await broker._reading.close()  # as if the worker had died
            await stream.aclose()
            await listening.close()
        stream = broker.inbox.messages()
        async with asyncio.timeout(WAIT):
            dead = await anext(stream)
        assert isinstance(dead, AckableMessage)
        assert b"fastask:dead_letter" in dead.data
        await dead.ack()  # type: ignore[misc]
        await stream.aclose()
        assert await depth(url, queue) == 0
        async with channel(url) as own:
            letters = await own.get_queue(f"{queue}.dead_letter")
            letter = await letters.get()
            assert letter is not None
            assert letter.body == poison.message
            assert letter.headers["task_name"] == "program:poison"


async def test_lost_while_it_runs(url: str, queue: str) -> None:
    """A message that comes back while its task runs here is not run beside itself."""
    broker = made(url, queue)
    async with up(broker):
        await broker.kick(message("a"))
        stream = broker.listen()
        async with asyncio.timeout(WAIT):
            running = await anext(stream)
            waiting = asyncio.create_task(anext(stream))
            await broker._reading.close()
            await broker.kick(message("b"))  # comes after it
            other = await waiting
        assert isinstance(running, AckableMessage)
        assert isinstance(other, AckableMessage)
        assert other.data == b"b"
        await running.ack()  # type: ignore[misc]
        await other.ack()  # type: ignore[misc]
        await stream.aclose()
        await broker._reading.close()
        await nothing(broker)


async def test_done_while_the_connection_was_lost(
    url: str, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that has ended meanwhile does not run again here; nothing is tried for a minute."""
    broker = made(url, queue)
    async with up(broker):
        await broker.kick(message("a"))
        [found] = await taken(broker)
        await broker._reading.close()
        async with asyncio.timeout(1):
            await broker.acknowledge(found)
        assert "delivered again" in caplog.text
        await broker.kick(message("b"))
        [other] = await taken(broker)
        assert other.data == b"b"
        await broker.acknowledge(other)
        await broker._reading.close()
        await nothing(broker)


async def test_closed_channel(url: str, queue: str) -> None:
    """The server closes a channel, as after its `consumer_timeout`: the worker goes on."""
    broker = made(url, queue)
    async with up(broker):
        await broker.kick(message("a"))
        [found] = await taken(broker)
        underlay = await found.handle.channel.get_underlay_channel()
        await underlay.basic_ack(delivery_tag=4711)  # there is none
        with pytest.raises(ConnectionError, match="PRECONDITION_FAILED"):
            await taken(broker, 2)
        [again] = await taken(broker)
        assert again.is_again
        await broker.acknowledge(again)


async def test_deleted_by_hand(url: str, queue: str) -> None:
    """What is gone is declared again: by who sends, and by who receives."""
    broker, sender = made(url, queue), made(url, queue)
    async with up(broker, sender):
        await nothing(broker)
        async with channel(url) as own:
            await own.queue_delete(queue)
        await sender.kick(message("a"))
        [found] = await taken(broker)
        assert found.data == b"a"
        await broker.acknowledge(found)
        async with channel(url) as own:
            await own.exchange_delete(queue)
        await sender.kick(message("b"))
        [found] = await taken(broker)
        assert found.data == b"b"
        await broker.acknowledge(found)
        await sender.kick(message("c", delay=0.1))
        await taken(broker)
        async with channel(url) as own:
            await own.queue_delete(f"{queue}.delay.100")
        await sender.kick(message("d", delay=0.1))
        assert texts(await taken(broker)) == ["d"]


async def test_big_and_many(url: str, queue: str) -> None:
    """10 MiB in one message; a thousand messages at once."""
    broker = made(url, queue)
    broker.inbox.max_running = 2000
    async with up(broker):
        await broker.kick(message("x" * 10 * 2**20))
        [found] = await taken(broker)
        assert len(found.data) == 10 * 2**20
        await broker.acknowledge(found)
        await asyncio.gather(*(broker.kick(message(str(number))) for number in range(1000)))
        again = await taken(broker, 1000, most=2000)
        assert sorted(map(int, texts(again))) == list(range(1000))
        await asyncio.gather(*(broker.acknowledge(each) for each in again))


async def test_foreign_messages(url: str, queue: str) -> None:
    """What another client has sent, without headers or with odd ones, is taken as it is."""
    broker = made(url, queue)
    async with up(broker), channel(url) as own:
        odd = Message(b"odd", headers={"x-delivery-count": "many", "deep": {"a": [1, None]}})
        for each in (Message(b""), odd):
            await own.default_exchange.publish(each, routing_key=queue)
        found = await taken(broker, 2)
        assert texts(found) == ["", "odd"]
        assert not any(each.is_again for each in found)
        await broker.give_back(found, is_fresh=True)
        found = await taken(broker, 2)
        await asyncio.gather(*(broker.bury(each) for each in found))


async def test_equal_messages_without_an_id(url: str, queue: str) -> None:
    """One of them was acknowledged: the other one, which comes again, is not taken for it."""
    broker = made(url, queue)
    async with up(broker), channel(url) as own:
        underlay: Any = await own.get_underlay_channel()
        for _ in range(2):  # by frames, as aiormq gives each message an id
            publish = Basic.Publish(routing_key=queue)
            header = ContentHeader(body_size=4, properties=Basic.Properties())
            frames: list[Any] = [publish, header, ContentBody(b"same")]
            await underlay.write_queue.put(ChannelFrame.marshall(underlay.number, frames))
        first, second = await taken(broker, 2)
        assert second.handle.name is None
        await broker.acknowledge(first)
        await broker._reading.close()
        [again] = await taken(broker)
        assert (again.data, again.is_again) == (b"same", True)
        await broker.acknowledge(again)


async def test_no_results(url: str, queue: str) -> None:
    """Taskiq's own dummy would say that each result is there, and is `None`."""
    broker = made(url, queue)
    async with up(broker):
        for ask in (broker.result_backend.get_result, broker.result_backend.is_result_ready):
            with pytest.raises(NoResultsError, match="amqp:// keeps no results"):
                await ask("id")
