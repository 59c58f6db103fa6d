"""The RabbitMQ broker on a real server: its start, and what it shares with others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from taskiq import AckableMessage
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

from fastask import BrokerUnavailableError
from fastask.brokers import broker_from, durable
from tests.integration.processes import free_port
from tests.integration.rabbitmq_brokers import WAIT, channel, depth, made, message, taken, texts, up
from tests.integration.rabbitmq_server import rabbitmq

_DECLARES = b"\x00\x32\x00\x0a"  # `queue.declare` on the wire


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server.url


async def test_with_plain_clients() -> None:
    """`taskiq` is the plugin's own queue: its names are equal to ours."""
    plain = AioPikaBroker()
    ours = made("amqp://localhost", "taskiq")
    assert ours._exchange == plain._exchange
    assert ours._dead_letter_queue == plain._dead_letter_queue
    assert ours._task_queues == [Queue()]


@pytest.mark.parametrize("is_plain_first", [True, False])
async def test_plain_clients(url: str, queue: str, is_plain_first: bool) -> None:
    """A plain `AioPikaBroker` declares the same, sends to us, and reads what we send."""
    plain = AioPikaBroker(
        url,
        exchange=Exchange(name=queue),
        task_queues=[Queue(name=queue)],
        dead_letter_queue=Queue(name=f"{queue}.dead_letter"),
    )
    plain.is_worker_process = True
    ours = made(url, queue)
    async with up(*((plain, ours) if is_plain_first else (ours, plain))):
        await plain.kick(message("from the plugin"))
        [found] = await taken(ours)
        assert found.data == b"from the plugin"
        await ours.acknowledge(found)
        await ours.give_back([], is_fresh=True)  # the next one is not for us
        await ours.kick(message("from us"))
        listening = plain.listen()
        async with asyncio.timeout(WAIT):
            received = await anext(listening)
        assert isinstance(received, AckableMessage)
        assert received.data == b"from us"
        await received.ack()  # type: ignore[misc]
        await listening.aclose()


async def test_queue_of_another_kind(url: str, queue: str) -> None:
    """The error says what to do, and not the password."""
    async with channel(url) as own:
        await own.declare_queue(queue, durable=True)
    broker = made(url, queue)
    with pytest.raises(BrokerUnavailableError, match="delete that, or use another queue") as caught:
        await broker.startup()
    assert queue in str(caught.value)
    assert ":guest@" not in str(caught.value)
    await broker.shutdown()


@pytest.mark.parametrize(
    ("wrong", "told"), [("hidden", "ACCESS_REFUSED"), ("guest", "virtual host")]
)
async def test_nobody_is_let_in(
    url: str, queue: str, wrong: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, a wrong virtual host: an error within 5 s that shows no password."""
    caplog.set_level(logging.DEBUG, "fastask")
    broker = made(url.replace("guest@", f"{wrong}@") + "/nowhere", queue)
    start = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=told) as caught:
        await broker.startup()
    assert time.monotonic() - start < 5
    assert f":{wrong}@" not in f"{caught.value!r} {caught.value} {caplog.text} {broker!r}"
    assert "guest:***@" in str(caught.value)
    await broker.shutdown()


class SlowServer:
    """Passes all on to a server, whose answers it keeps back once a queue is declared.

    Attributes:
        may_answer: when set, nothing is kept back.
        connections: how many there are.
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self.may_answer = asyncio.Event()
        self.connections = 0
        self.url = ""
        self._url = url
        self._port = urlsplit(url).port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        declared = asyncio.Event()
        self.connections += 1
        answering = asyncio.create_task(self._answer(there, writer, declared))
        with suppress(OSError):
            while data := await reader.read(65_536):
                if _DECLARES in data:
                    declared.set()
                back.write(data)
        answering.cancel()
        await asyncio.wait([answering])
        for each in (back, writer):
            each.close()
        self.connections -= 1

    async def _answer(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, declared: asyncio.Event
    ) -> None:
        while data := await there.read(65_536):
            if declared.is_set():
                await self.may_answer.wait()
            writer.write(data)
        writer.close()


@asynccontextmanager
async def slow(url: str) -> AsyncGenerator[SlowServer, None]:
    server = SlowServer(url)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        server.url = f"amqp://guest:guest@127.0.0.1:{port}"
        yield server


async def connections(server: SlowServer, count: int) -> None:
    """Wait until there are so many."""
    async with asyncio.timeout(WAIT):
        while server.connections != count:
            await asyncio.sleep(0.02)


async def test_slow_to_declare(url: str, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that connects and does nothing more is not there; nothing is left open."""
    monkeypatch.setattr(durable, "_PATIENCE", 0.5)
    async with slow(url) as server:
        broker = made(server.url, queue)
        start = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match=r"no answer within 0\.5 s"):
            await broker.startup()
        assert time.monotonic() - start < 2
        await connections(server, 0)


async def test_slow_server_is_waited_for(
    url: str, queue: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With `wait`, a server has the time to come to itself."""
    monkeypatch.setattr(durable, "_PATIENCE", 0.5)
    async with slow(url) as server:
        broker = made(server.url, queue, wait=60)
        starting = asyncio.create_task(broker.startup())
        async with asyncio.timeout(WAIT):
            while "waiting for it" not in caplog.text:
                await asyncio.sleep(0.02)
            monkeypatch.setattr(durable, "_PATIENCE", WAIT)
            server.may_answer.set()
            await starting
        await broker.kick(message("a"))
        await connections(server, 1)
        await broker.shutdown()
        await connections(server, 0)
        assert await depth(url, queue) == 1


async def test_results_are_away(url: str, queue: str) -> None:
    """A start that fails for the results' server leaves no connection to the broker's."""
    async with slow(url) as server:
        server.may_answer.set()
        results = broker_from(f"redis://127.0.0.1:{free_port()}").result_backend
        broker = made(server.url, queue).with_result_backend(results)
        with pytest.raises(BrokerUnavailableError, match="redis://"):
            await broker.startup()
        await connections(server, 0)


async def test_not_allowed_to_declare(url: str, queue: str) -> None:
    """Who may not declare is told so at once, however long it would wait for the server."""
    broker = made(url, queue, wait=60)
    broker._exchange = Exchange(name=f"amq.{queue}")  # nobody may
    async with asyncio.timeout(WAIT):
        with pytest.raises(BrokerUnavailableError, match="give it the right to") as caught:
            await broker.startup()
    assert "ACCESS_REFUSED" in str(caught.value)


async def test_refused_for_a_moment(url: str, queue: str) -> None:
    """A message that the server does not take, as into a queue that is too new, is sent again."""
    broker = made(url, queue)
    async with up(broker), channel(url) as own:
        full = await own.declare_queue(
            f"{queue}.full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )
        await full.bind(queue, queue)
        sending = asyncio.create_task(broker.kick(message("a")))
        async with asyncio.timeout(WAIT):
            while not await depth(url, queue):  # it is in one of the two queues
                await asyncio.sleep(0.02)
            await full.delete()
            await sending
        assert texts(await taken(broker, 2)) == ["a", "a"]


async def test_refused_for_long(url: str, queue: str) -> None:
    """A queue that takes nothing is told of."""
    broker = made(url, queue)
    async with up(broker), channel(url) as own:
        full = await own.declare_queue(
            f"{queue}.full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )
        await full.bind(queue, queue)
        with pytest.raises(ConnectionError, match=r"is not there, or takes nothing .*Nack"):
            await broker.kick(message("a"))
        await full.delete()
