"""`nats://` and `tls://`: taskiq-nats's JetStream broker, made safe.

taskiq-nats pulls messages from a durable consumer. What it lacks is here (each was seen with
taskiq-nats 0.7.0 and nats-py 2.16): its start never ends while the server is away, it is
deaf for ever once a pull is lost, a long task is started again while it runs, what was read
ahead waits for its deadline when a worker stops, a message is still sent long after `kick`
has raised, and an acknowledgement without a connection is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, time
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NoStreamResponseError
from taskiq import AsyncBroker, AsyncResultBackend
from taskiq_nats import PullBasedJetStreamBroker

from fastask.brokers.durable import DurableBroker, Outgoing
from fastask.brokers.inbox import Taken
from fastask.brokers.nats.acknowledging import Acknowledging
from fastask.brokers.nats.connection import PATIENCE, Connection
from fastask.brokers.nats.deadlines import LOOK, Deadlines
from fastask.brokers.nats.once import Once
from fastask.brokers.nats.pulling import NAK, ConsumerGoneError, Pull
from fastask.brokers.nats.results import NATSResults
from fastask.brokers.nats.starts import Handle, Starts
from fastask.brokers.nats.streams import (
    deadline_of,
    make_consumer,
    make_dead_letters,
    make_stream,
)
from fastask.brokers.recent import Recent
from fastask.brokers.url import BrokerURL, url_of

__all__ = ["JetStreamBroker"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

_WAIT = 1.0  # seconds for which a pull waits
_PROGRESS = b"+WPI"
_MOST_SINGLES = 8  # takes
_HEAD = 20  # bytes of the first line of headers
_DUE = "Fastask-Due"  # the header with the time, in seconds since 1970, that a message waits for
_GRACE = 3.0  # seconds, at most, for living workers to say so after an outage
_INFO_TIMEOUT = 1.0  # seconds of a start, which has four
_LONGEST_DELAY = 1e9  # seconds; the server counts in nanoseconds


class JetStreamBroker(DurableBroker, PullBasedJetStreamBroker):
    """Messages in a JetStream stream, which a plain `PullBasedJetStreamBroker` can send to.

    Needs NATS 2.9 or newer with JetStream. The stream, its subject and its durable consumer
    have the queue's name; beside them are the buckets `QUEUE_starts` and `QUEUE_once` and
    the stream `QUEUE=dead` (the dead letters); workers ask each other on the subject
    `_FASTASK.deadline.QUEUE`. Priorities are not known to NATS.

    Args:
        url: the servers and the settings.

    Raises:
        BrokerURLError: the URL names no server.
    """

    def __init__(self, url: BrokerURL | str) -> None:
        url = url_of(url)
        self._connection = Connection(url)
        self._connection.lost = self._lost
        queue = url.settings.queue
        super().__init__(self._connection.servers, subject=queue, stream_name=queue, durable=queue)
        self._prepare(url)
        self.result_backend: AsyncResultBackend[Any] = NATSResults(url)
        self._queue = queue
        self._dead = f"{queue}=dead"  # no queue can have that name
        self._once = Once(self._connection, queue, url.settings.results_ttl)
        self._deadlines = Deadlines(queue, url.settings.deadline)
        self._starts = Starts(self._connection, queue)
        self._done = Recent()
        self._pull: Pull | None = None
        self._acknowledging = Acknowledging(self._connection)
        self._was_away = False  # the server, since the last take
        self._sparing_until = 0.0
        self._singles = 0  # takes for which there is no look for more than one message
        self._pause = 0
        self._looking: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._next_ping: asyncio.Future[None] | None = None

    async def startup(self) -> None:
        """Wait for the server, make the stream and the consumer, and start.

        Raises:
            BrokerUnavailableError: the server is not there, or can't hold the queue; or that
                of the results is not there.
        """
        try:
            await self._wait_for_server()
            await AsyncBroker.startup(self)  # and not the plugin's, which may never come back
        except BaseException:
            await self._connection.close()
            raise

    async def shutdown(self) -> None:
        """Hand back what is still held, and close."""
        await self.inbox.close()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])
        if self._pull is not None:
            await self._pull.close()
            self._pull = None
        await self._acknowledging.close()
        await self._connection.close()
        await AsyncBroker.shutdown(self)

    async def take(self, most: int) -> Sequence[Taken]:
        """Take what there is; wait for one message if there is nothing."""
        try:
            client = await self._connection.client()
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="fastask consumer")
            if self._pull is None or self._pull.client is not client:
                await self._deadlines.answer(client)
                self._pull = Pull(client, self._queue, self._queue)
            messages = await self._several(self._pull, most)
            if not messages:
                messages = await self._pull.messages(1, _WAIT)
        except (ConsumerGoneError, TimeoutError):
            self._was_away = True
            await self._make(is_worker=True)  # somebody has emptied the server
            return []
        except Exception:
            self._was_away = True
            raise
        if self._was_away:
            self._was_away, self._sparing_until = False, monotonic() + self._grace
        return await self._sorted(client, messages)

    async def acknowledge(self, taken: Taken) -> None:
        """Have a message deleted."""
        await self._acknowledging.send(taken.handle.reply)
        self._done.add(taken.handle.key)
        if taken.handle.is_noted:
            with suppress(Exception):  # it is removed in time
                await self._starts.remove([taken.handle])

    async def extend(self, held: Sequence[Taken]) -> None:
        """Tell the server that tasks are still running.

        That a message is given to nobody else is not changed by it once somebody has it.
        """
        now = monotonic()
        await self._tell([taken.handle for taken in held], _PROGRESS)
        for taken in held:
            taken.handle.until = now + self.settings.deadline

    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        """Refuse messages, unless other workers have them: for those it would be a new start."""
        handles: list[Handle] = [taken.handle for taken in held if taken.handle.is_ours]
        if is_fresh:
            await asyncio.gather(*(self._starts.forgive(handle) for handle in handles))
        await self._tell(handles, NAK)

    async def count_start(self, taken: Taken) -> int:
        """Count a start in a note at the server."""
        return await self._starts.count(taken.handle)

    async def bury(self, taken: Taken) -> None:
        """Copy a message to the stream of dead letters, and have it deleted."""
        js = await self._connection.jetstream()
        headers: dict[str, str] | None
        headers = {"Nats-Msg-Id": taken.handle.key, "Fastask-Starts": str(taken.starts)}
        if _size(taken.data, headers) > (await self._connection.client()).max_payload:
            headers = None  # it came without, too
        try:
            await js.publish(self._dead, taken.data, headers=headers)
        except NoStreamResponseError:
            await make_dead_letters(js, self._dead)
            await js.publish(self._dead, taken.data, headers=headers)
        await self.acknowledge(taken)

    async def _reach(self) -> None:
        await self._connection.open()
        # For those who know the plugin's attributes.
        vars(self).update(
            client=await self._connection.client(), js=await self._connection.jetstream()
        )
        await self._make(is_worker=self.is_worker_process)

    async def _make(self, *, is_worker: bool) -> None:
        js = await self._connection.jetstream()
        await make_stream(js, self._queue)
        if is_worker:
            await self._deadlines.answer(await self._connection.client())
            there = 0.0
            with suppress(TimeoutError):  # so are those answered who may not ask
                async with asyncio.timeout(_INFO_TIMEOUT):
                    there = await deadline_of(js, self._queue)
            await make_consumer(js, self._queue, max(self.settings.deadline, there))

    async def _send_in_time(self, outgoing: Outgoing) -> None:
        client, js = self._connection.ready, self._connection.js
        is_plain = outgoing.key is None and outgoing.delay <= 0
        if client and js and is_plain and len(outgoing.data) <= client.max_payload:
            # What is sent most: JetStream's timeout will do, and a second one costs.
            with suppress(NoStreamResponseError):
                await js.publish(self._queue, outgoing.data)
                return
        await super()._send_in_time(outgoing)

    async def _send(self, outgoing: Outgoing) -> None:
        client = await self._connection.client()
        headers: dict[str, str] = {}
        if outgoing.delay > 0:
            headers[_DUE] = f"{time() + outgoing.delay:.3f}"
        if outgoing.key is None:
            await self._publish(client, outgoing.data, headers)
            return

        async def publish(name: str) -> None:
            await self._publish(client, outgoing.data, headers | {"Nats-Msg-Id": name})

        await self._once.send(outgoing.key, publish)

    async def _several(self, pull: Pull, most: int) -> list[Msg]:
        """Give what is there; look less often if there is never more than one message."""
        if self._singles:
            self._singles -= 1
            return []
        messages = await pull.messages(most, 0)
        self._pause = 0 if messages else min(self._pause * 2 or 1, _MOST_SINGLES)
        self._singles = self._pause
        return messages

    async def _publish(self, client: Client, data: bytes, headers: dict[str, str]) -> None:
        if _size(data, headers) > client.max_payload:
            raise ValueError(
                f"the message has {len(data)} bytes and the server takes {client.max_payload}; "
                "raise max_payload in its configuration, or send where the data is instead"
            )
        js = self._connection.js or await self._connection.jetstream()
        try:
            await js.publish(self._queue, data, headers=headers or None)
        except NoStreamResponseError:  # somebody has emptied the server
            await self._make(is_worker=False)
            await js.publish(self._queue, data, headers=headers or None)

    async def _sorted(self, client: Client, messages: list[Msg]) -> list[Taken]:
        """Give the messages that are to run now; the others are not due, or run already."""
        held: dict[str, Handle] = {taken.handle.key: taken.handle for taken in self.inbox.held}
        fresh: list[tuple[Msg, Handle]] = []
        for message in messages:
            handle = Handle.of(message, self.settings.deadline)
            if (mine := held.get(handle.key)) is not None:
                # Its deadline has passed, as in an outage, and nobody else was there.
                mine.reply, mine.delivered, mine.until = (
                    handle.reply,
                    handle.delivered,
                    handle.until,
                )
                await client.publish(handle.reply, _PROGRESS)
            elif handle.key in self._done:
                # It was given out before the server has read that, as after an outage.
                await self._acknowledging.send(handle.reply)
            else:
                fresh.append((message, handle))
        if all(handle.delivered <= 1 and not message.headers for message, handle in fresh):
            return [Taken(message.data, handle) for message, handle in fresh]
        sorting = (self._taken(client, *each) for each in fresh)
        given = await asyncio.gather(*sorting, return_exceptions=True)
        errors = [each for each in given if isinstance(each, BaseException)]
        if errors:  # what is known of the messages can't be read; nothing is to wait for that
            with suppress(Exception):
                await self._tell([handle for _, handle in fresh], NAK)
            raise errors[0]
        return [each for each in given if isinstance(each, Taken)]

    async def _taken(self, client: Client, message: Msg, handle: Handle) -> Taken | None:
        is_again = await self._starts.read(handle)
        early = _early(message)
        if is_again and monotonic() < self._sparing_until:
            # After an outage all look dead for a moment: their workers come first.
            early = max(early, self._grace)
        if early > 0:
            if not is_again:
                await self._starts.excuse(handle)
            await client.publish(handle.reply, b'%b {"delay": %d}' % (NAK, early * 1e9))
            return None
        return Taken(message.data, handle, is_again, handle.starts)

    async def _tell(self, handles: Sequence[Handle], what: bytes) -> None:
        """Answer for messages, and wait until the server has read it.

        Raises:
            ConnectionError: it may not have.
        """
        client = await self._connection.client()
        connection = client.stats["reconnects"]
        for handle in handles:
            await client.publish(handle.reply, what)
        if self._next_ping is None:
            self._next_ping = asyncio.get_running_loop().create_future()
            if self._pinging is None:
                self._pinging = asyncio.create_task(self._ping(client))
        await asyncio.shield(self._next_ping)
        if not client.is_connected or client.stats["reconnects"] != connection:
            raise ConnectionError(f"{self.address} was not connected for a moment")

    async def _ping(self, client: Client) -> None:
        """Have the server answer to all that was sent; once for all who wait at a time."""
        while (waiting := self._next_ping) is not None:
            self._next_ping = None
            try:
                # Not nats-py's `flush`, which is content without a connection (2.16).
                await client.rtt(timeout=int(PATIENCE))
            except Exception as error:  # noqa: BLE001 - each of them raises it
                waiting.set_exception(error)
                waiting.exception()  # whoever has waited may be gone
            else:
                waiting.set_result(None)
        self._pinging = None

    @property
    def _grace(self) -> float:
        return min(self.settings.deadline / 2, _GRACE)

    def _lost(self) -> None:
        self._was_away = True
        if self._pull is not None:
            self._pull.lose()

    async def _look(self) -> None:
        """Keep the consumer as it was made, with a deadline that fits all workers."""
        while True:
            await asyncio.sleep(LOOK)
            with suppress(Exception):  # the server is away
                js = await self._connection.jetstream()
                there = await deadline_of(js, self._queue)
                if self._deadlines.is_short(there):
                    logger.warning("the consumer of queue %s was changed; set right", self._queue)
                    await self._make(is_worker=True)
                elif await self._deadlines.is_long(await self._connection.client(), there):
                    await make_consumer(js, self._queue, self.settings.deadline)


def _size(data: bytes, headers: dict[str, str]) -> int:
    """Give the bytes that count against a server's `max_payload`."""
    if not headers:
        return len(data)
    return len(data) + _HEAD + sum(len(name) + len(text) + 4 for name, text in headers.items())


def _early(message: Msg) -> float:
    """Give the seconds until a message is due."""
    due: Any = (message.headers or {}).get(_DUE)
    try:
        return 0.0 if due is None else min(float(due) - time(), _LONGEST_DELAY)
    except ValueError:
        return 0.0
