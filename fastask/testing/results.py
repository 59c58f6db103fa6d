"""Results that are kept as in production, and noted in the record of a test."""

from __future__ import annotations

import inspect
from time import monotonic
from typing import Any, Self

from pydantic import TypeAdapter
from taskiq import AsyncBroker, AsyncTaskiqTask, TaskiqResult, gather
from taskiq.abc.serializer import TaskiqSerializer

from fastask.brokers.memory import MemoryResults
from fastask.exceptions import FastaskError, TaskNotRunError
from fastask.task import Task
from fastask.testing.record import Record, SentTask

__all__ = ["RecordedResults"]

# How often and how long somebody looks for a result that nothing will bring, before they
# are told: Enqueued.result() looks often, Taskiq's wait_result() five times in a second.
_MOST_LOOKS = 40
_FEWEST_LOOKS, _LONGEST_WAIT = 3, 0.5  # seconds

_WAIT_RESULT = AsyncTaskiqTask.wait_result.__code__


class RecordedResults(MemoryResults):
    """Results that are made into bytes and read again, with what has looked at them.

    Args:
        record: the record.
        serializer: makes them into bytes.

    Attributes:
        serializer: the same.
    """

    def __init__(self, record: Record, serializer: TaskiqSerializer) -> None:
        super().__init__(max_stored_results=-1)
        self.serializer = serializer
        self._record = record
        self._looks: dict[str, tuple[int, float]] = {}

    @classmethod
    def instead_of(cls, broker: AsyncBroker, record: Record) -> Self:
        """Make those that take the place of a broker's own."""
        serializer = getattr(broker.result_backend, "serializer", None)
        return cls(record, serializer or broker.serializer)

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Keep a result, and note it.

        Raises:
            Exception: it can't be made into bytes; the task has failed then.
        """
        sent = self._record.of_id(task_id)
        try:
            kept = self._stored(result)
        except Exception as error:
            error.add_note("the task returned what its result backend could not store")
            failed = {"return_value": None, "error": error, "is_err": True}
            await super().set_result(task_id, result.model_copy(update=failed))
            if sent is not None:
                sent.end(None, error)
            raise
        if sent is not None:
            _note(sent, kept)
        await super().set_result(task_id, kept)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result.

        Raises:
            TaskNotRunError: Taskiq has waited for long, and nothing runs the task.
        """
        is_ready = await super().is_result_ready(task_id)
        if not is_ready and _is_waited_for():
            self.looked_for(task_id)
        return is_ready

    def looked_for(self, task_id: str) -> None:
        """Note that somebody waits for a result.

        Raises:
            TaskNotRunError: they have waited for long, and nothing runs the task.
        """
        sent = self._record.of_id(task_id)
        if sent is None:
            return
        if sent.state == "running" or self._record.runs_another():
            self._looks.pop(task_id, None)
            return
        looks, since = self._looks.get(task_id, (0, monotonic()))
        self._looks[task_id] = (looks + 1, since)
        is_long = looks >= _FEWEST_LOOKS and monotonic() - since > _LONGEST_WAIT
        if is_long or looks >= _MOST_LOOKS:
            raise TaskNotRunError(sent.name, sent.state)

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[Any]:
        """Give a result; whoever asks has looked at its error.

        Raises:
            KeyError: there is none.
        """
        result = await super().get_result(task_id, with_logs)
        if (sent := self._record.of_id(task_id)) is not None:
            sent.is_looked_at = True
        return result

    def _stored(self, result: TaskiqResult[Any]) -> TaskiqResult[Any]:
        """Give a result as it comes back; an error is kept itself, with its traceback."""
        if result.error is not None:
            return result
        form = result.model_dump(mode="json", include={"return_value"})  # as result backends do
        value = self.serializer.loadb(self.serializer.dumpb(form))["return_value"]
        return result.model_copy(update={"return_value": value})


def _note(sent: SentTask, result: TaskiqResult[Any]) -> None:
    value, error = result.return_value, result.error
    if error is None and isinstance(sent.task, Task):
        try:
            value = sent.task.returned(value)
        except FastaskError as misfit:
            value, error = None, misfit
    elif error is None:
        value = _typed(value, getattr(sent.task, "return_type", None))
    sent.end(value, error)


def _typed(value: Any, annotation: Any) -> Any:
    """Give a value in its type, or as it is, as Taskiq's own handle does."""
    if annotation is None:
        return value
    try:
        return TypeAdapter(annotation).validate_python(value)
    except Exception:  # noqa: BLE001 - the annotation is the user's
        return value


def _is_waited_for() -> bool:
    """Whether Taskiq's own waiting looks here: it looks as others do (taskiq 0.13)."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is _WAIT_RESULT or frame.f_globals is gather.__globals__:
            return True
        frame = frame.f_back
    return False
