"""Acknowledgements over NATS: sent at once, and sent again until the server has read them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from fastask.brokers.nats.connection import PATIENCE, Connection

__all__ = ["ACK", "Acknowledging"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

ACK = b"+ACK"
_INTERVAL = 0.05  # seconds between questions whether the server has read what was sent


class Acknowledging:
    """Acknowledges messages, and sees to it that the server reads that.

    What nats-py has sent, or was about to, may be lost with the connection (2.16). To wait for
    an answer to each would cost more than the rest of a small task; so the server is asked
    now and then for all of them, and what it may have missed is sent again.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unread: list[tuple[str, object]] = []  # subjects, and over what they were sent
        self._asking: asyncio.Task[None] | None = None

    async def send(self, reply: str) -> None:
        """Acknowledge one message.

        Args:
            reply: the subject that takes its answer.

        Raises:
            ConnectionError: there is no connection.
        """
        client = await self._connection.client()
        line = self._connection.line
        await client.publish(reply, ACK)
        self._unread.append((reply, line))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="fastask acknowledging")

    async def close(self) -> None:
        """Wait, but not for long, until all was read."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.wait([asking])
        try:
            async with asyncio.timeout(PATIENCE):
                while self._unread:
                    await self._settle()
        except Exception as error:  # noqa: BLE001 - the server is away
            logger.warning(
                "%d messages may not be acknowledged (%s); if so, their tasks will run again",
                len(self._unread),
                type(error).__name__,
            )
            self._unread.clear()

    async def _ask(self) -> None:
        while self._unread:
            await asyncio.sleep(_INTERVAL)
            with suppress(Exception):  # the server is away; again, then
                await self._settle()
        self._asking = None

    async def _settle(self) -> None:
        """Send again what may be lost, and forget what was read."""
        client = await self._connection.client()
        line = self._connection.line
        for index, (reply, sent_over) in enumerate(self._unread):
            if sent_over != line:
                await client.publish(reply, ACK)
                self._unread[index] = (reply, line)
        count = len(self._unread)
        # Not nats-py's `flush`, which is content without a connection (2.16).
        await client.rtt(timeout=int(PATIENCE))
        if self._connection.line == line:
            del self._unread[:count]
