"""The signals that end a worker, noticed at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator
from typing import Any

__all__ = ["StopSignals"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_PATIENCE = 1.0  # seconds until a read that goes on is cancelled again
_LONG_PATIENCE = 5.0  # seconds until a startup that goes on is; it may have to clean up


async def _nothing() -> AsyncGenerator[None, None]:
    yield


_reading = _nothing().__anext__()
_Reading = type(_reading)
_reading.close()  # never awaited, which Python 3.13 would warn of


class StopSignals:
    """Passes signals on to Taskiq, and wakes the event loop for them.

    Taskiq's handler sets an event without waking the loop, which sees it only when
    something else happens: with `RedisStreamBroker`, when its blocking read returns
    (taskiq 0.13). It then cancels the read, once; but `asyncio.wait_for` of Python 3.11
    swallows a cancellation that comes when what it waits for is done, redis-py sends every
    command through it, and the worker waits for its read for ever. So a read that is
    cancelled and goes on is cancelled again.

    Attributes:
        received: set when the process was told to stop.
        startup: the asyncio task of a startup, which a signal cancels.
    """

    def __init__(self) -> None:
        self.received: asyncio.Event = asyncio.Event()
        self.startup: asyncio.Task[Any] | None = None
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []

    def install(self) -> None:
        """Take the place of the handlers that are there, and call them first."""
        if threading.current_thread() is not threading.main_thread():
            return  # only there can handlers be set; and nobody else's are called elsewhere
        for name in _SIGNALS:
            if (signum := getattr(signal, name, None)) is not None:
                self._wrap(signum)

    def close(self) -> None:
        """Cancel nothing any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _wrap(self, signum: int) -> None:
        former: Any = signal.getsignal(signum)
        if not callable(former):
            return

        def handle(signum: int, frame: Any) -> None:
            try:
                former(signum, frame)
            finally:
                self._loop.call_soon_threadsafe(self._receive)

        signal.signal(signum, handle)

    def _receive(self) -> None:
        if not self.received.is_set():
            self.received.set()
            self._cancel_startup()
            self._timers.append(self._loop.call_later(_PATIENCE, self._cancel_reads))

    def _cancel_startup(self) -> None:
        if self.startup is not None:
            self.startup.cancel()
            self._timers.append(self._loop.call_later(_LONG_PATIENCE, self._cancel_startup))

    def _cancel_reads(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            if isinstance(task.get_coro(), _Reading) and task.cancelling():
                task.cancel()
        self._timers.append(self._loop.call_later(_PATIENCE, self._cancel_reads))
