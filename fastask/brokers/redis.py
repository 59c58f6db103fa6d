"""`redis://`: taskiq-redis's stream broker, made safe.

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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from time import monotonic
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from taskiq import AsyncResultBackend, TaskiqResult
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from fastask.brokers.durable import DurableBroker, Outgoing, wait_for_server
from fastask.brokers.inbox import Taken
from fastask.brokers.redis_scripts import DROP, MOVE, PROMOTE, SEND
from fastask.brokers.url import BrokerURL, url_of

__all__ = ["RedisBroker", "RedisResults", "broker", "results"]

_BLOCK = 1000  # milliseconds for which a read waits
_SWEEP = 1.0  # seconds between looks for what other workers have left
_TIMEOUTS: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 3.0, "protocol": 2}
_MAX_DEAD = 10_000  # dead letters that are kept, roughly
_NOBODY = "handed-back"  # the consumer that has what was handed back
_OLD_CONSUMER = 86_400_000  # milliseconds after which a consumer that has nothing is removed


def broker(url: BrokerURL) -> RedisBroker:
    """Make the broker of a URL, with its result backend."""
    return RedisBroker(url)


def results(url: BrokerURL) -> RedisResults:
    """Make the result backend of a URL: JSON, under `QUEUE:ID`, for `results_ttl` seconds."""
    return RedisResults(url)


class RedisResults(RedisAsyncResultBackend[Any]):
    """taskiq-redis's results, saved over one client.

    The plugin makes a new client for each, which costs an eighth of a small task (1.2.4).

    Args:
        url: the server and the settings.
    """

    def __init__(self, url: BrokerURL | str) -> None:
        url = url_of(url)
        super().__init__(
            url.address,
            serializer=JSONSerializer(),
            result_ex_time=url.settings.results_ttl,
            prefix_str=url.settings.queue,
            **_TIMEOUTS,
        )
        self._address = url.shown
        self._wait = url.settings.wait

    async def startup(self) -> None:
        """Wait for the server.

        Raises:
            BrokerUnavailableError: it is not there.
        """
        try:
            await wait_for_server(self._address, self._wait, self._reach)
        except BaseException:
            await self.redis_pool.disconnect()
            raise
        await super().startup()

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Save a result.

        Raises:
            redis.exceptions.RedisError: the server is away, or does not take it.
        """
        value = self.serializer.dumpb(result.model_dump(mode="json"))
        await self._redis.set(self._task_name(task_id), value, ex=self.result_ex_time)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result.

        Raises:
            redis.exceptions.RedisError: the server is away.
        """
        return bool(await self._redis.exists(self._task_name(task_id)))

    async def _reach(self) -> None:
        await self._redis.ping()

    @cached_property
    def _redis(self) -> Any:
        return Redis(connection_pool=self.redis_pool)


class RedisBroker(DurableBroker, RedisStreamBroker):
    """Messages in a Redis stream, which a plain `RedisStreamBroker` can also send to.

    Needs Redis 6.2 or newer, and a server that keeps its data (AOF), or what it had is lost
    with it. Beside the stream `QUEUE` it uses the keys `QUEUE:delayed`, `QUEUE:starts`,
    `QUEUE:dead` (the dead letters, a stream) and `QUEUE:once:...`.

    Args:
        url: the server and the settings.
    """

    def __init__(self, url: BrokerURL | str) -> None:
        url = url_of(url)
        queue = url.settings.queue
        super().__init__(url.address, queue_name=queue, consumer_id="0", **_TIMEOUTS)
        self._prepare(url)
        self.result_backend: AsyncResultBackend[Any] = results(url)
        self._redis: Any = Redis(connection_pool=self.connection_pool)
        self._idle = int(url.settings.deadline * 1000)
        self._next_sweep = 0.0
        self._block = _BLOCK
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
            self._next_sweep = 0.0
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
            if monotonic() >= self._next_sweep or self._block < _BLOCK:
                self._next_sweep = monotonic() + _SWEEP
                if left := await self._left(most):
                    self._next_sweep = 0.0
                    return left
            read: Any = await self._redis.xreadgroup(
                self.consumer_group_name,
                self.consumer_name,
                {self.queue_name: ">"},
                count=most,
                block=self._block,
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._declare_consumer_group()  # somebody has emptied the server
            return []
        except Exception:
            # After an outage all look dead for a moment: their workers come first.
            self._next_sweep = monotonic() + self.settings.deadline / 2
            raise
        return [_taken(entry, fields) for _, entries in read or () for entry, fields in entries]

    async def acknowledge(self, taken: Taken) -> None:
        """Delete a message, together with others that are acknowledged meanwhile."""
        done = self._acks[taken.handle] = asyncio.get_running_loop().create_future()
        if self._acking is None:
            self._acking = asyncio.create_task(self._acknowledge_all())
        await done

    async def extend(self, held: Sequence[Taken]) -> None:
        """Make messages look as if they were delivered now."""
        await self._moved(held, self.consumer_name, 0)

    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        """Make messages look as if their deadline had passed."""
        await self._moved(held, _NOBODY, self._idle, is_fresh=is_fresh)

    async def count_start(self, taken: Taken) -> int:
        """Count a start in a hash of the server."""
        count: int = await self._redis.hincrby(f"{self.queue_name}:starts", taken.handle, 1)
        return count

    async def bury(self, taken: Taken) -> None:
        """Move a message to the stream of dead letters."""
        pipe = self._redis.pipeline(transaction=True)
        dead = f"{self.queue_name}:dead"
        pipe.xadd(dead, {b"data": taken.data}, maxlen=_MAX_DEAD, approximate=True)
        self._delete(pipe, [taken.handle])
        await pipe.execute()

    async def _reach(self) -> None:
        await self._redis.ping()

    async def _send(self, outgoing: Outgoing) -> None:
        if outgoing.key is None and outgoing.delay <= 0:
            await self._redis.xadd(self.queue_name, {b"data": outgoing.data})
            return
        once = "" if outgoing.key is None else f"{self.queue_name}:once:{outgoing.key}"
        await self._send_script(
            keys=[self.queue_name, f"{self.queue_name}:delayed", once or self.queue_name],
            args=[
                outgoing.data,
                self.settings.results_ttl if once else 0,
                int(outgoing.delay * 1000),
                uuid4().hex,
            ],
        )

    async def _left(self, most: int) -> list[Taken]:
        """Take messages whose deadline has passed, and make delayed ones due."""
        pipe = self._redis.pipeline(transaction=False)
        await self._promote_script(
            keys=[self.queue_name, f"{self.queue_name}:delayed"], args=[most], client=pipe
        )
        pipe.xpending_range(
            self.queue_name, self.consumer_group_name, "-", "+", most, idle=self._idle
        )
        next_due, pending = await pipe.execute()
        self._block = min(_BLOCK, next_due) if next_due > 0 else _BLOCK
        deliveries = {each["message_id"]: each["times_delivered"] for each in pending}
        for taken in self.inbox.held:  # the heartbeat will see to them
            deliveries.pop(taken.handle, None)
        return await self._claimed(deliveries) if deliveries else []

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
        starts = await self._redis.hmget(f"{self.queue_name}:starts", list(found))
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
        pipe.hdel(f"{self.queue_name}:starts", *entries)

    async def _moved(
        self, held: Sequence[Taken], consumer: str, idle: int, *, is_fresh: bool = False
    ) -> None:
        """Change who has messages and since when, unless another worker has taken them."""
        await self._move_script(
            keys=[self.queue_name, f"{self.queue_name}:starts"],
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
