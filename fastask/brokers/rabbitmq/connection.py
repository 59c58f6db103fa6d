"""Connections to RabbitMQ that are opened when they are needed.

aio-pika's own robust connections are not used (aio-pika 10.2): while they are away they
keep callers waiting rather than raise, look for the server every 5 s, and reopen a channel
under messages that were delivered over the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from aio_pika import connect
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import InvalidFrameError

__all__ = ["Link", "never_cancelled"]

_CLOSE_TIMEOUT = 2.0  # seconds

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

    async def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """Close the connection; who uses it gets an error.

        Args:
            timeout: seconds for which the server's answer is waited for.
        """
        self.drop()
        if self._closing:
            await asyncio.wait(self._closing, timeout=timeout)

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
            connection = self._connection = await self._connected()
        with never_cancelled():
            return await connection.channel(publisher_confirms=True, on_return_raises=True)

    async def _connected(self) -> AbstractConnection:
        try:
            with never_cancelled():
                return await connect(self._url, heartbeat=self._heartbeat, name=self._name)
        except InvalidFrameError as error:
            if "Connection.OpenOk" not in str(error):
                raise
            # aiormq 7.2 does not tell what the server has said.
            reason = "its virtual host is not there, or is not for this user"
            raise ConnectionError(reason) from error


def _is_open(connection: AbstractConnection) -> bool:
    transport = connection.transport
    return transport is not None and not transport.connection.is_closed


async def _closed(connection: AbstractConnection) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await connection.close(ConnectionError("the connection was closed"))
