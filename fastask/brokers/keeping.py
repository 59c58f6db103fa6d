"""A result that can't be saved is tried again; then its task runs again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from taskiq import AsyncBroker, TaskiqResult

from fastask.brokers.inbox import Inbox, put_off
from fastask.brokers.lifecycle import BrokerLifecycle
from fastask.context import message_context
from fastask.masking import masked

__all__ = ["ResultKeeper"]

logger: logging.Logger = logging.getLogger("fastask.worker")

_PATIENCE = 30.0  # seconds
_REST = 60.0  # seconds until a task whose result could not be saved runs again
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds
# What another attempt would not change: the value is no good, not the server.
_FINAL = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)


class ResultKeeper:
    """Keeps Taskiq from acknowledging a message whose result could not be saved.

    Taskiq logs the error, acknowledges the message, and the result is lost (taskiq 0.13).

    Args:
        broker: the broker whose results they are.
        lifecycle: tells when to stop.
    """

    def __init__(self, broker: AsyncBroker, lifecycle: BrokerLifecycle) -> None:
        self._broker = broker
        self._lifecycle = lifecycle
        self._backend: Any = None
        self._set: Callable[[str, TaskiqResult[Any]], Awaitable[None]]

    def install(self) -> None:
        """Keep results from now on."""
        self._backend = self._broker.result_backend
        self._set = self._backend.set_result
        self._backend.set_result = self._kept

    def remove(self) -> None:
        """Undo `install`."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.set_result = self._set

    async def _kept(self, task_id: str, result: TaskiqResult[Any]) -> None:
        give_up = monotonic() + _PATIENCE
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._set(task_id, result)
            except _FINAL:
                raise
            except Exception as error:
                if monotonic() >= give_up or self._lifecycle.is_stopping:
                    raise await self._given_up(task_id, error) from error
                if pause == _FIRST_PAUSE:
                    told = _told(error)
                    logger.warning("the result of task %s is not saved yet (%s)", task_id, told)
            await self._lifecycle.pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _given_up(self, task_id: str, error: Exception) -> BaseException:
        """Give what ends the processing of a message: unacknowledged, if it can be."""
        context = message_context()
        if context is None or not context.is_ackable or context.is_acked:
            return error
        logger.error(
            "the result of task %s could not be saved (%s); its message is not acknowledged, "
            "so the task will run again",
            task_id,
            _told(error),
        )
        if isinstance(getattr(self._broker, "inbox", None), Inbox):
            await put_off(context.ack, _REST)  # its start is none that killed a worker
        return asyncio.CancelledError()  # Taskiq acknowledges after any `Exception`


def _told(error: Exception) -> str:
    words = " ".join(masked(str(error)).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
