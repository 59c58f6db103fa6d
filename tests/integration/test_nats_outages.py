"""The NATS broker while its server is away, comes back, or has lost what it had."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import pytest
from nats.aio.msg import Msg
from nats.errors import Error
from taskiq.kicker import AsyncKicker

from fastask import BrokerUnavailableError
from fastask.brokers.nats import JetStreamBroker, results
from fastask.brokers.once import ONCE
from fastask.brokers.url import parsed
from tests.integration.nats_server import (
    WAIT,
    NatsServer,
    made,
    message,
    nats_server,
    taken,
    texts,
    up,
)
from tests.integration.processes import free_port, worker

pytestmark = pytest.mark.faults
R = TypeVar("R")
PROGRAM = """
import asyncio
import os
from fastapi import FastAPI
from fastask import FastTask

ft = FastTask("program:app", "env:NATS_URL")
broker = ft.broker
app = FastAPI(lifespan=ft.lifespan())

@ft.task("slow")
async def slow(key: str, seconds: float) -> str:
    os.write(1, f"start {key}.\\n".encode())
    await asyncio.sleep(seconds)
    os.write(1, f"end {key}.\\n".encode())
    return key
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as started:
        yield started


@pytest.mark.parametrize("is_worker", [True, False])
async def test_not_there(server: NatsServer, is_worker: bool) -> None:
    """A start without a server ends soon, and says which one."""
    server.stop()
    broker = made(server.url.replace("//", "//me:s3cret@"), "q", is_worker=is_worker)
    start = time.monotonic()
    with pytest.raises(BrokerUnavailableError) as caught:
        await broker.startup()
    assert time.monotonic() - start < 5
    told = str(caught.value)
    assert f"nats://me:***@127.0.0.1:{server.port}" in told
    assert "Connect call failed" in told
    assert "s3cret" not in f"{told} {caught.value!r}"
    await broker.shutdown()


async def test_nobody_answers(queue: str) -> None:
    """A port that takes connections and says nothing is no server either."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        broker = made(f"nats://127.0.0.1:{port}", queue)
        start = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            await broker.startup()
        assert time.monotonic() - start < 5
        await broker.shutdown()


async def test_waited_for(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """With `wait` in the URL a start goes on trying, and says so."""
    server.stop()
    broker = made(server.url, "q", wait=30)
    with caplog.at_level(logging.WARNING, "fastask.brokers"):
        starting = asyncio.create_task(broker.startup())
        while not caplog.records:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(starting, WAIT)
    assert "waiting for it, " in caplog.text
    await broker.kick(message("a"))
    await broker.shutdown()


@pytest.mark.parametrize("is_wiped", [True, False])
async def test_stopped_and_started(server: NatsServer, is_wiped: bool) -> None:
    """A worker comes back by itself; what was sent is there, unless the server lost it."""
    sender, worker = made(server.url, "q", is_worker=False), made(server.url, "q", deadline=5)
    async with up(sender, worker):
        for text in ("held", "waiting"):
            await sender.kick(message(text))
        held = await taken(worker, 1, most=1)
        server.stop()
        if is_wiped:
            server.wipe()
        start = time.monotonic()
        for call in (sender.kick(message("down")), worker.acknowledge(held[0]), worker.take(5)):
            with pytest.raises((ConnectionError, TimeoutError)):
                await call
        assert time.monotonic() - start < 12
        await asyncio.to_thread(server.start)
        await retried(lambda: worker.acknowledge(held[0]))
        await retried(lambda: sender.kick(message("later")))
        found = await retried_take(worker, 1 if is_wiped else 2)
        assert found == (["later"] if is_wiped else ["later", "waiting"])
        assert not await worker.take(5)


async def test_lost_acknowledgement(server: NatsServer) -> None:
    """An acknowledgement that the server may not have read is sent again when it is back."""
    worker = made(server.url, "q")
    async with up(worker):
        await worker.kick(message("a"))
        [held] = await taken(worker)
        server.stop()
        assert worker.client.is_connected  # it has not noticed
        await worker.acknowledge(held)
        await asyncio.to_thread(server.start)

        async def messages_left() -> int:
            return (await worker.js.stream_info("q")).state.messages

        async with asyncio.timeout(WAIT):
            while await retried(messages_left):
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("asks", ["extend", "acknowledge"])
async def test_frozen(server: NatsServer, monkeypatch: pytest.MonkeyPatch, asks: str) -> None:
    """A server that answers when nobody waits any more makes nobody deaf."""
    for module in ("acknowledging", "broker"):
        monkeypatch.setattr(import_module(f"fastask.brokers.nats.{module}"), "PATIENCE", 1.0)
    worker = made(server.url, "q")
    async with up(worker):
        await worker.kick(message("a"))
        held = await taken(worker)
        server.freeze()
        pongs = worker.client._pongs
        if asks == "extend":
            with pytest.raises(TimeoutError):
                await worker.extend(held)
        else:
            await worker.acknowledge(held[0])
            async with asyncio.timeout(WAIT):
                while not any(each.cancelled() for each in pongs):
                    await asyncio.sleep(0.02)
        server.thaw()
        start = time.monotonic()
        await retried(lambda: worker.kick(message("b")))
        assert await retried_take(worker, 1) == ["b"]
        await retried(lambda: worker.extend(held))
        assert time.monotonic() - start < 5


async def test_living_workers_come_first(server: NatsServer) -> None:
    """After an outage, what a living worker holds is left to it; a dead worker's comes later."""
    holder, other = made(server.url, "q", deadline=2), made(server.url, "q", deadline=2)
    async with up(holder, other):
        await holder.kick(message("a"))
        held = await taken(holder)
        # The server writes late what it has given out, and not at its end (2.9).
        await asyncio.sleep(0.7)
        server.stop()
        with pytest.raises((ConnectionError, TimeoutError)):
            await other.take(1)
        await asyncio.sleep(2)  # the deadline passes
        await asyncio.to_thread(server.start)
        assert await retried(lambda: other.take(1)) == []
        loop = asyncio.get_running_loop()
        until = loop.time() + 3
        while loop.time() < until:
            await retried(lambda: holder.extend(held))
            assert await retried(lambda: other._pull.messages(1, 0.3)) == []  # type: ignore[union-attr]
        [again] = await taken(other)
        assert (again.data, again.is_again) == (b"a", True)


