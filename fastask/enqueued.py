"""The handle of a task that was sent: wait for it, and get its result typed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import isnan
from time import monotonic
from typing import Any, TypeVar

from taskiq import (
    AsyncResultBackend,
    AsyncTaskiqTask,
    ResultGetError,
    TaskiqResult,
)
from taskiq.result_backends.dummy import DummyResultBackend

from fastask.exceptions import (
    InvalidResultError,
    NoResultsError,
    RemoteError,
    ResultTimeoutError,
)
from fastask.failures import error_of, labels_of

__all__ = ["Enqueued"]

R = TypeVar("R")

# Seconds. Each look costs the result backend a read, so after a while pauses grow with
# what was waited: a result is seen late by less than a tenth of the time that it took, and
# a long wait costs few reads.
_SHORTEST, _LONGEST = 0.004, 0.3
_QUICK, _SHARE = 0.06, 0.09
_LOOK = 0.25  # seconds that a look may take, however little is left


class Enqueued(AsyncTaskiqTask[R]):
    """A task that was sent: Taskiq's handle, and `result()`.

    Args:
        task_id: the id of its message.
        result_backend: where its result will be.
        return_type: what the task is annotated to return.
        load: gives the value that a stored result holds; without it, Taskiq parses.
    """

    def __init__(
        self,
        task_id: str,
        result_backend: AsyncResultBackend[R],
        return_type: type[R] | None = None,
        load: Callable[[Any], R] | None = None,
    ) -> None:
        # What Taskiq's own __init__ does, without the call: `kiq` makes one each time.
        self.task_id: str = task_id
        self.result_backend: AsyncResultBackend[R] = result_backend
        self.return_type: type[R] | None = return_type
        self._load = load

    async def get_result(self, with_logs: bool = False) -> TaskiqResult[R]:
        """Give the result, with its value in the type of the task's return annotation.

        Args:
            with_logs: whether to fetch logs too, where the result backend has some.

        Returns:
            Taskiq's result. It is a failed one if the value does not fit the annotation.

        Raises:
            taskiq.ResultGetError: the result backend failed, or has no result yet.
        """
        if self._load is None:
            return await super().get_result(with_logs)
        try:
            stored = await self.result_backend.get_result(self.task_id, with_logs=with_logs)
        except Exception as cause:
            raise ResultGetError from cause
        # A copy: backends in memory give the very object that they keep.
        return stored.model_copy(update=_read(stored, self._load))

    async def result(self, *, timeout: float | None = None) -> R:
        """Wait for the task and give what it returned.

        Args:
            timeout: seconds to wait; `None` waits for ever.

        Returns:
            The value, in the type of the task's return annotation.

        Raises:
            NoResultsError: the broker keeps no results.
            ResultTimeoutError: the task did not end in time, or the result backend does not
                answer. With a timeout of 0 there is one look.
            TaskNotRunError: in a test, where nothing runs the task.
            taskiq.TaskiqError: the result backend failed.
            ValueError: `timeout` is no number of seconds.
            Exception: what the task raised; a `RemoteError` stands for what is no
                `Exception`, and for what can't be made here.
        """
        if isinstance(self.result_backend, DummyResultBackend):
            raise NoResultsError
        if timeout is not None and not _is_seconds(timeout):
            raise ValueError(f"timeout must be seconds, or None to wait for ever, not {timeout!r}")
        result = await self._waited(timeout)
        error = result.error
        if error is not None and not isinstance(error, Exception):
            name = f"{type(error).__module__}:{type(error).__qualname__}"
            raise RemoteError(name, str(error)) from error
        result.raise_for_error()
        return result.return_value

    async def _waited(self, timeout: float | None) -> TaskiqResult[R]:
        """Look until the result is there."""
        start = monotonic()
        # In a test, the result backend knows when nothing runs the task.
        looked_for: Any = getattr(self.result_backend, "looked_for", None)
        left = timeout
        while True:
            try:
                # A result backend that hangs would keep the caller for longer.
                async with asyncio.timeout(None if left is None else max(left, _LOOK)):
                    if await self.is_ready():
                        return await self.get_result()
            except TimeoutError:
                raise ResultTimeoutError(self.task_id, timeout or 0.0) from None
            if looked_for is not None:
                looked_for(self.task_id)
            waited = monotonic() - start
            pause = min(max(_SHORTEST, (waited - _QUICK) * _SHARE), _LONGEST)
            if timeout is not None:
                left = timeout - waited
                if left <= 0:
                    raise ResultTimeoutError(self.task_id, timeout)
                pause = min(pause, left)
            await asyncio.sleep(pause)


def _is_seconds(timeout: Any) -> bool:
    return isinstance(timeout, (int, float)) and not isnan(timeout)


def _read(stored: TaskiqResult[Any], load: Callable[[Any], Any]) -> dict[str, Any]:
    """What of a stored result is another thing for its reader."""
    given = {"error": error_of(stored), "labels": labels_of(stored)}
    if stored.is_err:
        return given
    try:
        return {**given, "return_value": load(stored.return_value)}
    except InvalidResultError as misfit:
        return {**given, "return_value": None, "error": misfit, "is_err": True}
