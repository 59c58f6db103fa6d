"""Threads for the blocking functions of tasks that wait for each other."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

from fastask.testing.record import running
from fastask.testing.underway import Underway

__all__ = ["Limiters", "OneThreadEach"]

P = ParamSpec("P")
R = TypeVar("R")

_THREADS = 40  # anyio's own limit


class Limiters:
    """The limits of threads of each event loop, in the place of a program's own.

    A task that runs inline may have a thread while it waits for the tasks that it sends. So
    these are not counted, nor are the threads of routes.

    Args:
        threads: how many blocking calls of tasks may run at once.

    Attributes:
        threads: the same, as a number.
    """

    def __init__(self, threads: int | None) -> None:
        self.threads: int = threads or _THREADS
        self._limits: RunVar[dict[bool, CapacityLimiter]] = RunVar("fastask_threads_of_tests")

    def get(self, default: object = None) -> CapacityLimiter:
        """Give the limiter of the running event loop, for the task that runs here."""
        sent = running.get()
        is_counted = sent is None or not sent.depth
        limits = self._limits.get(None)
        if limits is None:
            limits = {True: CapacityLimiter(self.threads), False: CapacityLimiter(math.inf)}
            self._limits.set(limits)
        return limits[is_counted]


class OneThreadEach(Executor):
    """Runs each function in a thread of its own, for plain tasks of the broker.

    Args:
        underway: where it is noted until it ends, though the task may end before.
        threads: how many functions run at once; those of what other tasks have sent don't count.
    """

    def __init__(self, underway: Underway, threads: int) -> None:
        self._underway = underway
        self._free = threads
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def submit(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Begin to run a function."""
        future: Future[R] = Future()
        sent = running.get()
        run = None if sent is None else self._underway.begin(sent)

        def work() -> None:
            try:
                if future.set_running_or_notify_cancel():
                    future.set_result(call(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
                future.set_exception(error)
            finally:
                if run is not None:
                    self._underway.end(run)

        if sent is not None and sent.depth:
            _start(work)
        else:
            self._start_in_turn(work)
        return future

    def _start_in_turn(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(work)
            if not self._free:
                return
            self._free -= 1
        _start(self._work_off)

    def _work_off(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._free += 1
                    return
                work = self._waiting.popleft()
            work()


def _start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="fastask task", daemon=True).start()
