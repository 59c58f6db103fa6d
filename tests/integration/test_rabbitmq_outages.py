"""The RabbitMQ broker while its server stops, dies, hangs, and is there again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiormq.exceptions import AMQPError
from taskiq import AckableMessage, BrokerMessage, TaskiqMessage

from fastask import BrokerUnavailableError
from fastask.brokers.rabbitmq import RabbitBroker
from tests.integration.processes import free_port, worker
from tests.integration.rabbitmq_brokers import WAIT, channel, depth, made, message, taken, texts, up
from tests.integration.rabbitmq_server import RabbitServer, rabbitmq

pytestmark = pytest.mark.faults
QUEUE = "outages"
PROGRAM = '''
import asyncio
import os
from fastapi import FastAPI
from fastask import FastTask

def say(text):
    """One write for each line, so that lines of threads and processes are never mixed."""
    os.write(1, f"{text}\\n".encode())

app = FastAPI()
ft = FastTask(app, broker="env:RABBIT_URL")
broker = ft.broker

@ft.task
async def work(number: int, seconds: float) -> None:
    say(f"started {number}")
    await asyncio.sleep(seconds)
    say(f"ended {number}")
'''


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        asyncio.run(declared(server.url))
        server.stop()
        server.start()
        yield server


async def declared(url: str) -> None:
    """Make the queues, which are on the disk after the next stop.

    A quorum queue that was made in the second before a crash never comes back (RabbitMQ 3.10).
    """
    broker = made(url, QUEUE)
    async with up(broker):
        pass


@pytest.fixture
async def queue(server: RabbitServer) -> str:
    async with channel(server.url) as own:
        await (await own.get_queue(QUEUE)).purge()
    return QUEUE


@pytest.fixture
def server(shared: RabbitServer) -> Iterator[RabbitServer]:
    """The server, which runs again after the test."""
    yield shared
    shared.kill()
    shared.start()


@asynccontextmanager
async def away(server: RabbitServer, *, is_crash: bool) -> AsyncGenerator[None, None]:
    """Have the server gone; it is started again in the end."""
    await asyncio.to_thread(server.kill if is_crash else server.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


async def kicked(broker: RabbitBroker, sent: BrokerMessage) -> None:
    """Send as a caller does who tries again."""
    async with asyncio.timeout(WAIT):
        while True:
            try:
                return await broker.kick(sent)
            except (OSError, AMQPError, RuntimeError):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("is_crash", [True, False])
async def test_sending(server: RabbitServer, queue: str, is_crash: bool) -> None:
    """An error at once while the server is away; then all is well again, and nothing is late."""
    broker = made(server.url, queue)
    async with up(broker):
        await broker.kick(message("before"))
        if not is_crash:  # which its queue, being new, would not survive
            await broker.kick(message("delayed", delay=0.5))
        async with away(server, is_crash=is_crash):
            for text in ("first", "second"):
                start = time.monotonic()
                with pytest.raises(Exception, match=r".") as caught:
                    await broker.kick(message(text))
                assert isinstance(caught.value, Exception)
                assert time.monotonic() - start < 4.9
        await kicked(broker, message("after"))
        expected = ["after", "before", *([] if is_crash else ["delayed"])]
        assert sorted(texts(await taken(broker, len(expected)))) == expected
        assert await depth(server.url, queue) == 0


async def test_server_dies_in_the_middle(server: RabbitServer, queue: str) -> None:
    """Who waits for a confirmation gets an error, which is not a cancellation."""
    broker = made(server.url, queue)
    async with up(broker):
        await broker.kick(message("first"))
        process = server._process
        assert process is not None
        os.killpg(process.pid, signal.SIGSTOP)
        sending = [asyncio.create_task(broker.kick(message(str(n)))) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(server.kill)
        async with asyncio.timeout(WAIT):
            done, _ = await asyncio.wait(sending)
        assert all(isinstance(task.exception(), Exception) for task in done)


async def test_server_hangs(server: RabbitServer, queue: str) -> None:
    """Sending gives up after 4 s, and the next one is not held up by that."""
    broker = made(server.url, queue)
    async with up(broker):
        process = server._process
        assert process is not None
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            start = time.monotonic()
            with pytest.raises(TimeoutError, match="no answer within 4 s"):
                await broker.kick(message("hangs"))
            assert 3.5 < time.monotonic() - start < 5
        finally:
            os.killpg(process.pid, signal.SIGCONT)
        await kicked(broker, message("after"))
        assert "after" in texts(await taken(broker, await depth(server.url, queue)))


@pytest.mark.parametrize("is_crash", [True, False])
async def test_receiving(
    server: RabbitServer, queue: str, is_crash: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker finds its server again by itself; its running task runs once."""
    caplog.set_level(logging.INFO, "fastask.brokers")
    broker = made(server.url, queue)
    async with up(broker):
        for text in "ab":
            await broker.kick(message(text))
        stream = broker.listen()
        async with asyncio.timeout(60):
            running = [await anext(stream) for _ in range(2)]
            waiting = asyncio.create_task(anext(stream))
            async with away(server, is_crash=is_crash):
                await asyncio.sleep(2)  # several attempts
            await kicked(broker, message("c"))
            last = await waiting
        assert isinstance(last, AckableMessage)
        assert last.data == b"c"
        for each in (*running, last):
            await each.ack()  # type: ignore[misc]
        await stream.aclose()
        await broker._reading.close()
        assert list(await broker.take(10)) == []
    assert caplog.text.count("the broker's server is away") == 1
    assert caplog.text.count("the broker's server is back") == 1
    assert "guest:guest" not in caplog.text


