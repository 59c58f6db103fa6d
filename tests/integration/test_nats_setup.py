"""The NATS broker on a real server: what it finds and makes there, and shares with others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import RetentionPolicy
from taskiq_nats import PullBasedJetStreamBroker

from fastask import BrokerUnavailableError
from fastask.brokers.nats import deadlines
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


async def test_plain_client(server: NatsServer, queue: str) -> None:
    """A plain taskiq-nats client can send; that it sets the consumer to its own is mended."""
    worker = made(server.url, queue, deadline=300)
    plain = PullBasedJetStreamBroker(server.url, subject=queue, stream_name=queue, durable=queue)
    async with up(worker, plain):
        info = await worker.js.consumer_info(queue, queue)
        assert info.config.ack_wait != 300
        await plain.kick(message("plain"))
        [found] = await taken(worker)
        assert found.data == b"plain"

        async def mended() -> None:
            while (await worker.js.consumer_info(queue, queue)).config.ack_wait != 300:
                await asyncio.sleep(0.1)

        await asyncio.wait_for(mended(), 15)
        info = await worker.js.consumer_info(queue, queue)
        assert info.config.max_ack_pending == -1
        await worker.acknowledge(found)


async def test_shorter_deadline(server: NatsServer, queue: str) -> None:
    """A worker that starts with a shorter deadline takes nothing from one that has a longer."""
    long, short = made(server.url, queue, deadline=60), made(server.url, queue, deadline=1)
    async with up(long):
        await long.kick(message("a"))
        await taken(long)
        async with up(short):
            for _ in range(3):
                assert not await short.take(1)


async def test_deadlines_that_differ(
    server: NatsServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest one holds at once, and until no worker with it has answered for as long."""
    monkeypatch.setattr(import_module("fastask.brokers.nats.broker"), "LOOK", 0.02)
    monkeypatch.setattr(deadlines, "LOOK", 0.5)
    monkeypatch.setattr(deadlines, "_ANSWER_TIMEOUT", 0.1)
    short, long = made(server.url, queue, deadline=1), made(server.url, queue, deadline=2)
    looks = []
    is_long = short._deadlines.is_long

    async def seen(client: Client, there: float) -> bool:
        looks.append(there)
        return await is_long(client, there)

    monkeypatch.setattr(short._deadlines, "is_long", seen)

    async def looked(until: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT):
            while not until():
                await asyncio.sleep(0.02)

    async with up(short):
        async with up(long):
            assert not await short.take(1)
            assert not await long.take(1)
            await looked(lambda: looks.count(2) > 20)
        gone = len(looks)
        await looked(lambda: looks[-1] == 1)
        assert looks[gone:].count(2) >= 4  # 0.5 s each
        assert looks == sorted(looks, reverse=True)


async def test_stream_of_others(server: NatsServer, queue: str) -> None:
    """A stream that keeps what was acknowledged is refused: all of it could run again."""
    async with client(server) as own:
        await own.jetstream().add_stream(name=queue, subjects=[queue])
    worker = made(server.url, queue, wait=60)
    async with asyncio.timeout(5):  # as waiting is of no use
        with pytest.raises(BrokerUnavailableError) as caught:
            await worker.startup()
    assert f"the stream '{queue}' is there with retention 'limits'" in str(caught.value)
    assert str(caught.value).endswith("when it holds nothing that you need)")
    await worker.shutdown()


async def test_stream_with_more_settings(server: NatsServer, queue: str) -> None:
    """A work queue that its users have set up is taken as it is."""
    async with client(server) as own:
        await own.jetstream().add_stream(
            name=queue,
            subjects=[queue, f"{queue}.more"],
            retention=RetentionPolicy.WORK_QUEUE,
            max_bytes=1_000_000,
        )
    worker = made(server.url, queue)
    async with up(worker):
        await worker.kick(message("a"))
        assert texts(await taken(worker)) == ["a"]