async def test_results_are_away(server: NatsServer, tmp_path: Path) -> None:
    """A start that fails for the results' server leaves no connection to the broker's."""
    broker = made(server.url, "q")
    broker.with_result_backend(results(parsed(f"nats://127.0.0.1:{free_port()}")))
    with pytest.raises(BrokerUnavailableError):
        await broker.startup()
    assert broker._connection.ready is None


async def test_given_out_again_meanwhile(server: NatsServer) -> None:
    """Given out while its acknowledgement is under way, a message is not run again."""
    worker = made(server.url, "q", deadline=1.5)
    async with up(worker):
        await worker.kick(message("a"))
        [first] = await taken(worker)
        assert worker._pull is not None
        again = await retried_pull(worker)  # its deadline has passed
        await worker.acknowledge(first)
        assert await worker._sorted(worker._pull.client, again) == []
        js = await worker._connection.jetstream()
        async with asyncio.timeout(WAIT):
            while (await js.stream_info("q")).state.messages:
                await asyncio.sleep(0.02)


async def test_acknowledged_at_the_end(server: NatsServer) -> None:
    """What was acknowledged right before a worker stops is read by the server."""
    for _ in range(5):
        worker = made(server.url, "q")
        async with up(worker):
            await worker.kick(message("a"))
            [held] = await taken(worker)
            await worker.acknowledge(held)
    async with up(worker := made(server.url, "q")):
        async with asyncio.timeout(WAIT):
            while (await worker.js.stream_info("q")).state.messages:
                await asyncio.sleep(0.02)


async def test_not_sent_later(server: NatsServer) -> None:
    """What was not sent does not come after all, unless it is sent again: then once."""
    worker = made(server.url, "q")
    async with up(worker):
        server.stop()
        while worker.client.is_connected:
            await asyncio.sleep(0.01)
        sent = message("once", task_id="mine", **{ONCE: "1"})
        for each in (message("never"), sent):
            start = time.monotonic()
            with pytest.raises(ConnectionError, match="not connected at the moment"):
                await worker.kick(each)
            assert time.monotonic() - start < 1
        await asyncio.to_thread(server.start)
        await retried(lambda: worker.kick(sent))
        await worker.kick(sent)
        assert texts(await taken(worker)) == ["once"]
        assert not await worker.take(5)


