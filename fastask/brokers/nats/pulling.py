"""Pulling messages from a JetStream consumer.

Not nats-py's `fetch` (2.16): it waits for a batch to be full, hides that the consumer is
gone as "no messages", and may leave a request behind whose message nobody looks at.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import count

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

__all__ = ["NAK", "ConsumerGoneError", "Pull"]

NAK = b"-NAK"
_PATIENCE = 2.0  # seconds by which an answer may be late
_NO_LIMIT = 0
_ALIVE = "100"  # only a sign of life
_NOTHING = ("404", "408")  # there is nothing, or nothing more
_GONE = "503"  # nobody answers to the name of the consumer


class ConsumerGoneError(LookupError):
    """The server knows no such consumer."""


class _Request:
    """One request, and what has come of it."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.messages: list[Msg] = []
        self.error: Exception | None = None
        self.is_over = asyncio.Event()


class Pull:
    """Pulls messages over a connection.

    What comes too late, for a request that is over, is handed back at once.

    Args:
        client: the connection's client.
        stream: the stream.
        consumer: the durable consumer.
    """

    def __init__(self, client: Client, stream: str, consumer: str) -> None:
        self.client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._names = count(1)
        self._request: _Request | None = None
        self._subscription: Subscription | None = None

    async def messages(self, most: int, wait: float) -> list[Msg]:
        """Give what there is, up to `most`; if `wait` is not 0, wait so many seconds for one.

        Raises:
            ConsumerGoneError: there is no such consumer, or no such stream.
            ConnectionError: the connection was lost, or the server refuses.
            TimeoutError: the server does not answer.
        """
        if self._subscription is None:
            self._subscription = await self.client.subscribe(
                f"{self._inbox}.*",
                cb=self._came,
                pending_msgs_limit=_NO_LIMIT,
                pending_bytes_limit=_NO_LIMIT,
            )
        request = _Request(f"{self._inbox}.{next(self._names)}", 1 if wait else most)
        asked = {"batch": request.most}
        asked |= {"expires": int(wait * 1e9)} if wait else {"no_wait": True}
        self._request = request
        try:
            await self.client.publish(self._next, json.dumps(asked).encode(), request.name)
            async with asyncio.timeout(wait + _PATIENCE):
                await request.is_over.wait()
        except TimeoutError:
            if not request.messages:
                raise TimeoutError("the server does not answer to a pull") from None
        except BaseException:
            await self._refuse(request.messages)
            raise
        finally:
            self._request = None
        if request.error is not None and not request.messages:
            raise request.error
        return request.messages

    def lose(self) -> None:
        """Wait for no answer over a connection that is lost."""
        if self._request is not None:
            self._request.error = ConnectionError("the connection was lost during a pull")
            self._request.is_over.set()

    async def close(self) -> None:
        """Take no more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(Exception):  # the server is away
                await subscription.unsubscribe()

    async def _came(self, message: Msg) -> None:
        # A message has the subject it was sent to, so it can't be told which request it is
        # for; what the server says of a request can.
        headers = message.headers or {}
        status = headers.get("Status")
        request = self._request
        if status is None:
            if request is None or request.is_over.is_set():
                await self._refuse([message])
                return
            request.messages.append(message)
            if len(request.messages) >= request.most:
                request.is_over.set()
        elif request is not None and message.subject == request.name and status != _ALIVE:
            request.error = _meant(status, headers.get("Description", ""))
            request.is_over.set()

    async def _refuse(self, messages: list[Msg]) -> None:
        with suppress(Exception):  # the server is away, and gives them out again later
            for message in messages:
                await self.client.publish(message.reply, NAK)


def _meant(status: str, description: str) -> Exception | None:
    """Give what a request ends with; nothing if there are just no messages."""
    if status in _NOTHING:
        return None
    if status == _GONE or "deleted" in description.lower():
        return ConsumerGoneError("the consumer is gone")
    return ConnectionError(f"the server has refused a pull: {status} {description}".strip())
