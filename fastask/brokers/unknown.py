"""Messages for tasks that this process does not know, as in a rolling deploy."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import CancelScope
from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, NoResultError
from taskiq.acks import AcknowledgeType
from taskiq.kicker import AsyncKicker

from fastask.brokers.unreadable import INVALID_MESSAGE
from fastask.context import current_context
from fastask.exceptions import DeadLetterError, InvalidMessageError, UnknownTaskError
from fastask.shortening import in_one_line, shortened

__all__ = ["RefusingTask", "UnknownTasks", "dead_letter"]

logger: logging.Logger = logging.getLogger("fastask.worker")

Found = AsyncTaskiqDecoratedTask[Any, Any] | None

_HAND_BACKS = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 4.0  # seconds
_SHOWN = 200  # characters of what another client has sent
_DEAD_LETTER = "fastask:dead_letter"  # the task that fails in the place of one that was given up
_COUNT = "X-Taskiq-requeue"  # the label in which Taskiq's `Context.requeue` counts, too


class UnknownTasks:
    """Hands messages for unknown tasks back to the broker, so that other workers get them.

    Taskiq acknowledges and drops them (taskiq 0.13): in a rolling deploy the old workers
    would eat the new tasks. After ten times, with pauses that grow to about 4 s, the task fails.

    Args:
        broker: the broker.
        pause: waits for some seconds, unless the worker is told to stop.
    """

    def __init__(self, broker: AsyncBroker, pause: Callable[[float], Awaitable[None]]) -> None:
        self._broker = broker
        self._pause = pause
        self._find: Callable[[str], Found] = broker.find_task

    def install(self) -> None:
        """Have the broker find a task for every name."""
        if getattr(self._broker.find_task, "__self__", None) is self:
            return
        self._find = self._broker.find_task
        replaced: Any = self._broker
        replaced.find_task = self._found

    def remove(self) -> None:
        """Undo `install`."""
        replaced: Any = self._broker
        replaced.find_task = self._find

    def _found(self, name: str) -> Found:
        return self._find(name) or RefusingTask(self._broker, name, self._hand_back)

    async def _hand_back(self) -> None:
        context = current_context()
        count = int(context.message.labels.pop(_COUNT, 0))
        if count >= _HAND_BACKS:
            return
        if count == 0:
            logger.warning(
                "no task is named %r here; message %s is handed back for other workers",
                shortened(context.message.task_name, _SHOWN),
                in_one_line(context.message.task_id, _SHOWN),
            )
        again = AsyncKicker[Any, Any](context.message.task_name, self._broker, {})
        again = again.with_task_id(context.message.task_id)
        labels = {name: value for name, value in context.message.labels.items() if name != "delay"}
        again = again.with_labels(**labels, **{_COUNT: count + 1})
        # Shielded from the timeout of the task, which is about its run.
        with CancelScope(shield=True):
            await self._pause(_pause_after(count))
            await again.kiq(*context.message.args, **context.message.kwargs)
            if context.is_ackable:  # with `ack_type="manual"` nobody else would
                await context.ack()
        raise NoResultError


def _pause_after(count: int) -> float:
    """Seconds for which a message is held that was handed back so often.

    They vary: a server gives a message to whoever has waited longest, and readers that ask again
    every 2 s (taskiq-redis 1.2) would see to it that after 4.0 s it is the same one each time.
    """
    pause: float = min(_FIRST_PAUSE * 2**count, _LONGEST_PAUSE)
    return pause * random.uniform(0.75, 1.25)  # noqa: S311 - nobody has to be surprised


def dead_letter(broker: AsyncBroker, data: bytes, starts: int) -> bytes | None:
    """Give the message of a task that fails, in the place of one that is given up.

    Args:
        broker: the broker, which reads and writes messages.
        data: the message that is given up.
        starts: how often its task was started.

    Returns:
        Nothing if nobody can be told, as the message has no id.
    """
    try:
        message = broker.formatter.loads(data)
    except Exception:  # noqa: BLE001 - a serializer may raise anything
        return None
    logger.error(
        "task %s (%s) was started %d times and never came to an end; it is a dead letter now",
        in_one_line(message.task_name, _SHOWN),
        in_one_line(message.task_id, _SHOWN),
        starts,
    )
    failing = message.model_copy(
        update={
            "task_name": _DEAD_LETTER,
            "labels": {"ack_type": AcknowledgeType.WHEN_SAVED.value},
            "labels_types": None,
            "args": [in_one_line(message.task_name, _SHOWN), starts],
            "kwargs": {},
        }
    )
    return broker.formatter.dumps(failing).message


class RefusingTask(AsyncTaskiqDecoratedTask[Any, Any]):
    """Stands for a task that is not there: it fails and names similar ones.

    For a message that is no good it fails with what is wrong with that.

    Args:
        broker: the broker whose tasks are there.
        name: the task's name.
        before: awaited before it fails.
    """

    def __init__(
        self, broker: AsyncBroker, name: str, before: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        # Not Taskiq's own __init__, which puts the function into a module under a new name.
        self.broker = broker
        self.task_name = name
        self.labels: dict[str, Any] = {}
        self.return_type: Any = None
        self._before = before
        self.original_func: Callable[..., Any] = self._refuse

    async def _refuse(self, *args: Any, **kwargs: Any) -> None:
        if self.task_name == INVALID_MESSAGE:
            is_ours = len(args) == 2  # anybody can send to this name
            task, reason = args if is_ours else (self.task_name, "its task has no such arguments")
            raise InvalidMessageError(str(task), str(reason))
        if self.task_name == _DEAD_LETTER and len(args) == 2 and isinstance(args[1], int):
            raise DeadLetterError(str(args[0]), args[1])
        if self._before is not None:
            await self._before()
        near = _near(self.task_name, list(self.broker.get_all_tasks()))
        raise UnknownTaskError(self.task_name, near)


def _near(name: str, names: list[str]) -> list[str]:
    """Names that are similar, as a whole or in what follows the module."""
    from difflib import get_close_matches  # noqa: PLC0415 - takes long to load, is seldom needed

    ends = {known.rpartition(":")[2]: known for known in names}
    near = get_close_matches(name, names, cutoff=0.85)
    near += [ends[end] for end in get_close_matches(name.rpartition(":")[2], ends)]
    return list(dict.fromkeys(near))
