"""Connections to RabbitMQ that are opened when they are needed, and what is pushed over them.

aio-pika's own robust connections are not used (aio-pika 10.2): while they are away they
keep callers waiting rather than raise, look for the server every 5 s, and reopen a channel
under messages that were delivered over the one before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aio_pika import connect
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import AMQPError

__all__ = ["Consumer", "Delivery", "Link", "never_cancelled"]

_CLOSE_TIMEOUT = 2.0  # seconds
_IDLE = 1.0  # seconds for which a message is waited for

Opened = Callable[[AbstractChannel], Awaitable[None]]


@contextmanager
def never_cancelled() -> Iterator[None]:
    """Raise `ConnectionError` where a client that lost its connection cancels its caller."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the connection was lost") from error


class Link:
    """A connection, opened when it is needed, and again when it was lost.

    Args:
        url: the server, with its password.
        name: by which the server shows the connection.
        heartbeat: seconds after which a peer that says nothing is given up.
    """

    def __init__(self, url: str, name: str, heartbeat: int) -> None:
        self._url = url
        self._name = name
        self._heartbeat = heartbeat
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def channel(self, opened: Opened) -> AbstractChannel:
        """Give the channel that all use; a new one, after `opened`, if it was closed."""
        async with self._lock:
            if self._channel is None or self._channel.is_closed:
                self._channel = None
                channel = await self._new_channel()
                await opened(channel)
                self._channel = channel
            return self._channel

    async def new_channel(self) -> AbstractChannel:
        """Give a channel of one's own."""
        async with self._lock:
            return await self._new_channel()

    async def close(self) -> None:
        """Close the connection; who uses it gets an error."""
        self.drop()
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_TIMEOUT)

    def drop(self) -> None:
        """Close the connection without waiting for the server, which may hang."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            closing = asyncio.create_task(_closed(connection), name="fastask closes a connection")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _new_channel(self) -> AbstractChannel:
        connection = self._connection
        if connection is None or not _is_open(connection):
            self.drop()
            with never_cancelled():
                connection = await connect(self._url, heartbeat=self._heartbeat, name=self._name)
            self._connection = connection
        with never_cancelled():
            return await connection.channel(publisher_confirms=True, on_return_raises=True)


def _is_open(connection: AbstractConnection) -> bool:
    transport = connection.transport
    return transport is not None and not transport.connection.is_closed


async def _closed(connection: AbstractConnection) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await connection.close(ConnectionError("the connection was closed"))


@dataclass(slots=True)
class Delivery:
    """A message that was pushed, and the channel over which it can be answered for.

    As aiormq has it: aio-pika (10.2) makes an object and a task more of it, which take a
    tenth of a small task.
    """

    message: DeliveredMessage
    channel: AbstractChannel

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.message.body

    @property
    def name(self) -> str | None:
        """The id that its client gave it."""
        return self.message.header.properties.message_id

    @property
    def headers(self) -> dict[str, Any]:
        """Its headers."""
        return self.message.header.properties.headers or {}

    @property
    def is_again(self) -> bool:
        """Whether the server says that the message was delivered before."""
        return bool(self.message.redelivered)

    @property
    def is_void(self) -> bool:
        """Whether the channel is gone: the server has given the message to somebody else."""
        return self.channel.is_closed

    @property
    def key(self) -> int | None:
        """What is the same each time it is delivered, and of no other message; aiormq's have it."""
        name = self.name
        return None if name is None else hash((name, self.message.body))

    @property
    def count(self) -> int:
        """How often the message was delivered before and came back."""
        count = self.headers.get("x-delivery-count")
        return count if isinstance(count, int) else int(self.is_again)

    async def acknowledge(self) -> None:
        """Have the server delete the message.

        Raises:
            ConnectionError: the connection was lost.
            Exception: what else the client raises.
        """
        with never_cancelled():
            await self.message.channel.basic_ack(self._tag)

    async def requeue(self) -> None:
        """Have the server deliver the message again; raises what `acknowledge` does."""
        with never_cancelled():
            await self.message.channel.basic_nack(self._tag, requeue=True)

    @property
    def _tag(self) -> int:
        return self.message.delivery_tag or 0


class Consumer:
    """What the server pushes over one channel.

    Args:
        channel: the channel, which nobody else uses.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._pushed: deque[Delivery] = deque()
        self._news = asyncio.Event()
        self._tag = ""
        self._is_cancelled = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is pushed any more."""
        return self._is_cancelled or self._channel.is_closed

    async def start(self, queue: str, limit: int) -> None:
        """Have messages pushed, up to `limit` that are not answered for."""
        self._channel.close_callbacks.add(self._on_close)
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._on_cancel)
        await self._channel.set_qos(prefetch_count=limit)
        consuming = await underlay.basic_consume(queue, self._on_message)
        self._tag = consuming.consumer_tag or ""

    async def take(self, most: int) -> list[Delivery]:
        """Give up to `most` messages; wait for a second if there are none.

        Raises:
            ConnectionError: the channel was closed.
        """
        if not self._pushed and not self.is_over:
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _IDLE)
        if self._channel.is_closed:
            self._pushed.clear()  # the server has taken them back
            raise ConnectionError(self._reason)
        return [self._pushed.popleft() for _ in range(min(most, len(self._pushed)))]

    async def stop(self) -> list[Delivery]:
        """Have no more pushed, and give what was not taken."""
        if not self.is_over:
            underlay = await self._channel.get_underlay_channel()
            with never_cancelled():
                await underlay.basic_cancel(self._tag)
            self._is_cancelled = True
        left = [*self._pushed]
        self._pushed.clear()
        return [] if self._channel.is_closed else left

    _reason = "the connection was lost"

    async def _on_message(self, message: DeliveredMessage) -> None:
        self._pushed.append(Delivery(message, self._channel))
        self._news.set()

    def _on_close(self, _: object, error: BaseException | None) -> None:
        if isinstance(error, AMQPError):
            self._reason = str(error)
        self._news.set()

    def _on_cancel(self, _: object) -> None:
        self._is_cancelled = True
        self._news.set()
