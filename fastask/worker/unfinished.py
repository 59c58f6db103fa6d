"""Tasks that are still running when a worker stops."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from typing import Any

from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.receiver import Receiver

from fastask.context import message_context

__all__ = ["abandon", "leave_threads_behind"]

logger: logging.Logger = logging.getLogger("fastask.worker")

_GRACE = 1.0  # seconds


async def abandon(broker: AsyncBroker) -> bool:
    """Cancel the tasks that Taskiq has stopped to wait for (`--wait-tasks-timeout`).

    Their dependencies are closed. They get no result and are not acknowledged, so that a
    broker that can delivers them again.

    Args:
        broker: the broker whose messages they are.

    Returns:
        Whether there were any; what they had running in threads may still be running.
    """
    running = {task: name for task in asyncio.all_tasks() if (name := _message(task, broker))}
    if not running:
        return False
    # Middlewares are called from the last to the first, and read anew for each call.
    broker.middlewares.append(unfinished := _Unfinished())
    try:
        for task in running:
            task.cancel()
        _, left = await asyncio.wait(running, timeout=_GRACE)
    finally:
        broker.middlewares.remove(unfinished)
    for task in left:
        logger.error("task %s does not end when it is cancelled; it is left behind", running[task])
    return True


def leave_threads_behind() -> None:
    """End the process with its main thread, though other threads are still running."""
    threading.Thread(target=_exit_after_main, name="fastask exit", daemon=True).start()


class _Unfinished(TaskiqMiddleware):
    """Keeps Taskiq from saving and acknowledging what was cancelled."""

    def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        """End the processing of the message, before any other middleware is told.

        Raises:
            asyncio.CancelledError: always.
        """
        context = message_context()
        is_acked = context is not None and context.is_acked
        logger.warning(
            "task %s (%s) did not end in time and is cancelled; it %s",
            message.task_name,
            message.task_id,
            "was acknowledged before, so it is lost" if is_acked else "is not acknowledged",
        )
        raise asyncio.CancelledError


def _message(task: asyncio.Task[Any], broker: AsyncBroker) -> str:
    """Name the message that an asyncio task processes; nothing if it does none of the broker.

    Taskiq keeps these tasks to itself, so the frame of its `callback` is looked at: `self`
    and `taskiq_msg` in it are private (taskiq 0.13).
    """
    coroutine: Any = task.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    if frame is None or coroutine.__name__ != "callback":
        return ""
    receiver, message = frame.f_locals.get("self"), frame.f_locals.get("taskiq_msg")
    if not isinstance(receiver, Receiver) or receiver.broker is not broker:
        return ""
    return f"{message.task_name} ({message.task_id})" if message is not None else "?"


def _exit_after_main() -> None:
    threading.main_thread().join()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
