"""The embedded broker: tasks run in the process that sends them.

It is for first steps, tests and small apps. It is not durable: what has not run when the
process ends is gone. Messages take the same way as with any other broker, as bytes
through Taskiq's receiver.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import cached_property
from time import monotonic
from typing import Any

from anyio import CancelScope
from taskiq import (
    AckableMessage,
    AsyncBroker,
    AsyncTaskiqDecoratedTask,
    BrokerMessage,
    TaskiqEvents,
)
from taskiq.abc.formatter import TaskiqFormatter
from taskiq.brokers.inmemory_broker import InmemoryResultBackend
from taskiq.receiver import Receiver
from taskiq.result import TaskiqResult
from taskiq.utils import maybe_awaitable

from fastask.brokers.deployment import warning_on_embedded
from fastask.brokers.once import SentOnce
from fastask.brokers.unknown import RefusingTask
from fastask.brokers.unreadable import CheckedFormatter
from fastask.exceptions import EmbeddedBrokerError
from fastask.masking import in_full

__all__ = ["MemoryBroker", "MemoryResults"]

logger: logging.Logger = logging.getLogger("fastask.brokers.memory")

_TTL = 86_400.0  # seconds for which results are kept
_CANCEL_TIMEOUT = 1.0  # seconds a cancelled task has for its teardown


class MemoryResults(InmemoryResultBackend[Any]):
    """Results in memory; each reader gets an object of its own.

    Args:
        max_stored_results: how many are kept; -1 for all.
        ttl: seconds for which they are kept.
    """

    def __init__(self, max_stored_results: int = 100, *, ttl: float = _TTL) -> None:
        super().__init__(max_stored_results)
        self._ttl = ttl
        self._expires: dict[str, float] = {}  # as `results`, in the order in which they came

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Keep a result."""
        self._forget(task_id)
        self._forget_old()
        await super().set_result(task_id, result)
        self._expires[task_id] = monotonic() + self._ttl
        while (oldest := next(iter(self._expires))) not in self.results:
            del self._expires[oldest]

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result."""
        self._forget_old()
        return await super().is_result_ready(task_id)

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[Any]:
        """Give the result of a task.

        Raises:
            KeyError: there is none (yet, or any more).
        """
        self._forget_old()
        result = await super().get_result(task_id, with_logs)
        own = {"return_value": deepcopy(result.return_value), "labels": dict(result.labels)}
        return result.model_copy(update=own)

    def _forget(self, task_id: str) -> None:
        self.results.pop(task_id, None)
        self._expires.pop(task_id, None)

    def _forget_old(self) -> None:
        now = monotonic()
        while self._expires:
            oldest, expires = next(iter(self._expires.items()))
            if expires > now:
                return
            self._forget(oldest)


class MemoryBroker(AsyncBroker):
    """Runs tasks in the web process, after the request that sends them.

    While the app's lifespan runs, tasks are queued and executed in the background; those
    sent during its startup wait until it is complete. Without a running lifespan (a
    script, a REPL) a task is executed before `kiq` returns, which waits for its `delay`, too.

    Args:
        max_tasks: how many tasks run at once.
        drain_timeout: seconds to wait for queued and running tasks at shutdown, and for
            those whose `delay` ends meanwhile.
        max_results: how many results are kept; the oldest are dropped.
        results_ttl: seconds for which they are kept.

    Attributes:
        sends_once: it drops a message whose id its sender has chosen and sent before.

    Raises:
        ValueError: `max_tasks` is below 1.
    """

    sends_once: bool = True

    def __init__(
        self,
        *,
        max_tasks: int = 100,
        drain_timeout: float = 10.0,
        max_results: int = 10_000,
        results_ttl: float = _TTL,
    ) -> None:
        if max_tasks < 1:
            raise ValueError(f"max_tasks must be 1 or more, not {max_tasks}")
        super().__init__()
        self.result_backend: MemoryResults = MemoryResults(max_results, ttl=results_ttl)
        self.max_tasks = max_tasks
        self.drain_timeout = drain_timeout
        self._once = SentOnce()
        self._queue: deque[BrokerMessage] = deque()
        self._delayed: dict[asyncio.TimerHandle, BrokerMessage] = {}
        self._running: dict[asyncio.Task[None], str] = {}
        self._changed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self) -> None:
        """Run the handlers of clients and of workers, since it is both."""
        await super().startup()
        await self._fire(TaskiqEvents.WORKER_STARTUP)

    async def shutdown(self) -> None:
        """Say which tasks are dropped, and run the handlers."""
        if self._queue:
            dropped = ", ".join(f"{left.task_name} ({left.task_id})" for left in self._queue)
            logger.warning("dropped %d queued tasks: %s", len(self._queue), dropped)
            self._queue.clear()
        await self._fire(TaskiqEvents.WORKER_SHUTDOWN)
        await super().shutdown()

    async def kick(self, message: BrokerMessage) -> None:
        """Queue a message, or execute it where no lifespan runs."""
        delay = _delay(message)
        if self._loop is None:
            await asyncio.sleep(delay)  # first, as its sender may be cancelled meanwhile
            if not self._once.is_repeated(message):
                await self._started(message)
            return
        if self._once.is_repeated(message):
            return
        if self._loop is asyncio.get_running_loop():
            self._keep(message, delay)
        else:  # from a thread with a loop of its own
            self._loop.call_soon_threadsafe(self._keep, message, delay)

    def find_task(self, task_name: str) -> AsyncTaskiqDecoratedTask[Any, Any] | None:
        """Give a task, or what fails with the names of similar ones."""
        return super().find_task(task_name) or RefusingTask(self, task_name)

    def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Refuse: no worker is needed.

        Raises:
            EmbeddedBrokerError: always.
        """
        raise EmbeddedBrokerError

    @asynccontextmanager
    async def queueing(self) -> AsyncIterator[None]:
        """Keep what is sent, from the start of a lifespan until its end."""
        if self._loop is not None:  # another program's lifespan does it
            yield
            return
        logger.info("tasks run in this process; what has not run when it ends is lost")
        if warning := warning_on_embedded(sys.argv, os.environ):
            logger.warning("%s", warning)
        self._loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            self._loop = None
            while self._delayed:  # to be dropped with the others
                due, message = self._delayed.popitem()
                due.cancel()
                self._queue.append(message)

    @asynccontextmanager
    async def consuming(self, stopping: asyncio.Event) -> AsyncIterator[None]:
        """Execute queued tasks in the background; at the end, drain them.

        Args:
            stopping: set when the draining begins.

        Leaving waits `drain_timeout` seconds for what is queued, running, or due until
        then, then cancels what still runs and logs its names.
        """
        if self._changed is not None:  # another program's lifespan does it
            yield
            return
        self._changed = asyncio.Event()
        consumer = asyncio.create_task(self._consume())
        try:
            yield
        finally:
            stopping.set()
            try:
                await self._drain(consumer)
            except BaseException:
                # Shielded, as in a cancelled scope nothing would be waited for.
                with CancelScope(shield=True):
                    await _stopped(consumer)
                    await self._cancel()
                raise
            finally:
                with CancelScope(shield=True):
                    await _stopped(consumer)
                self._changed = None

    async def _consume(self) -> None:
        while True:
            while self._queue and len(self._running) < self.max_tasks:
                self._started(self._queue.popleft())
            await self._change()

    async def _drain(self, consumer: asyncio.Task[None]) -> None:
        give_up = asyncio.get_running_loop().time() + self.drain_timeout
        try:
            async with asyncio.timeout_at(give_up):
                while self._queue or self._running or self._is_due_until(give_up):
                    await self._change()
        except TimeoutError:
            await _stopped(consumer)
            if names := ", ".join(self._running.values()):
                logger.warning(
                    "tasks still running after %s s are cancelled: %s", self.drain_timeout, names
                )
            await self._cancel()

    def _is_due_until(self, give_up: float) -> bool:
        return any(due.when() < give_up for due in self._delayed)

    async def _cancel(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_CANCEL_TIMEOUT)

    def _keep(self, message: BrokerMessage, delay: float) -> None:
        if not delay:
            self._enqueue(message)
            return

        def come_due() -> None:
            del self._delayed[due]
            self._enqueue(message)

        due = asyncio.get_running_loop().call_later(delay, come_due)
        self._delayed[due] = message

    def _enqueue(self, message: BrokerMessage) -> None:
        self._queue.append(message)
        self._notify()

    def _started(self, message: BrokerMessage) -> asyncio.Task[None]:
        delivery = AckableMessage(data=message.message, ack=_acknowledge)
        running = asyncio.create_task(self._receiver.callback(delivery))
        self._running[running] = message.task_name
        running.add_done_callback(self._ended)
        return running

    def _ended(self, running: asyncio.Task[None]) -> None:
        name = self._running.pop(running)
        if not running.cancelled() and (error := running.exception()) is not None:
            logger.error("task %s was lost in Taskiq's receiver:\n%s", name, in_full(error))
        self._notify()

    async def _change(self) -> None:
        changed: Any = self._changed  # `consuming` made it
        changed.clear()
        await changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()

    @cached_property
    def _receiver(self) -> Receiver:
        # Not before the user has chosen one.
        self.formatter: TaskiqFormatter = CheckedFormatter.around(self)
        return Receiver(self, max_async_tasks=self.max_tasks, run_startup=False)

    async def _fire(self, event: TaskiqEvents) -> None:
        for handler in self.event_handlers[event]:
            await maybe_awaitable(handler(self.state))


async def _stopped(consumer: asyncio.Task[None]) -> None:
    consumer.cancel()
    await asyncio.wait([consumer])


def _delay(message: BrokerMessage) -> float:
    """Give the seconds until a message is due; a retry has waited for its own delay already."""
    labels = message.labels
    return 0.0 if labels.get("_retries") else max(0.0, float(labels.get("delay") or 0.0))


def _acknowledge() -> None:
    """Nothing is redelivered, so there is nothing to note."""
