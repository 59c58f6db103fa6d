"""What RabbitMQ pushes over a channel, and what is answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as Underlay
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import AMQPError

from fastask.brokers.rabbitmq.connection import never_cancelled

__all__ = ["Acknowledging", "Consumer", "Delivery"]

_IDLE = 1.0  # seconds for which a message is waited for


class Acknowledging:
    """Acknowledges what was pushed over one channel, many messages with one frame.

    A frame can acknowledge all messages up to one. It does where all of these have come to
    their end; a frame for each takes a tenth of a small task.

    Attributes:
        channel: the channel, set before anything is pushed.
    """

    channel: Underlay

    def __init__(self) -> None:
        self._expected: dict[int, None] = {}  # in their order
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._is_sending = False
        self._rest: asyncio.Task[None] | None = None

    def expect(self, tag: int) -> None:
        """Note that a message was pushed."""
        self._expected[tag] = None

    def forget(self, tag: int) -> None:
        """Note that a message was answered in another way."""
        self._expected.pop(tag, None)

    def is_expected(self, tag: int) -> bool:
        """Whether a message was not answered yet."""
        return tag in self._expected

    async def acknowledge(self, tag: int) -> None:
        """Acknowledge a message, together with others that are acknowledged meanwhile.

        Raises:
            ConnectionError: the connection was lost.
            Exception: what else the client raises.
        """
        if self._is_sending:
            done = self._waiting[tag] = asyncio.get_running_loop().create_future()
            await done
            return
        self._is_sending = True
        try:
            await self._send([tag])
        finally:
            self._is_sending = False
            if self._waiting:
                self._is_sending = True
                self._rest = asyncio.create_task(self._send_rest(), name="fastask acknowledging")

    async def _send_rest(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                await self._send(waiting)
            except Exception as error:  # noqa: BLE001 - each of them raises it
                for done in waiting.values():
                    if not done.done():
                        done.set_exception(error)
            else:
                for done in waiting.values():
                    if not done.done():
                        done.set_result(None)
        self._is_sending = False

    async def _send(self, tags: Collection[int]) -> None:
        last = max(tags)
        with never_cancelled():
            for tag, up_to in self._frames(tags):
                # They arrive in their order, so the last one tells of all.
                await self.channel.basic_ack(tag, multiple=up_to, wait=tag == last)

    def _frames(self, tags: Collection[int]) -> list[tuple[int, bool]]:
        """Give the tags to acknowledge, and whether with all that came before."""
        first = 0
        for tag in self._expected:
            if tag not in tags:
                break
            first = tag
        for tag in tags:
            self._expected.pop(tag, None)
        alone = [(tag, False) for tag in sorted(tags) if tag > first]
        return [(first, True), *alone] if first else alone


@dataclass(slots=True)
class Delivery:
    """A message that was pushed, and the channel over which it can be answered for.

    As aiormq has it: aio-pika (10.2) makes an object and a task more of it, which take a
    tenth of a small task.

    Attributes:
        is_copied: whether a copy has taken its place, so that it is only to be acknowledged.
    """

    message: DeliveredMessage
    channel: AbstractChannel
    answers: Acknowledging
    is_copied: bool = False

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
    def is_answered(self) -> bool:
        """Whether an answer is on its way: for a second one the server closes the channel."""
        return not self.answers.is_expected(self.tag)

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
        await self.answers.acknowledge(self.tag)

    async def requeue(self) -> None:
        """Have the server deliver the message again; raises what `acknowledge` does."""
        try:
            with never_cancelled():
                await self.message.channel.basic_nack(self.tag, requeue=True)
        finally:
            self.answers.forget(self.tag)

    @property
    def tag(self) -> int:
        """Its number among what was pushed over the channel."""
        return self.message.delivery_tag or 0


class Consumer:
    """What the server pushes over one channel.

    Args:
        channel: the channel, which nobody else uses.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._pushed: deque[Delivery] = deque()
        self._answers = Acknowledging()
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
        underlay = self._answers.channel = await self._channel.get_underlay_channel()
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
            # Not `wait_for`, which takes a task for each message (Python 3.11).
            end = asyncio.get_running_loop().call_later(_IDLE, self._news.set)
            await self._news.wait()
            end.cancel()
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
        delivery = Delivery(message, self._channel, self._answers)
        self._answers.expect(delivery.tag)
        self._pushed.append(delivery)
        self._news.set()

    def _on_close(self, _: object, error: BaseException | None) -> None:
        if isinstance(error, AMQPError):
            self._reason = str(error)
        self._news.set()

    def _on_cancel(self, _: object) -> None:
        self._is_cancelled = True
        self._news.set()
