"""What runs now, so that a test is not left before it has ended."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from anyio import CancelScope
from taskiq import TaskiqResult
from taskiq.receiver import Receiver

from fastask.signatures import Kind, kind_of
from fastask.testing.loops import running_loop, this_loop
from fastask.testing.record import SentTask, running

if sys.version_info >= (3, 13):  # as Taskiq's receiver tells how to call a function
    from inspect import iscoroutinefunction
else:
    from asyncio import iscoroutinefunction

__all__ = ["Begun", "TestReceiver", "Underway"]

logger: logging.Logger = logging.getLogger("fastask.testing")

_PATIENCE = 10.0  # seconds that a task has when the test has ended
_PATIENCE_FAILED = 0.5  # and when it has failed
_PAUSE = 0.005  # seconds


class Begun:
    """One run of a task, from its sender's call to its end.

    Attributes:
        sent: the task.
        loop: the event loop in which it runs; at first that of its sender.
    """

    def __init__(self, sent: SentTask) -> None:
        self.sent = sent
        self.loop: asyncio.AbstractEventLoop = this_loop()
        self._scope: CancelScope | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    def begin(self) -> CancelScope:
        """Give the scope in which it is to run, here.

        Raises:
            RuntimeError: it was cancelled before.
        """
        if self._is_cancelled:
            raise _refused(self.sent)
        self.loop, self._scope = this_loop(), CancelScope()
        self._task = asyncio.current_task()
        return self._scope

    def cancel(self) -> None:
        """Cancel it, from any thread.

        A coroutine once, so that it may await something when it cleans up; when asked again, for
        good. A blocking function by its scope, so that it ends after its thread, which may be
        about to send something; `asyncio.Task.cancel` would not wait for that.
        """
        is_first, self._is_cancelled = not self._is_cancelled, True
        if self._scope is None or self._task is None:
            return
        is_once = is_first and _is_coroutine(self.sent)
        cancel: Callable[[], object] = self._task.cancel if is_once else self._scope.cancel
        with suppress(RuntimeError):  # of a loop that is closed
            self.loop.call_soon_threadsafe(cancel)


class Underway:
    """The runs of one `ft.testing()` that have not ended.

    Args:
        is_going_on: whether another run is about to begin.

    Attributes:
        has_failed: whether the test has, so that what runs gets less time.
    """

    def __init__(self, is_going_on: Callable[[], bool]) -> None:
        self.has_failed: bool = False
        self._is_going_on = is_going_on
        self._runs: set[Begun] = set()
        self._is_cancelled = False
        self._until = 0.0

    def begin(self, sent: SentTask) -> Begun:
        """Note a run.

        Raises:
            RuntimeError: what runs is being cancelled; or no event loop of asyncio runs here.
        """
        run = Begun(sent)
        if self._is_cancelled:
            raise _refused(sent)
        self._runs.add(run)
        return run

    def end(self, run: Begun) -> None:
        """Note that a run has ended."""
        self._runs.discard(run)

    async def ended(self, error: BaseException | None) -> None:
        """Wait until nothing runs, and cancel what takes too long.

        Args:
            error: what the test raised. Where it was stopped, there is no waiting.
        """
        cancelled: asyncio.CancelledError | None = None
        for pause in self._pauses(error, None):
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError as again:
                self._until, cancelled = 0.0, again
        if cancelled is not None:
            raise cancelled

    def wait(self, error: BaseException | None) -> None:
        """Do so in a plain function; what runs in the event loop that this blocks is lost."""
        for pause in self._pauses(error, running_loop()):
            time.sleep(pause)

    def _pauses(
        self, error: BaseException | None, blocked: asyncio.AbstractEventLoop | None
    ) -> Iterator[float]:
        is_stopped = error is not None and not isinstance(error, Exception)
        is_failed = self.has_failed or error is not None
        patience = min(_PATIENCE, _PATIENCE_FAILED) if is_failed else _PATIENCE
        self._until = 0.0 if is_stopped else monotonic() + patience
        if not is_stopped:
            yield 0  # in which an asyncio task that was just created begins
        while self._awaited(blocked) or (self._is_going_on() and blocked is None):
            if monotonic() >= self._until:
                break
            yield _PAUSE
        late = [*self._runs]
        if not late:
            return
        self._is_cancelled = True
        try:
            yield from self._cancelled(late, blocked)
        finally:
            self._is_cancelled = False

    def _cancelled(
        self, late: list[Begun], blocked: asyncio.AbstractEventLoop | None
    ) -> Iterator[float]:
        for run in late:
            run.cancel()
        tell_at = monotonic() + _PATIENCE
        while names := self._awaited(blocked):
            if monotonic() > tell_at:
                tell_at += _PATIENCE
                logger.warning("ft.testing() waits for what can't be cancelled: %s", names)
                for run in late:
                    run.cancel()
            yield _PAUSE
        for run in late:
            run.sent.end(None, _still_running(run.sent))
            run.sent.is_lost = run in self._runs
        self._runs.difference_update(late)

    def _awaited(self, blocked: asyncio.AbstractEventLoop | None) -> list[str]:
        """Give the tasks whose event loop runs, so that they can end."""
        return [
            run.sent.name
            for run in [*self._runs]
            if run.loop.is_running() and run.loop is not blocked
        ]


class TestReceiver(Receiver):
    """Taskiq's own, which goes no further where nobody can wait for it.

    What a test has replaced is put back then.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    async def run_task(self, target: Any, *args: Any, **kwargs: Any) -> TaskiqResult[Any]:
        """Run a task.

        Raises:
            asyncio.CancelledError: nobody waits for it any more.
        """
        result = await super().run_task(_noted(target), *args, **kwargs)
        if (sent := running.get()) is not None and sent.is_lost:
            raise asyncio.CancelledError
        return result


def _is_coroutine(sent: SentTask) -> bool:
    """Whether the function of a task is one, as it was written."""
    function = getattr(sent.task, "func", None) or getattr(sent.task, "original_func", None)
    return function is not None and kind_of(function) is Kind.ASYNC


def _noted(target: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that notes when it runs; before and after that, middlewares send."""
    if (sent := running.get()) is None:
        return target

    @functools.wraps(target)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        with _inside(sent):
            return await target(*args, **kwargs)

    @functools.wraps(target)
    def called(*args: Any, **kwargs: Any) -> Any:
        with _inside(sent):
            return target(*args, **kwargs)

    return awaited if iscoroutinefunction(target) else called


@contextmanager
def _inside(sent: SentTask) -> Iterator[None]:
    sent.is_inside = True
    try:
        yield
    finally:
        sent.is_inside = False


def _refused(sent: SentTask) -> RuntimeError:
    return RuntimeError(
        f"task {sent.name!r} does not run, as ft.testing() is being left; "
        "let the test wait for what sends it"
    )


def _still_running(sent: SentTask) -> RuntimeError:
    return RuntimeError(
        f"task {sent.name!r} still ran when ft.testing() was left, and was cancelled; "
        "let the test wait for what has sent it"
    )
