"""A broker is started once and stopped once, whoever asks for it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

from anyio import fail_after
from taskiq import AsyncBroker
from taskiq.serializers import PickleSerializer

from fastask.unwinding import Unwinding

__all__ = ["BrokerLifecycle", "Supervisor", "inside_lifespan"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

Moving: TypeAlias = Callable[[], Awaitable[Any]]

inside_lifespan: ContextVar[tuple[object, ...]] = ContextVar("fastask_inside", default=())
"""Who holds the lifespans that this code belongs to: owners, apps, lifecycles of brokers."""

_STOP_TIMEOUT = 30.0  # seconds for a broker to stop
_LATE_STOP_TIMEOUT = 5.0  # seconds, where what was before has used up its time


class Supervisor(Protocol):
    """Decides in a worker when things start and stop, and what a failure means."""

    async def start(self, bring_up: Moving) -> None:
        """Start a broker and its apps by calling `bring_up`, again if need be."""

    async def stop(self, bring_down: Moving) -> None:
        """Stop them by calling `bring_down`."""

    def crashed(self, error: BaseException) -> None:
        """Take note that an app has died while it was up."""


class BrokerLifecycle:
    """Takes the place of a broker's `startup` and `shutdown`, on the object itself.

    In the web process the app's lifespan holds the broker. In a worker or a scheduler
    Taskiq starts it, and in a worker the apps are started after it and stopped before it.
    Lifespans that start and stop the broker themselves, as was needed without fastask,
    change nothing.

    Args:
        broker: the broker.

    Attributes:
        supervisor: who decides in a worker.
        stopping: set when this process was told to stop.
    """

    def __init__(self, broker: AsyncBroker) -> None:
        self.supervisor: Supervisor | None = None
        self.stopping: asyncio.Event | None = None
        self._broker = broker
        self._start: Moving = broker.startup
        self._stop: Moving = broker.shutdown
        self._apps: list[tuple[str, Callable[[], AbstractAsyncContextManager[Any]]]] = []
        self._pid: int | None = None  # the process in which the broker is up
        self._is_starting = False
        self._holders = 0
        self._holding = asyncio.Lock()
        self._opened = Unwinding()

    @classmethod
    def of(cls, broker: AsyncBroker) -> BrokerLifecycle:
        """Give the lifecycle of a broker; several programs may share one."""
        owner = getattr(broker.startup, "__self__", None)
        if isinstance(owner, cls):
            return owner
        lifecycle = cls(broker)
        replaced: Any = broker
        replaced.startup, replaced.shutdown = lifecycle.startup, lifecycle.shutdown
        return lifecycle

    @property
    def is_up(self) -> bool:
        """Whether the broker is up, or on its way, in this process.

        A process that was forked has inherited the object, and not what it has opened.
        """
        return self._pid == os.getpid()

    @property
    def is_stopping(self) -> bool:
        """Whether this process was told to stop."""
        return self.stopping is not None and self.stopping.is_set()

    def serve(self, step: str, app: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        """Have an app started after the broker and stopped before it, in a worker.

        Args:
            step: what stopping it is called in messages.
            app: opens the app.
        """
        self._apps.append((step, app))

    async def startup(self) -> None:
        """Start the broker, and in a worker the apps; do nothing where it is up.

        Raises:
            BaseException: what the broker's startup or an app's raises; what was started
                before it is stopped again.
        """
        if self.is_up or self in inside_lifespan.get():
            return
        self._pid, self._holders = os.getpid(), 0  # first, as this may be called again
        self._is_starting = True
        try:
            if self._broker.is_worker_process and self.supervisor is not None:
                await self.supervisor.start(self._bring_up)
            else:
                await self._bring_up()
        except BaseException:
            self._pid = None
            raise
        finally:
            self._is_starting = False

    async def shutdown(self) -> None:
        """Stop the apps and the broker; do nothing where it is not up yet, or held.

        Raises:
            BaseException: the first error of theirs; the others are stopped nevertheless.
        """
        is_busy = self._is_starting or self._holders or self in inside_lifespan.get()
        if is_busy or not self.is_up:
            return
        try:
            if self._broker.is_worker_process and self.supervisor is not None:
                await self.supervisor.stop(self._bring_down)
            else:
                await self._bring_down()
        finally:
            self._pid = None

    async def pause(self, seconds: float) -> None:
        """Wait, unless this process was or is told to stop; not at all in a test."""
        stopping = asyncio.Event() if self.stopping is None else self.stopping
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the broker up, as the web process does; the last one that holds it stops it.

        Who has started it otherwise also stops it.

        Raises:
            BaseException: what starting or stopping it raises.
        """
        broker = self._broker
        async with self._holding:  # so that a second one comes after the start
            is_others = broker.is_worker_process or broker.is_scheduler_process
            is_others = is_others or (self.is_up and not self._holders)
            if not is_others:
                if not self.is_up:
                    await broker.startup()  # by the attribute, which a test may have replaced
                self._holders += 1
        if is_others:
            yield
            return
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._holding = asyncio.Lock()  # the next cycle may have another event loop
                await broker.shutdown()

    @asynccontextmanager
    async def pausing(self) -> AsyncIterator[asyncio.Event]:
        """Let tasks pause where they run in the process that holds the broker.

        Yields:
            The event to set when they have to end.
        """
        if self.stopping is not None:  # in a test, where nothing pauses
            yield self.stopping
            return
        self.stopping = asyncio.Event()
        try:
            yield self.stopping
        finally:
            self.stopping = None

    @contextmanager
    def replaced(self, start: Moving, stop: Moving) -> Iterator[None]:
        """Start and stop the broker by other functions; then everything is as it was."""
        former = vars(self).copy()
        stopping = asyncio.Event()
        stopping.set()
        vars(self).update(
            _start=start,
            _stop=stop,
            _pid=None,
            _is_starting=False,
            _holders=0,
            _holding=asyncio.Lock(),
            _opened=Unwinding(),
            stopping=stopping,
        )
        try:
            yield
        finally:
            vars(self).update(former)

    async def _bring_up(self) -> None:
        _warn_of_pickle(self._broker)
        async with Unwinding() as opening:
            await opening.enter("shutdown of the broker", self._running())
            if self._broker.is_worker_process:
                for step, app in self._apps:
                    await opening.enter(step, app())
            self._opened = opening.moved()

    async def _bring_down(self) -> None:
        await self._opened.moved().aclose()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        await self._start()
        timeout = _STOP_TIMEOUT
        try:
            yield
        except asyncio.CancelledError:
            timeout = _LATE_STOP_TIMEOUT
            raise
        finally:
            # Shielded, as a cancelled scope would not let the broker say goodbye.
            with fail_after(timeout, shield=True):
                await self._stop()


def _warn_of_pickle(broker: AsyncBroker) -> None:
    """Tell of results that are unpickled, as with taskiq-redis's defaults (taskiq-redis 1.2)."""
    backend: Any = broker.result_backend
    for name, owner in (("results", backend), ("messages", broker)):
        if isinstance(getattr(owner, "serializer", None), PickleSerializer):
            logger.warning(
                "%s unpickles %s, so whoever can write there can run code here; "
                "give it another serializer, such as taskiq.serializers.JSONSerializer()",
                type(owner).__name__,
                name,
            )