async def test_subject_is_missing(server: NatsServer, queue: str) -> None:
    """A stream of the name that takes other subjects is refused."""
    async with client(server) as own:
        await own.jetstream().add_stream(
            name=queue, subjects=[f"{queue}.more"], retention=RetentionPolicy.WORK_QUEUE
        )
    worker = made(server.url, queue)
    with pytest.raises(BrokerUnavailableError, match="does not take the subject"):
        await worker.startup()
    await worker.shutdown()


async def test_stream_is_deleted(server: NatsServer, queue: str) -> None:
    """Stream and consumer are made again when somebody has deleted them."""
    worker, sender = made(server.url, queue), made(server.url, queue, is_worker=False)
    async with up(worker, sender):
        await worker.js.delete_stream(queue)
        await sender.kick(message("a"))
        assert texts(await taken(worker)) == ["a"]
        await worker.js.delete_consumer(queue, queue)
        await sender.kick(message("b"))
        assert "b" in texts(await taken(worker, 2))


@pytest.mark.parametrize("is_worker", [True, False])
async def test_with_login(tmp_path: Path, is_worker: bool) -> None:
    """User and password of the URL are used for all servers; no error shows them."""
    config = 'authorization { user: "me", password: "s3cret/x" }'
    login = b',"user":"me","pass":"s3cret/x"'
    with nats_server(tmp_path, config, login=login) as server:
        place = server.url.partition("://")[2]
        good = made(f"nats://127.0.0.1:1,me:s3cret%2Fx@{place}", "q", is_worker=is_worker)
        async with up(good):
            await good.kick(message("a"))
        for url in (f"nats://me:wr0ng@{place}", f"nats://t0ken@{place}", f"nats://{place}"):
            bad: Any = made(url, "q", is_worker=is_worker)
            with pytest.raises(BrokerUnavailableError, match="Authorization Violation") as caught:
                await bad.startup()
            assert str(caught.value).endswith("correct the user and the password in the URL")
            shown = f"{caught.value!r} {caught.value} {bad.address} {vars(bad)}"
            assert not any(word in shown for word in ("wr0ng", "t0ken"))
            await bad.shutdown()


async def test_narrow_rights(tmp_path: Path) -> None:
    """A worker starts that may not ask for the consumer which it makes."""
    config = """authorization { users = [
      { user: all, password: pw }
      { user: some, password: pw, permissions: {
        publish: { allow: ["$JS.>", "$KV.>", "q", "_INBOX.>"], deny: "$JS.API.CONSUMER.INFO.>" }
        subscribe: "_INBOX.>" } }
    ] }"""
    with nats_server(tmp_path, config, login=b',"user":"all","pass":"pw"') as server:
        worker = made(server.url.replace("//", "//some:pw@"), "q")
        async with up(worker):
            await worker.kick(message("a"))
            assert texts(await taken(worker)) == ["a"]


async def test_tls_is_not_left_out(server: NatsServer, queue: str) -> None:
    """`tls://` does not go on without, and no password is sent."""
    place = server.url.partition("://")[2]
    for url in (f"tls://{place}", f"tls://me:s3cret@{place}"):
        broker = made(url, queue)
        with pytest.raises(BrokerUnavailableError, match="secure connection") as caught:
            await broker.startup()
        assert "s3cret" not in str(caught.value)
        await broker.shutdown()


async def test_without_jetstream(tmp_path: Path) -> None:
    """A server that has no JetStream is told so."""
    with nats_server(tmp_path) as server:
        server.stop()
        config = tmp_path / "nats.conf"
        config.write_text(config.read_text().splitlines()[0])
        server._answers = lambda: True  # type: ignore[method-assign]
        server.start()
        broker = made(server.url, "q", wait=5)
        with pytest.raises(BrokerUnavailableError, match="start nats-server with -js"):
            await broker.startup()
        await broker.shutdown()
