"""`ft.testing()`: everything in memory, and the former state back afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal
from taskiq import AckableMessage, AsyncBroker, BrokerMessage, TaskiqEvents
from taskiq.receiver import Receiver
from taskiq.utils import maybe_awaitable

from fastask.brokers.memory import MemoryResults
from fastask.brokers.unknown import RefusingTask
from fastask.lifespan import AppLifespan
from fastask.program import Program
from fastask.unwinding import Unwinding

__all__ = ["Testing"]


class Testing:
    """Runs an app's tasks in memory while it is entered, with `with` or `async with`.

    A task is executed before `kiq` returns, from bytes, by Taskiq's own receiver: with
    middlewares, labels, timeouts, validation and dependencies. Its broker connects to
    nothing. The app's lifespan runs once: a test client that is entered runs it; where
    none does, it is entered on entering (`async with`) or for the first task (`with`).

    Args:
        program: the app and its broker.
        lifespan: the app's lifespan.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, program: Program, lifespan: AppLifespan) -> None:
        self._program = program
        self._lifespan = lifespan
        self._undo = ExitStack()
        self._portal: BlockingPortal | None = None
        self._opened = Unwinding()
        self._opening = threading.Lock()
        self._receiver: Receiver | None = None

    def __enter__(self) -> Self:
        self._switch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    async def __aenter__(self) -> Self:
        self._switch()
        try:
            await self._enter_lifespan()
        except BaseException:
            self._undo.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._opened.moved().__aexit__(kind, error, traceback)
        finally:
            self._undo.close()

    def _switch(self) -> None:
        """Put methods in memory in the place of the broker's own, on the object itself.

        Whoever holds the broker, its tasks or its result backend then meets the test.
        """
        broker = self._program.broker
        replacements: dict[str, Any] = {
            "kick": self._kick,
            "find_task": partial(_found, broker, broker.find_task),
            "result_backend": MemoryResults(max_stored_results=-1),
        }
        former = {name: vars(broker).get(name, _ABSENT) for name in replacements}
        self._undo.callback(_restore, broker, former)
        for name, replacement in replacements.items():
            setattr(broker, name, replacement)
        lifecycle = self._program.lifecycle
        self._undo.enter_context(lifecycle.replaced(self._startup, self._shutdown))
        self._receiver = Receiver(broker, max_async_tasks=100, run_startup=False)

    async def _kick(self, message: BrokerMessage) -> None:
        if not self._lifespan.is_running:
            await asyncio.to_thread(self._open_portal)
        loop = self._lifespan.loop
        if loop is None or loop is asyncio.get_running_loop():
            await asyncio.create_task(self._execute(message))
        else:  # where the lifespan runs, since what it opened belongs to that loop
            running = asyncio.run_coroutine_threadsafe(self._execute(message), loop)
            await asyncio.wrap_future(running)

    async def _execute(self, message: BrokerMessage) -> None:
        receiver: Any = self._receiver  # made on entering
        await receiver.callback(AckableMessage(data=message.message, ack=lambda: None))

    def _open_portal(self) -> BlockingPortal:
        """Start an event loop for the lifespan, and for tasks, where no client runs one."""
        with self._opening:
            return self._portal or self._opened_portal()

    def _close_portal(self) -> None:
        self._portal = None

    def _opened_portal(self) -> BlockingPortal:
        self._undo.callback(self._close_portal)
        portal = self._undo.enter_context(start_blocking_portal())
        portal.call(self._enter_lifespan)
        self._undo.callback(portal.call, self._leave_lifespan)
        self._portal = portal
        return portal

    async def _enter_lifespan(self) -> None:
        if self._lifespan.is_running:
            return
        async with Unwinding() as opening:
            await opening.enter("shutdown of the broker", self._program.lifecycle.held())
            await opening.enter("shutdown of the lifespan", self._lifespan.entered())
            self._opened = opening.moved()

    async def _leave_lifespan(self) -> None:
        await self._opened.moved().aclose()

    async def _startup(self) -> None:
        """Run the handlers and middlewares of a start, and connect to nothing."""
        await AsyncBroker.startup(self._program.broker)
        await self._fire(TaskiqEvents.WORKER_STARTUP)

    async def _shutdown(self) -> None:
        await self._fire(TaskiqEvents.WORKER_SHUTDOWN)
        await AsyncBroker.shutdown(self._program.broker)

    async def _fire(self, event: TaskiqEvents) -> None:
        for handler in self._program.broker.event_handlers[event]:
            await maybe_awaitable(handler(self._program.broker.state))


_ABSENT = object()


def _found(broker: AsyncBroker, find: Callable[[str], Any], name: str) -> Any:
    return find(name) or RefusingTask(broker, name)


def _restore(broker: AsyncBroker, former: dict[str, Any]) -> None:
    for name, value in former.items():
        if value is _ABSENT:
            delattr(broker, name)
        else:
            setattr(broker, name, value)
