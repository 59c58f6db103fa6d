"""The broker of `amqp://`: what taskiq-aio-pika declares, over connections of our own.

Seen with taskiq-aio-pika 0.6.1: a message whose queue is gone is dropped without an error,
a delayed one waits for a longer one that was sent before it, and a worker that stops keeps
what was pushed to it until its last task has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from hashlib import blake2b
from math import ceil
from time import monotonic
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
)
from taskiq import AckableMessage, AsyncBroker, AsyncResultBackend, BrokerMessage
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

from fastask.brokers.durable import DurableBroker, Outgoing
from fastask.brokers.inbox import Taken
from fastask.brokers.rabbitmq.connection import Link, never_cancelled
from fastask.brokers.rabbitmq.consuming import Consumer, Delivery
from fastask.brokers.rabbitmq.delays import LONGEST_DELAY, delay_arguments, rounded
from fastask.brokers.rabbitmq.no_results import NoResults
from fastask.brokers.recent import Recent
from fastask.brokers.url import BrokerURL, url_of

__all__ = ["RabbitBroker"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

_PATIENCE = 4.0  # seconds for the server to answer
_CLOSE_TIMEOUT = 4.0  # seconds
_DROP_TIMEOUT = 0.5  # seconds, of a start that took long enough
_MOST_PUSHED = 65_535  # AMQP has 16 bits for it
_HEARTBEATS = 10, 65_000  # seconds; a shorter one gives up on a busy program
_REDECLARE = 60.0  # seconds, after which a delay queue is declared again, to be kept
# Seconds until a deleted queue is declared again: its consumers have to hear of it first, or
# the server forgets them and their messages (RabbitMQ 3.10).
_AFTER_DELETION = 0.5
_COUNTER_KEPT = 86_400_000  # milliseconds
_LONELY = 2  # where it is not known how often a message was started
_NAME = 200  # characters of a name in a header


class RabbitBroker(DurableBroker, AioPikaBroker):
    """Messages in a quorum queue, which a plain `AioPikaBroker` can also send to and read.

    Needs RabbitMQ 3.10 or newer. Beside the queue and the exchange `QUEUE` there are
    `QUEUE.dead_letter`, `QUEUE.delay.MILLISECONDS` for delayed messages, which are there for
    as long as they are used, and `QUEUE.starts.HASH`, which counts the starts of a message
    that has come back twice. Priorities are ignored: quorum queues have none.

    RabbitMQ gives messages to another worker as soon as a connection ends, without waiting
    for a deadline. The URL's `deadline` is the heartbeat of the connections, at least 10 s:
    after it the server gives up on a host that has vanished. A task may run for as long as
    the server's `consumer_timeout` allows, 30 minutes unless configured otherwise (with
    RabbitMQ 3.12 or newer a policy can set it for one queue); after that the server takes
    all messages of the worker process back, and they run again.

    A message that is sent again with the same id runs again.

    Args:
        url: the server and the settings.
    """

    sends_once = False

    def __init__(self, url: BrokerURL | str) -> None:
        url = url_of(url)
        queue = url.settings.queue
        super().__init__(
            url.address,
            exchange=Exchange(name=queue),
            task_queues=[Queue(name=queue)],
            dead_letter_queue=Queue(name=f"{queue}.dead_letter"),
        )
        self._prepare(url)
        self.result_backend: AsyncResultBackend[Any] = NoResults(url.scheme)
        self._queue = queue
        self._heartbeat = int(min(max(ceil(url.settings.deadline), _HEARTBEATS[0]), _HEARTBEATS[1]))
        self._delays: dict[str, float] = {}
        self._consumer: Consumer | None = None
        self._done = Recent()
        self._writing = self._link("writes")
        self._reading = self._link("reads")

    async def startup(self) -> None:
        """Wait for the server, and declare what is needed.

        Raises:
            BrokerUnavailableError: the server is not there, lets nobody in, or has a queue or
                an exchange of that name which is of another kind; or that of the results is
                not there.
        """
        # Those of another event loop are of no use.
        self._writing, self._reading = self._link("writes"), self._link("reads")
        try:
            await self._wait_for_server()
            await AsyncBroker.startup(self)  # and not the plugin's, which makes connections
        except BaseException:
            await self._writing.close(_DROP_TIMEOUT)
            raise

    async def shutdown(self) -> None:
        """Hand back what is still held, and close."""
        await super().shutdown()
        await self._reading.close()
        await self._writing.close()

    async def kick(self, message: BrokerMessage) -> None:
        """Send a message.

        Raises:
            TimeoutError: the server did not answer within 4 s; the message may have arrived.
            Exception: what the client of the server raises.
        """
        try:
            await super().kick(message)
        except TimeoutError:
            self._writing.drop()  # a connection that hangs would hang the next one too
            raise

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Give messages to Taskiq's receiver; leaving hands back what was pushed."""
        messages = super().listen()
        ready: list[AckableMessage] = []
        try:
            while True:
                ready.append(await anext(messages))
                yield ready.pop()  # and not kept here: who drops it gives it back
        finally:
            await messages.aclose()
            with suppress(Exception):  # the server is away, and has them
                await self.give_back([], is_fresh=True)

    async def take(self, most: int) -> Sequence[Taken]:
        """Take what was pushed."""
        if self._consumer is None or self._consumer.is_over:
            async with asyncio.timeout(_PATIENCE):
                self._consumer = await self._consuming()
        pushed = await self._consumer.take(most)
        if not any(each.is_again for each in pushed):
            return [Taken(each.data, each) for each in pushed]
        taken = [await self._taken(each) for each in pushed]
        return [each for each in taken if each is not None]

    async def acknowledge(self, taken: Taken) -> None:
        """Acknowledge a message, and remember that, as it may not arrive."""
        delivery: Delivery = taken.handle
        self._remember(delivery)
        if delivery.is_void:
            logger.warning(
                "the connection was lost while a task ran, so its message can't be "
                "acknowledged; it is delivered again, and runs again unless this worker gets it"
            )
            return
        await self._acknowledge(delivery)

    async def extend(self, held: Sequence[Taken]) -> None:
        """Do nothing: a message is held for as long as the connection is."""

    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        """Requeue messages; fresh ones as copies, since RabbitMQ counts what is requeued."""
        deliveries: list[Delivery] = [taken.handle for taken in held]
        if is_fresh and not self.inbox.is_taking and self._consumer is not None:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                deliveries += await self._consumer.stop()
            self._consumer = None
        deliveries = [each for each in deliveries if not (each.is_void or each.is_answered)]
        again = self._renew if is_fresh else Delivery.requeue
        given = await asyncio.gather(*(again(each) for each in deliveries), return_exceptions=True)
        for error in given:
            if isinstance(error, BaseException):
                raise error

    async def lay_aside(self, taken: Taken, pause: float) -> bool:
        """Move a message to a delay queue: held, it would take the place of one to be pushed."""
        delivery: Delivery = taken.handle
        if delivery.is_void:
            return False
        async with asyncio.timeout(_PATIENCE):
            queue = await self._queue_for(await self._publishing(), pause)
            await self._move(delivery, queue)
        return True

    async def count_start(self, taken: Taken) -> int:
        """Count a start, in a queue whose length is the count.

        RabbitMQ counts deliveries, also of messages that wait here while another one kills
        the worker. The first time they are taken for starts.
        """
        delivery: Delivery = taken.handle
        if delivery.count < 2:
            return 1
        channel = await self._publishing()
        counted = await self._counted(channel, delivery)
        await self._publish(
            channel, Message(b"", delivery_mode=DeliveryMode.PERSISTENT), self._counter(delivery)
        )
        return counted + 2

    async def bury(self, taken: Taken) -> None:
        """Send a copy to the dead letters, and acknowledge the message."""
        delivery: Delivery = taken.handle
        if not delivery.is_void:
            await self._move(delivery, f"{self._queue}.dead_letter")

    async def _reach(self) -> None:
        try:
            await self._publishing()
        except BaseException:
            self._writing.drop()  # or the next attempt would hang with it
            raise

    async def _send(self, outgoing: Outgoing) -> None:
        message = Message(
            outgoing.data,
            headers={"task_id": outgoing.task_id[:_NAME], "task_name": outgoing.task_name[:_NAME]},
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        for is_last in (False, True):
            channel = await self._publishing()
            try:
                if outgoing.delay > 0:
                    queue = await self._queue_for(channel, outgoing.delay)
                    await self._publish(channel, message, queue)
                else:
                    await self._publish(channel, message, self._queue, self._exchange.name)
            except (DeliveryError, ChannelNotFoundEntity) as error:
                # Somebody has deleted what was there; or it is so new that it takes nothing.
                self._delays.clear()
                if is_last:
                    reason = f"queue {self._queue!r} is not there, or takes nothing ({error})"
                    raise ConnectionError(reason) from None
                if not channel.is_closed:
                    await asyncio.sleep(_AFTER_DELETION)
                    await self._declare(channel)
            else:
                return

    async def _publish(
        self, channel: AbstractChannel, message: Message, key: str, exchange: str = ""
    ) -> None:
        target = channel.default_exchange
        if exchange:
            target = await channel.get_exchange(exchange, ensure=False)
        with never_cancelled():
            await target.publish(message, routing_key=key)

    async def _publishing(self) -> AbstractChannel:
        return await self._writing.channel(self._declare)

    async def _consuming(self) -> Consumer:
        channel = await self._reading.new_channel()
        with never_cancelled():
            await self._declare(channel)  # as another server may be there now
            consumer = Consumer(channel)
            await consumer.start(self._queue, min(self.inbox.max_running, _MOST_PUSHED))
        return consumer

    async def _declare(self, channel: AbstractChannel) -> None:
        """Declare just what a plain `AioPikaBroker` does."""
        self._delays.clear()
        exchange = self._exchange
        try:
            with never_cancelled():
                await channel.declare_exchange(
                    exchange.name, exchange.type, durable=exchange.durable
                )
                await self._declare_queues(channel)
        except ChannelPreconditionFailed as error:
            reason = (
                f"the server has {self._queue!r} as another kind of queue or exchange ({error}); "
                "delete that, or use another queue, such as ?queue=tasks"
            )
            raise ValueError(reason) from error
        except ChannelAccessRefused as error:
            reason = (
                f"the user may not declare {self._queue!r} ({error}); give it the right to "
                f"configure, write and read {self._queue!r} and what begins with "
                f"'{self._queue}.'"
            )
            raise ValueError(reason) from error

    async def _queue_for(self, channel: AbstractChannel, delay: float) -> str:
        if delay > LONGEST_DELAY:
            raise ValueError(f"a delay of {delay:g} s is longer than RabbitMQ's 48 days")
        milliseconds = rounded(delay)
        name = f"{self._queue}.delay.{milliseconds}"
        now = monotonic()
        if now >= self._delays.get(name, 0.0):
            arguments = delay_arguments(milliseconds, self._queue)
            with never_cancelled():
                await channel.declare_queue(name, durable=True, arguments=arguments)
            self._delays[name] = now + _REDECLARE
        return name

    async def _taken(self, delivery: Delivery) -> Taken | None:
        """Give what was pushed to the inbox, unless it is known here."""
        data = delivery.data
        count = delivery.count
        if count == 0:
            return Taken(data, delivery)
        if delivery.key in self._done:  # also if it is held: it may have a copy
            with suppress(Exception):  # it comes again
                await self._acknowledge(delivery)
            return None
        for held in self.inbox.held:
            if held.handle.is_void and held.data == data:  # its task still runs
                held.handle = delivery
                return None
        taken = Taken(data, delivery, is_again=True, starts=min(count - 1, 1))
        if count > 2:
            try:
                async with asyncio.timeout(_PATIENCE):
                    taken.starts = 1 + await self._counted(await self._publishing(), delivery)
            except Exception:  # noqa: BLE001 - it is counted when it starts
                taken.starts = _LONELY
        return taken

    async def _counted(self, channel: AbstractChannel, delivery: Delivery) -> int:
        with never_cancelled():
            counter = await channel.declare_queue(
                self._counter(delivery), durable=True, arguments={"x-expires": _COUNTER_KEPT}
            )
        return counter.declaration_result.message_count or 0

    def _counter(self, delivery: Delivery) -> str:
        digest = blake2b(delivery.data, digest_size=16)
        digest.update((delivery.name or "").encode())
        return f"{self._queue}.starts.{digest.hexdigest()}"

    async def _forget(self, delivery: Delivery) -> None:
        """Delete the counter of a message; if that fails, the server does it in a day."""
        with suppress(Exception):
            async with asyncio.timeout(_PATIENCE):
                channel = await self._publishing()
                await channel.queue_delete(self._counter(delivery))

    async def _renew(self, delivery: Delivery) -> None:
        await self._move(delivery, self._queue)

    async def _move(self, delivery: Delivery, queue: str) -> None:
        """Send a copy, and acknowledge the message when the server has it.

        After an error it can be called again; what has a copy gets no second one.
        """
        if not delivery.is_copied:
            headers = {name: value for name, value in delivery.headers.items() if name[:2] != "x-"}
            copy = Message(delivery.data, headers=headers, delivery_mode=DeliveryMode.PERSISTENT)
            await self._publish(await self._publishing(), copy, queue)
            delivery.is_copied = True
        self._remember(delivery)
        await self._acknowledge(delivery)

    async def _acknowledge(self, delivery: Delivery) -> None:
        await delivery.acknowledge()
        if delivery.is_again and delivery.count >= 2:
            await self._forget(delivery)

    def _remember(self, delivery: Delivery) -> None:
        """Note that a message is dealt with; the server may lose that when it dies."""
        if (key := delivery.key) is not None:
            self._done.add(key)

    def _link(self, verb: str) -> Link:
        return Link(str(self.url), f"fastask {verb} {self._queue}", self._heartbeat)