@pytest.mark.parametrize("is_crash", [True, False])
async def test_worker_process(
    server: RabbitServer, queue: str, tmp_path: Path, is_crash: bool
) -> None:
    """`taskiq worker` across a restart of the server: nothing is lost, nothing runs twice."""
    (tmp_path / "program.py").write_text(PROGRAM)
    url = f"{server.url}?queue={queue}"
    sender = made(server.url, queue)
    with worker("program:broker", "--workers", "1", cwd=tmp_path, RABBIT_URL=url) as process:
        async with up(sender):
            for number in range(20):
                await sender.kick(task(sender, number, 8.0 if number < 2 else 0.01))
            await asyncio.to_thread(process.wait_for, "ended 19")
            async with away(server, is_crash=is_crash):
                pass
            await kicked(sender, task(sender, 20, 0.01))
            await asyncio.to_thread(process.wait_for, "ended 20")
            await asyncio.to_thread(process.wait_for, "ended [01]$", 2)
            assert await depth(server.url, queue) == 0
        process.send(signal.SIGINT)
        await asyncio.to_thread(process.wait)
    for number in range(21):
        assert process.lines.count(f"started {number}") == 1, process.log
    assert "guest:guest" not in process.log


def task(broker: RabbitBroker, number: int, seconds: float) -> BrokerMessage:
    return broker.formatter.dumps(
        TaskiqMessage(
            task_id=f"id{number}",
            task_name="program:work",
            labels={},
            args=[number, seconds],
            kwargs={},
        )
    )


async def test_not_there_at_the_start(queue: str) -> None:
    """A clear error within 5 s."""
    broker = made(f"amqp://guest:hidden@127.0.0.1:{free_port()}", queue)
    start = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match="wait=60") as caught:
        await broker.startup()
    assert time.monotonic() - start < 5
    assert "hidden" not in f"{caught.value} {caught.value!r}"
    await broker.shutdown()


async def test_waited_for(
    server: RabbitServer, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With `wait`, a start waits for the server, and says so."""
    broker = made(server.url, queue, wait=60)
    async with away(server, is_crash=True):
        starting = asyncio.create_task(broker.startup())
        await asyncio.sleep(1)
    async with asyncio.timeout(60):
        await starting
    assert "waiting for it" in caplog.text
    await broker.kick(message("a"))
    assert texts(await taken(broker)) == ["a"]
    await broker.shutdown()


async def test_stopping_without_a_server(server: RabbitServer, queue: str) -> None:
    """A worker whose server is away stops within seconds; the server has its messages."""
    broker, second = made(server.url, queue), made(server.url, queue)
    await broker.startup()
    for text in "ab":
        await broker.kick(message(text))
    stream = broker.listen()
    async with asyncio.timeout(60):
        running = await anext(stream)
        async with away(server, is_crash=False):
            start = time.monotonic()
            await stream.aclose()
            await broker.shutdown()
            assert time.monotonic() - start < 8
        del running
        async with up(second):
            assert sorted(texts(await taken(second, 2))) == ["a", "b"]
