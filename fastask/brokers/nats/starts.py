"""How often messages were started: NATS itself counts only how often it gave them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic

from nats.aio.msg import Msg

from fastask.brokers.nats.buckets import Bucket
from fastask.brokers.nats.connection import Connection

__all__ = ["Handle", "Starts"]

_PARTS = 9  # of the subject that takes an answer
_KEPT = 7 * 86_400.0  # seconds
_SURE = 0.9  # of a deadline: the server has counted from before the message was here


@dataclass(slots=True, eq=False)
class Handle:
    """What a message is answered for with.

    Attributes:
        reply: the subject that takes the answer to its last delivery.
        key: names the message, of all that the stream ever has.
        delivered: how often it was given out.
        until: when another worker may get it, by this process's clock, or a little before.
        starts: how often it was started, as far as was counted.
        is_noted: whether there is a note of that at the server.
    """

    reply: str
    key: str
    delivered: int
    until: float
    starts: int = 0
    is_noted: bool = field(default=False)

    @property
    def is_ours(self) -> bool:
        """Whether no other worker can have it yet."""
        return monotonic() < self.until

    @classmethod
    def of(cls, message: Msg, deadline: float) -> Handle:
        """Make the handle of a message that was taken now."""
        parts = message.reply.split(".")
        if len(parts) == _PARTS:  # read here, as nats-py takes long for a date (2.16)
            delivered, number, stamp = int(parts[4]), parts[5], parts[7]
        else:  # a server with domains
            found = message.metadata
            delivered, number = found.num_delivered, str(found.sequence.stream)
            stamp = str(int(found.timestamp.timestamp() * 1_000_000))
        key = f"{number}-{stamp}"  # numbers begin anew with a new stream
        return cls(message.reply, key, delivered, monotonic() + deadline * _SURE)


class Starts:
    """Notes at the server: starts of a message, and the last delivery that was none.

    There are notes only for messages that were delayed, handed back or redelivered.

    Args:
        connection: to the server.
        queue: the queue's name.
    """

    def __init__(self, connection: Connection, queue: str) -> None:
        self._bucket = Bucket(connection, f"{queue}_starts", _KEPT)

    async def read(self, handle: Handle) -> bool:
        """Read how often a message was started; give whether its last delivery was a start."""
        if handle.delivered <= 1:
            return False
        entry = await self._bucket.get(handle.key)
        if entry is None:
            return True
        starts, excused = entry.value.split()
        handle.starts, handle.is_noted = int(starts), True
        return handle.delivered - 1 > int(excused)

    async def count(self, handle: Handle) -> int:
        """Count a start."""
        await self._note(handle, handle.starts + 1, 0)
        handle.starts += 1
        return handle.starts

    async def excuse(self, handle: Handle) -> None:
        """Note that a delivery was no start: the message was too early, or is handed back."""
        await self._note(handle, handle.starts, handle.delivered)

    async def forgive(self, handle: Handle) -> None:
        """Forget how often a message was started, and excuse its delivery."""
        handle.starts = 0
        await self.excuse(handle)

    async def remove(self, handles: Iterable[Handle]) -> None:
        """Remove the notes of messages that are done with."""
        for handle in handles:
            if handle.is_noted:
                await self._bucket.remove(handle.key)

    async def _note(self, handle: Handle, starts: int, excused: int) -> None:
        await self._bucket.put(handle.key, f"{starts} {excused}".encode())
        handle.is_noted = True
