"""Messages that are sent once: the marks of those that were."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

from fastask.brokers.nats.buckets import Bucket, key_of
from fastask.brokers.nats.connection import Connection

__all__ = ["Once"]

_SENT = b""


class Once:
    """Notes at the server of what was sent with a key.

    The server itself drops a message whose id it has seen, for two minutes or what else a
    stream says, and until it is started again. So the note has an id for the message until it
    is sent, and is what counts from then on, for shorter or longer.

    Args:
        connection: to the server.
        queue: the queue's name.
        ttl: seconds for which a key is kept.
    """

    def __init__(self, connection: Connection, queue: str, ttl: float) -> None:
        self._bucket = Bucket(connection, f"{queue}_once", ttl)

    async def send(self, text: str, publish: Callable[[str], Awaitable[None]]) -> None:
        """Send a message, unless it was sent before.

        Args:
            text: what it is sent once by.
            publish: sends it with an id by which the server knows it.
        """
        key = key_of(text)
        if name := await self._name(key):
            await publish(name)
            await self._bucket.put(key, _SENT)

    async def _name(self, key: str) -> str:
        """Give the id to send a message with; none if it was sent."""
        name = uuid4().hex
        while not await self._bucket.add(key, name.encode()):
            if (note := await self._bucket.get(key)) is not None:  # or its time has just come
                return note.value.decode()
        return name
