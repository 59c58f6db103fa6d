"""The NATS broker on a real server: what is sent, taken, answered for and kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.js.errors import NotFoundError

from fastask.brokers.inbox import Taken
from fastask.brokers.nats import JetStreamBroker
from fastask.brokers.once import ONCE
from tests.integration.nats_server import (
    WAIT,
    NatsServer,
    client,
    made,
    message,
    nats_server,
    taken,
    texts,
    up,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as started:
        yield started


async def stored(server: NatsServer, stream: str) -> int:
    """How many messages a stream has; -1 if it is not there."""
    async with client(server) as own:
        try:
            return (await own.jetstream().stream_info(stream)).state.messages
        except NotFoundError:
            return -1


async def emptied(server: NatsServer, stream: str) -> None:
    """Wait until a stream has nothing: acknowledgements are sent, and not waited for."""
    async with asyncio.timeout(WAIT):
        while await stored(server, stream):
            await asyncio.sleep(0.02)


async def test_acknowledged_is_gone(server: NatsServer, queue: str) -> None:
    """What was sent before any worker came is there once, and gone when acknowledged."""
    sender = made(server.url, queue, is_worker=False)
    async with up(sender):
        for text in "abc":
            await sender.kick(message(text))
    worker = made(server.url, queue, deadline=1)
    async with up(worker):
        found = await taken(worker, 3)
        assert texts(found) == ["a", "b", "c"]
        assert not any(each.is_again or each.starts for each in found)
        await asyncio.gather(*(worker.acknowledge(each) for each in found))
        await worker.acknowledge(found[0])  # again, as after an error: nothing is wrong
        await emptied(server, queue)
        assert not await worker.take(10)
        assert not await worker.take(10)  # the deadline has passed


async def test_a_pull_gives_what_there_is(server: NatsServer, queue: str) -> None:
    """Many come at once, never more than asked for, and one that comes is not waited with."""
    worker = made(server.url, queue)
    async with up(worker):
        await asyncio.gather(*(worker.kick(message(str(number))) for number in range(30)))
        assert len(await worker.take(20)) == 20
        start = time.monotonic()
        assert len(await worker.take(20)) == 10
        assert time.monotonic() - start < 0.9
        taking = asyncio.create_task(worker.take(20))
        await asyncio.wait_for(made_idle(worker), 5)
        start = time.monotonic()
        await worker.kick(message("late"))
        assert texts(list(await taking)) == ["late"]
        assert time.monotonic() - start < 0.9


async def made_idle(worker: JetStreamBroker) -> None:
    """Wait until a pull waits at the server."""
    while True:
        info = await worker.js.consumer_info(worker._queue, worker._queue)
        if info.num_waiting:
            return


async def test_what_comes_too_late_is_refused(server: NatsServer, queue: str) -> None:
    """A message for a pull that was cancelled goes to others at once."""
    first, second = made(server.url, queue), made(server.url, queue)
    async with up(first, second):
        taking = asyncio.create_task(first.take(5))
        await made_idle(first)
        taking.cancel()
        await asyncio.wait([taking])
        await second.kick(message("a"))
        start = time.monotonic()
        assert texts(await taken(second)) == ["a"]
        assert time.monotonic() - start < 5  # and not after the deadline of 60 s


@asynccontextmanager
async def beating(worker: JetStreamBroker, held: list[Taken]) -> AsyncGenerator[None, None]:
    """Extend what a worker holds, as its inbox does."""

    async def beat() -> None:
        while True:
            await worker.extend(held)
            await asyncio.sleep(0.3)

    task = asyncio.create_task(beat())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_deadline(server: NatsServer, queue: str) -> None:
    """What nobody answers for is given out again; what is extended is not."""
    # A deadline must not pass when a pull of a second ends: NATS 2.9 may then take it for new.
    first, second = made(server.url, queue, deadline=2.5), made(server.url, queue, deadline=2.5)
    async with up(first, second):
        await first.kick(message("kept"))
        await first.kick(message("left"))
        found = await taken(first, 2)
        [kept] = [each for each in found if each.data == b"kept"]
        async with beating(first, [kept]):
            others = await taken(second)
            assert texts(others) == ["left"]
            assert others[0].is_again
            async with beating(second, others):
                for _ in range(3):
                    assert not await second.take(1)


async def test_does_not_take_back(server: NatsServer, queue: str) -> None:
    """Who has lost a message does not take it from who has it, nor hands that one's back."""
    first, second, third = (made(server.url, queue, deadline=2.5) for _ in range(3))
    async with up(first, second, third):
        await first.kick(message("a"))
        lost = await taken(first)
        got = await taken(second)
        async with beating(second, got):
            await first.give_back(lost, is_fresh=True)
            assert not await third.take(1)
            async with beating(first, lost):
                assert not await third.take(1)
                assert not await first.take(1)
        await second.acknowledge(got[0])
        await emptied(server, queue)