async def test_once_after_a_restart(server: NatsServer) -> None:
    """That a message was sent is known when it is done and the server was started again."""
    worker = made(server.url, "q")
    sent = message("once", task_id="mine", **{ONCE: "1"})
    async with up(worker):
        await worker.kick(sent)
        await worker.acknowledge((await taken(worker))[0])
        server.stop()
        await asyncio.to_thread(server.start)
        await retried(lambda: worker.kick(sent))
        assert not await worker.take(5)


async def test_client_that_has_given_up(server: NatsServer) -> None:
    """After an error that ends nats-py's client for good, there is a new one."""
    worker = made(server.url, "q")
    async with up(worker):
        former = worker.client
        former._max_payload *= 3
        await former.publish("q", b"x" * former._max_payload)
        while not former.is_closed:
            await asyncio.sleep(0.01)
        await worker.kick(message("a"))
        assert texts(await taken(worker)) == ["a"]


async def test_hand_back_without_a_server(server: NatsServer) -> None:
    """A worker that stops while the server is away ends soon."""
    worker = made(server.url, "q")
    await worker.startup()
    await worker.kick(message("a"))
    worker.inbox._held.update(await taken(worker))
    server.stop()
    start = time.monotonic()
    await worker.shutdown()
    assert time.monotonic() - start < 9


async def test_notes_that_cannot_be_read(server: NatsServer) -> None:
    """A message whose notes can't be read is refused, and comes again with them."""
    worker = made(server.url, "q")
    async with up(worker):
        await worker.kick(message("a"))
        await worker.give_back(await taken(worker), is_fresh=False)
        bucket = worker._starts._bucket
        read = bucket.get

        async def broken(key: str) -> None:
            raise TimeoutError

        bucket.get = broken  # type: ignore[method-assign]
        with pytest.raises(TimeoutError):
            await taken(worker, 2)
        bucket.get = read  # type: ignore[method-assign]
        start = time.monotonic()
        assert (await taken(worker))[0].is_again
        assert time.monotonic() - start < 5  # and not after the deadline of 60 s


async def test_worker_process(server: NatsServer, tmp_path: Path) -> None:
    """`taskiq worker` lives through a restart: what runs and what waits comes to an end once."""
    url = f"{server.url}?queue=q&deadline=2"
    (tmp_path / "program.py").write_text(PROGRAM)
    sender = made(server.url, "q", is_worker=False)
    async with up(sender):
        kicker = AsyncKicker[Any, str]("slow", sender, {})
        options = ("--workers", "1", "--max-async-tasks", "5")
        with worker("program:broker", *options, cwd=tmp_path, NATS_URL=url) as process:
            sent = [await kicker.kiq(f"long{n}", 6.0) for n in range(5)]
            sent += [await kicker.kiq(f"short{n}", 0.01) for n in range(50)]
            await asyncio.to_thread(process.wait_for, "^start long", 5)
            server.stop()
            await asyncio.to_thread(process.wait_for, "the broker's server is away")
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(process.wait_for, "^end ", 55)
            for each in sent:
                assert not (await each.wait_result(timeout=WAIT)).is_err
            lines = [line for line in process.lines if line.startswith("start ")]
            assert sorted(lines) == sorted(set(lines))
            assert len(lines) == 55


async def retried(call: Callable[[], Awaitable[R]]) -> R:
    """Do something again until it is done."""
    async with asyncio.timeout(WAIT):
        while True:
            try:
                return await call()
            except (Error, OSError, TimeoutError):
                await asyncio.sleep(0.05)


async def retried_pull(worker: JetStreamBroker) -> list[Msg]:
    async with asyncio.timeout(WAIT):
        while True:
            assert worker._pull is not None
            if messages := await worker._pull.messages(1, 1.0):
                return messages


async def retried_take(worker: JetStreamBroker, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(WAIT):
        while len(found) < count:
            try:
                found += texts(await worker.take(5))
            except (Error, OSError, TimeoutError):
                await asyncio.sleep(0.05)
    return sorted(found)
