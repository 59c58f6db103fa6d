"""The broker: taskiq-redis's stream broker, made safe.

It is a subclass and not the package taskiq-redis-streams, which does not import with taskiq
0.13, as that has removed helpers of `taskiq.compat` (taskiq-redis-streams 0.2.0).

taskiq-redis reads a stream as a consumer group does. What it lacks is here (each was seen
with taskiq-redis 1.2.4): it looks for messages of dead workers only after a new message has
come, takes a running task's message from a worker that is alive, strands what it has read
ahead when it stops, never deletes what was acknowledged, stops for ever when a dead worker
holds its lock, ends with the first error of the connection, and dies of an entry that has
no `data`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from math import ceil, inf
from time import monotonic
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError
from taskiq import AsyncResultBackend
from taskiq_redis import RedisStreamBroker

from fastask.brokers.durable import DurableBroker, Outgoing
from fastask.brokers.inbox import Taken
from fastask.brokers.redis.connection import OPTIONS, checked
from fastask.brokers.redis.results import RedisResults
from fastask.brokers.redis.scripts import DROP, MOVE, PROMOTE, SEND
from fastask.brokers.url import BrokerURL

__all__ = ["RedisBroker"]

_LOOK = 1.0  # seconds between looks for what is due, and for what other workers have left
_PAGE = 1000  # messages of living workers that are passed over at once
_MAX_DEAD = 10_000  # dead letters that are kept, roughly
_NOBODY = b"handed-back"  # the consumer that has what was handed back
_LONG_AGO = 10**11  # milliseconds, more than any deadline
_DEADLINE = re.compile(rb";deadline=(\d+)$")  # of a consumer, in its name
_OLD_CONSUMER = 86_400_000  # milliseconds after which a consumer that has nothing is removed


class RedisBroker(DurableBroker, RedisStreamBroker):
    """Messages in a Redis stream, which a plain `RedisStreamBroker` can also send to.

    Needs Redis 6.2 or newer, and a server that keeps its data (AOF), or what it had is lost
    with it. Beside the stream `QUEUE` it uses the keys `QUEUE/delayed`, `QUEUE/starts`,
    `QUEUE/dead` (the dead letters, a stream) and `QUEUE/once/...`. Results are `QUEUE:ID`, and
    an id may be anything, so those have another separator, which no queue's name has.

    Args:
        url: the server and the settings.
    """

    def __init__(self, url: BrokerURL | str) -> None:
        url = checked(url)
        queue = url.settings.queue
        self._idle = int(url.settings.deadline * 1000)
        super().__init__(
            url.address,
            queue_name=queue,
            consumer_id="0",
            consumer_name=f"{uuid4()};deadline={self._idle}",
            **OPTIONS,
        )
        self._prepare(url)
        self.result_backend: AsyncResultBackend[Any] = RedisResults(url)
        self._redis: Any = Redis(connection_pool=self.connection_pool)
        self._delayed, self._starts = f"{queue}/delayed", f"{queue}/starts"
        self._dead, self._once = f"{queue}/dead", f"{queue}/once/"
        self._next_look = 0.0
        self._back_at = -inf  # when the server came back; `inf` while it is away
        self._acks: dict[bytes, asyncio.Future[None]] = {}
        self._acking: asyncio.Task[None] | None = None
        self._send_script = self._redis.register_script(SEND)
        self._promote_script = self._redis.register_script(PROMOTE)
        self._move_script = self._redis.register_script(MOVE)
        self._drop_script = self._redis.register_script(DROP)

    async def startup(self) -> None:
        """Wait for the server, make the consumer group, and start.

        Raises:
            BrokerUnavailableError: the server is not there, or that of the results.
        """
        try:
            await super().startup()
        except BaseException:
            await self.connection_pool.disconnect()
            raise
        if self.is_worker_process:
            self._next_look = 0.0
            await self._remove_old_consumers()

    async def shutdown(self) -> None:
        """Hand back what is still held, and close."""
        await self.inbox.close()
        if self.is_worker_process:
            with suppress(Exception):  # the server is away; it is removed later
                await self._drop(self.consumer_name)
        await super().shutdown()

    async def take(self, most: int) -> Sequence[Taken]:
        """Take what dead workers have left, or wait for new messages."""
        try:
            found = await self._look(most) if monotonic() >= self._next_look else []
            if not found:
                found = await self._read(most)
        except Exception as error:
            if isinstance(error, ResponseError) and "NOGROUP" in str(error):
                await self._declare_consumer_group()  # somebody has emptied the server
                return []
            self._back_at = inf
            raise
        if self._back_at == inf:
            self._back_at = monotonic()
        return found

    async def acknowledge(self, taken: Taken) -> None:
        """Delete a message, together with others that are acknowledged meanwhile."""
        done = self._acks[taken.handle] = asyncio.get_running_loop().create_future()
        if self._acking is None:
            self._acking = asyncio.create_task(self._acknowledge_all())
        await done

    async def extend(self, held: Sequence[Taken]) -> None:
        """Make messages look as if they were delivered now."""
        try:
            await self._moved(held, self.consumer_name, 0)
        except BaseException:
            self._back_at = inf  # a worker that takes nothing now learns of it here
            raise

    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        """Make messages look as if any deadline had passed."""
        await self._moved(held, _NOBODY, _LONG_AGO, is_fresh=is_fresh)

    async def count_start(self, taken: Taken) -> int:
        """Count a start in a hash of the server."""
        count: int = await self._redis.hincrby(self._starts, taken.handle, 1)
        return count

    async def bury(self, taken: Taken) -> None:
        """Move a message to the stream of dead letters."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.xadd(self._dead, {b"data": taken.data}, maxlen=_MAX_DEAD, approximate=True)
        self._delete(pipe, [taken.handle])
        await pipe.execute()

    async def _reach(self) -> None:
        try:
            kind = await self._kind()
        except BaseException:
            self._back_at = inf
            raise
        if kind not in {"none", "stream"}:
            raise ValueError(
                f"the key {self.queue_name!r} is a {kind} of another program, not a stream; "
                "name another queue in the URL"
            )

    async def _kind(self) -> str:
        """Give the type of the queue's key; one that fits if this user may not ask for it."""
        try:
            kind: bytes = await self._redis.type(self.queue_name)
        except NoPermissionError:
            await self._redis.ping()
            return "stream"
        return kind.decode()

    async def _send(self, outgoing: Outgoing) -> None:
        if outgoing.key is None and outgoing.delay <= 0:
            await self._redis.xadd(self.queue_name, {b"data": outgoing.data})
            return
        once = "" if outgoing.key is None else self._once + outgoing.key
        await self._send_script(
            keys=[self.queue_name, self._delayed, once or self.queue_name],
            args=[
                outgoing.data,
                self.settings.results_ttl if once else 0,
                int(outgoing.delay * 1000),
                uuid4().hex,
            ],
        )

    async def _read(self, most: int) -> list[Taken]:
        """Wait for new messages, until the next look."""
        wait = min(_LOOK, self._next_look - monotonic())
        read: Any = await self._redis.xreadgroup(
            self.consumer_group_name,
            self.consumer_name,
            {self.queue_name: ">"},
            count=most,
            block=max(1, ceil(wait * 1000)),
        )
        return [_taken(entry, fields) for _, entries in read or () for entry, fields in entries]

    async def _look(self, most: int) -> list[Taken]:
        """Make delayed messages due, and take what dead workers have left."""
        self._next_look = monotonic() + _LOOK
        pipe = self._redis.pipeline(transaction=False)
        await self._promote_script(keys=[self.queue_name, self._delayed], args=[most], client=pipe)
        self._ask_for_idle(pipe, "-", most)
        next_due, pending = await pipe.execute()
        if next_due > 0:
            self._next_look = min(self._next_look, monotonic() + next_due / 1000)
        deliveries = await self._left(pending, most) if pending else {}
        if deliveries and (found := await self._claimed(deliveries)):
            self._next_look = 0.0
            return found
        return []

    async def _left(self, pending: Sequence[Mapping[str, Any]], most: int) -> dict[bytes, int]:
        """Give messages whose workers are dead, and how often each was delivered."""
        held = {taken.handle for taken in self.inbox.held}  # the heartbeat will see to them
        asked = most
        while True:
            found = {
                each["message_id"]: each["times_delivered"]
                for each in pending
                if each["message_id"] not in held and self._is_left(each)
            }
            if found or len(pending) < asked:
                return dict(islice(found.items(), most))
            asked = _PAGE
            start = b"(" + pending[-1]["message_id"]
            pending = await self._ask_for_idle(self._redis, start, asked)

    def _ask_for_idle(self, client: Any, start: str | bytes, most: int) -> Any:
        return client.xpending_range(
            self.queue_name, self.consumer_group_name, start, "+", most, idle=self._idle
        )

    def _is_left(self, message: Mapping[str, Any]) -> bool:
        """Whether a message was handed back, or its worker is dead.

        That worker extends by a deadline of its own: in a rolling deploy it may be longer than
        this one's. After an outage all look dead for a moment, and get half of it to say that
        they are not.
        """
        if message["consumer"] == _NOBODY:
            return True
        named = _DEADLINE.search(message["consumer"])
        deadline = int(named[1]) if named else self._idle
        has_had_time = monotonic() - self._back_at >= deadline / 2000
        return has_had_time and message["time_since_delivered"] >= deadline

    async def _claimed(self, deliveries: Mapping[bytes, int]) -> list[Taken]:
        """Take messages that nobody has taken meanwhile."""
        claimed = await self._redis.xclaim(
            self.queue_name,
            self.consumer_group_name,
            self.consumer_name,
            self._idle,
            list(deliveries),
        )
        found = {entry: fields for entry, fields in claimed if entry is not None}
        if len(found) < len(claimed):
            await self._forget_deleted([each for each in deliveries if each not in found])
        if not found:
            return []
        starts = await self._redis.hmget(self._starts, list(found))
        return [
            _taken(entry, fields, is_again=deliveries[entry] > 0, starts=int(count or 0))
            for (entry, fields), count in zip(found.items(), starts, strict=True)
        ]

    async def _forget_deleted(self, entries: Sequence[bytes]) -> None:
        """Acknowledge what is not in the stream any more; Redis 6.2 tells of it for ever."""
        pipe = self._redis.pipeline(transaction=False)
        for entry in entries:
            pipe.xrange(self.queue_name, entry, entry)
        there = await pipe.execute()
        deleted = [entry for entry, found in zip(entries, there, strict=True) if not found]
        if deleted:
            self._delete(pipe, deleted)
            await pipe.execute()

    async def _acknowledge_all(self) -> None:
        while self._acks:
            acks, self._acks = self._acks, {}
            try:
                pipe = self._redis.pipeline(transaction=True)
                self._delete(pipe, list(acks))
                await pipe.execute()
            except Exception as error:  # noqa: BLE001 - each of them raises it
                for done in acks.values():
                    if not done.done():
                        done.set_exception(error)
            else:
                for done in acks.values():
                    if not done.done():
                        done.set_result(None)
        self._acking = None

    def _delete(self, pipe: Any, entries: list[bytes]) -> None:
        pipe.xack(self.queue_name, self.consumer_group_name, *entries)
        pipe.xdel(self.queue_name, *entries)
        pipe.hdel(self._starts, *entries)

    async def _moved(
        self, held: Sequence[Taken], consumer: str | bytes, idle: int, *, is_fresh: bool = False
    ) -> None:
        """Change who has messages and since when, unless another worker has taken them."""
        await self._move_script(
            keys=[self.queue_name, self._starts],
            args=[
                self.consumer_group_name,
                self.consumer_name,
                consumer,
                idle,
                int(is_fresh),
                *(taken.handle for taken in held),
            ],
        )

    async def _remove_old_consumers(self) -> None:
        for each in await self._redis.xinfo_consumers(self.queue_name, self.consumer_group_name):
            if each["idle"] > _OLD_CONSUMER and not each["pending"]:
                await self._drop(each["name"])

    async def _drop(self, consumer: str | bytes) -> None:
        await self._drop_script(keys=[self.queue_name], args=[self.consumer_group_name, consumer])


def _taken(
    entry: bytes, fields: Mapping[bytes, bytes], *, is_again: bool = False, starts: int = 0
) -> Taken:
    return Taken(fields.get(b"data", b""), entry, is_again, starts)