async def test_own_message_comes_again(server: NatsServer, queue: str) -> None:
    """A message that this worker runs is not run beside itself when its deadline passes."""
    worker = made(server.url, queue, deadline=1.5)
    async with up(worker):
        await worker.kick(message("a"))
        [mine] = await taken(worker)
        worker.inbox._held.add(mine)
        handle = mine.handle.reply
        while mine.handle.reply == handle:
            assert not await asyncio.wait_for(worker.take(5), 5)
        assert mine.handle.delivered >= 2  # what comes after a pull is over is refused once more
        await worker.acknowledge(mine)
        worker.inbox._held.clear()
        await emptied(server, queue)


async def test_handed_back(server: NatsServer, queue: str) -> None:
    """What a worker hands back in order goes to others at once, and was never started."""
    first, second = made(server.url, queue), made(server.url, queue)
    async with up(first, second):
        await first.kick(message("a"))
        for worker in (first, second, first):
            start = time.monotonic()
            found = await taken(worker)
            assert time.monotonic() - start < 3
            assert (found[0].is_again, found[0].starts) == (False, 0)
            await worker.give_back(found, is_fresh=True)


async def test_counts(server: NatsServer, queue: str) -> None:
    """Starts are counted at the server, until a worker hands the message back in order."""
    first, second = made(server.url, queue), made(server.url, queue)
    async with up(first, second):
        await first.kick(message("a"))
        counts: list[Any] = []
        for worker in (first, second, first):
            [found] = await taken(worker)
            counts.append((found.is_again, found.starts))
            if found.is_again:
                counts.append(await worker.count_start(found))
            await worker.give_back([found], is_fresh=False)
        assert counts == [(False, 0), (True, 0), 1, (True, 1), 2]
        found_again = await taken(second)
        assert found_again[0].starts == 2
        await second.give_back(found_again, is_fresh=True)
        [found] = await taken(first)
        assert (found.is_again, found.starts) == (False, 0)
        await first.give_back([found], is_fresh=False)
        [found] = await taken(first)
        assert (found.is_again, found.starts) == (True, 0)
        await first.acknowledge(found)
    await emptied(server, f"KV_{queue}_starts")  # no note is left


async def test_buried(server: NatsServer, queue: str) -> None:
    """A dead letter is kept beside the queue, once."""
    worker = made(server.url, queue)
    async with up(worker):
        await worker.kick(message("poison"))
        [found] = await taken(worker)
        found.starts = 5
        await worker.bury(found)
        await worker.bury(found)  # again, as after an error
        await emptied(server, queue)
        assert await stored(server, f"{queue}=dead") == 1
        letter = await worker.js.get_last_msg(f"{queue}=dead", f"{queue}=dead")
        assert letter.data == b"poison"
        assert letter.headers is not None
        assert letter.headers["Fastask-Starts"] == "5"


async def test_long_dead_letter(server: NatsServer, queue: str) -> None:
    """A message that leaves no room for headers is kept without them."""
    worker = made(server.url, queue)
    async with up(worker):
        await worker.kick(message("x" * 1_048_576))
        [found] = await taken(worker)
        await worker.bury(found)
        await emptied(server, queue)
        letter = await worker.js.get_last_msg(f"{queue}=dead", f"{queue}=dead")
        assert letter.data == found.data


async def test_no_queue_has_the_dead_letters(server: NatsServer, queue: str) -> None:
    """They are run by no worker, whatever its queue."""
    worker, other = made(server.url, queue), made(server.url, f"{queue}_dead")
    async with up(worker, other):
        await worker.kick(message("poison"))
        [found] = await taken(worker)
        await worker.bury(found)
        assert not await other.take(1)


