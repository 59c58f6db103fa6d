"""The servers: whether they are there, and how what a run has left is removed.

On Redis the run takes the first database that is empty, as the peers choose names of keys of
their own; it is emptied after each contestant. Elsewhere names begin with those of the run.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import nats
from redis import Redis

TIMEOUT = 5.0  # seconds


class AbsentError(Exception):
    """A server is not there, or can't be used."""


class RedisPlace:
    """An empty database of a Redis server."""

    def __init__(self, address: str) -> None:
        self._redis: Any = Redis.from_url(address, socket_timeout=TIMEOUT)
        try:
            used = {int(name[2:]) for name in self._redis.info("keyspace")}
        except Exception as error:
            raise AbsentError(f"redis: {error}") from error
        free = next((number for number in range(1, 16) if number not in used), None)
        if free is None:
            raise AbsentError("redis: none of the databases 1 to 15 is empty")
        self.url = f"{address.rstrip('/')}/{free}"
        self._redis = Redis.from_url(self.url, socket_timeout=TIMEOUT)

    def clean(self, queue: str) -> None:
        self._redis.flushdb()


class NatsPlace:
    """A NATS server with JetStream."""

    def __init__(self, address: str) -> None:
        self.url = address
        self._run(self._removed("no such queue"))

    def clean(self, queue: str) -> None:
        self._run(self._removed(queue))

    def _run(self, doing: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(TIMEOUT):
                await doing

        try:
            asyncio.run(bounded())
        except Exception as error:
            raise AbsentError(f"nats: {type(error).__name__} {error}") from error

    async def _removed(self, queue: str) -> None:
        client = await nats.connect(self.url, allow_reconnect=False)
        try:
            stream = client.jetstream()
            for each in await stream.streams_info():
                if queue in (each.config.name or ""):  # KV_... and OBJ_..., too
                    await stream.delete_stream(each.config.name)
        finally:
            await client.close()


class RabbitPlace:
    """A RabbitMQ server."""

    # The queues of taskiq-aio-pika and of fastask; deleting one that is not there is no error.
    _ENDS = ("", ".dead_letter", ".dead", ".delay", ".delayed", ".again")

    def __init__(self, address: str) -> None:
        self.url = address
        self.clean("no-such-queue")

    def clean(self, queue: str) -> None:
        try:
            asyncio.run(self._clean(queue))
        except Exception as error:
            raise AbsentError(f"amqp: {type(error).__name__} {error}") from error

    async def _clean(self, queue: str) -> None:
        async with asyncio.timeout(TIMEOUT), await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for end in self._ENDS:
                await channel.queue_delete(queue + end)
                await channel.exchange_delete(queue + end)


class FilePlace:
    """A folder for the files of SQLite."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self.url = f"sqlite:///{folder}/tasks.db"

    def clean(self, queue: str) -> None:
        for each in self._folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()


Place = RedisPlace | NatsPlace | RabbitPlace | FilePlace
PLACES = {"redis": RedisPlace, "nats": NatsPlace, "amqp": RabbitPlace}


@contextlib.contextmanager
def places(addresses: dict[str, str]) -> Iterator[tuple[dict[str, Place], dict[str, str]]]:
    """Give the places that are there, and why the others are not."""
    found: dict[str, Place] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        found[""] = FilePlace(folder)
        for name, address in addresses.items():
            try:
                found[name] = PLACES[name](address)
            except AbsentError as error:
                missing[name] = str(error)
        yield found, missing