async def test_delay(server: NatsServer, queue: str) -> None:
    """A delayed message comes when it is due and was not started before; others don't wait."""
    worker = made(server.url, queue, deadline=1)
    async with up(worker):
        start = time.monotonic()
        await worker.kick(message("later", delay=2.5))
        await worker.kick(message("now"))
        [now] = await taken(worker)
        assert now.data == b"now"
        await worker.acknowledge(now)
        [late] = await taken(worker)
        assert late.data == b"later"
        assert 2.4 < time.monotonic() - start < 6
        assert (late.is_again, late.starts) == (False, 0)
        await worker.give_back([late], is_fresh=False)
        [late] = await taken(worker)
        assert late.is_again
        await worker.acknowledge(late)
    await emptied(server, f"KV_{queue}_starts")


async def test_many_delayed(server: NatsServer, queue: str) -> None:
    """However many wait for their time, the others are taken."""
    worker = made(server.url, queue)
    async with up(worker):
        await asyncio.gather(*(worker.kick(message(str(n), delay=60)) for n in range(1500)))
        await worker.kick(message("now"))
        assert texts(await taken(worker)) == ["now"]


async def test_once(server: NatsServer, queue: str) -> None:
    """A message with an id of the sender's own is sent once; a retry of it is another."""
    first, second = made(server.url, queue), made(server.url, queue)
    async with up(first, second):
        sent = message("a", task_id="an id: of any *.> text", **{ONCE: "1"})
        await asyncio.gather(*(broker.kick(sent) for broker in (first, second, first)))
        [found] = await taken(first)
        await first.acknowledge(found)
        await second.kick(sent)
        retry = message("b", task_id=sent.task_id, **{ONCE: "1", "_retries": 1})
        await second.kick(retry)
        assert texts(await taken(first)) == ["b"]
        assert await stored(server, queue) == 1


async def test_once_for_its_time(server: NatsServer, queue: str) -> None:
    """When its time is over an id can be sent again, though the server knows it for longer."""
    worker = made(server.url, queue, results_ttl=1)
    async with up(worker):
        sent = message("a", **{ONCE: "1"})
        for _ in range(2):
            await worker.kick(sent)
            await worker.kick(sent)
            [found] = await taken(worker)
            await worker.acknowledge(found)
            assert not await worker.take(5)
            await emptied(server, f"KV_{queue}_once")


@pytest.mark.parametrize("is_lost", [True, False])
async def test_once_after_an_error(
    server: NatsServer, queue: str, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    """Whether a message was lost, or the answer to it, it comes once when it is sent again."""
    worker = made(server.url, queue)
    publish = worker._publish

    async def broken(*arguments: Any) -> None:
        if not is_lost:
            await publish(*arguments)
        raise TimeoutError

    async with up(worker):
        sent = message("a", **{ONCE: "1"})
        with monkeypatch.context() as patched:
            patched.setattr(worker, "_publish", broken)
            with pytest.raises(TimeoutError):
                await worker.kick(sent)
        await worker.kick(sent)
        await worker.kick(sent)
        await worker.acknowledge((await taken(worker))[0])
        assert not await worker.take(5)


async def test_again_without_an_id(server: NatsServer, queue: str) -> None:
    """Without one, what is sent twice is there twice."""
    worker = made(server.url, queue)
    async with up(worker):
        await worker.kick(message("a"))
        await worker.kick(message("a"))
        assert texts(await taken(worker, 2)) == ["a", "a"]


async def test_too_long(server: NatsServer, queue: str) -> None:
    """A message that is longer than the server takes is refused, and the rest goes on."""
    worker = made(server.url, queue)
    async with up(worker):
        with pytest.raises(ValueError, match=r"has 1048577 bytes .* takes 1048576; raise max_pay"):
            await worker.kick(message("x" * 1_048_577))
        with pytest.raises(ValueError, match="has 1048576 bytes"):  # with the header
            await worker.kick(message("x" * 1_048_576, delay=1))
        await worker.kick(message("x" * 1_048_500))
        [found] = await taken(worker)
        assert len(found.data) == 1_048_500
