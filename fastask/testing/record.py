"""What a test has sent: each task with its arguments, its state and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime
from time import monotonic
from typing import Any, Literal, TypeAlias

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage, TaskiqResult

from fastask.brokers.memory import MemoryResults
from fastask.brokers.once import SentOnce
from fastask.exceptions import FastaskError, TaskLoopError, TaskNotRunError
from fastask.task import Task

__all__ = ["Record", "RecordedResults", "SentTask", "State", "due_at", "loop_of", "running", "told"]

State: TypeAlias = Literal["waiting", "running", "succeeded", "failed"]

_MOST_LOOKS = 40  # at a result that nothing will bring, before a test is told

running: ContextVar[SentTask | None] = ContextVar("fastask_running", default=None)
"""The task that runs here, and so sends what is sent here."""

due_at: ContextVar[datetime | None] = ContextVar("fastask_due_at", default=None)
"""When the schedule that sends here is due."""


class SentTask:
    """A task that a test, the app or another task has sent.

    Attributes:
        task: the task; `None` if the broker has none of that name.
        name: its name.
        id: the id of the message.
        args: positional arguments, in the types of the task.
        kwargs: keyword arguments, likewise.
        labels: the labels of the message.
        state: `"waiting"`, `"running"`, `"succeeded"` or `"failed"`. A task that is to be run
            again waits.
        attempts: how often it was begun.
        duration: seconds of its last run; `None` before it has ended.
        sent: the tasks that it has sent itself.
        sender: the task that has sent it; `None` if it was no task.
        due_at: when its schedule was due, for what `tasks.due` has sent.
        raised: what `error` gives, for who does not look on behalf of the test.
        is_looked_at: whether the test has looked at its error.
    """

    def __init__(self, message: TaskiqMessage, broker: AsyncBroker) -> None:
        found: Any = broker.local_task_registry.get(message.task_name)
        found = found or broker.get_all_tasks().get(message.task_name)
        self.task: Any = found
        self.name: str = message.task_name
        self.id: str = message.task_id
        self.args: tuple[Any, ...] = tuple(message.args)
        self.kwargs: dict[str, Any] = dict(message.kwargs)
        if isinstance(found, Task):
            with suppress(FastaskError):  # what does not fit is kept as it came
                self.args, self.kwargs = found.received(message.args, message.kwargs)
        self.labels: dict[str, Any] = dict(message.labels)
        self.state: State = "waiting"
        self.attempts: int = 0
        self.duration: float | None = None
        self.sent: list[SentTask] = []
        self.sender: SentTask | None = running.get()
        self.due_at: datetime | None = due_at.get()
        self.is_looked_at: bool = False
        self._began = 0.0
        self._value: Any = None
        self.raised: BaseException | None = None

    @property
    def depth(self) -> int:
        """How many tasks are between it and what is no task."""
        return sum(1 for _ in _senders(self)) - 1

    @property
    def error(self) -> BaseException | None:
        """What it raised, or `None`; the test has looked at it then, so it is not raised."""
        self.is_looked_at = True
        return self.raised

    @property
    def result(self) -> Any:
        """What it returned, in the type of its return annotation.

        Raises:
            TaskNotRunError: it has not run.
            BaseException: what it raised.
        """
        if self.state in ("waiting", "running"):
            raise TaskNotRunError(self.name, self.state)
        if (error := self.error) is not None:
            raise error
        return self._value

    @property
    def unseen_error(self) -> BaseException | None:
        """What it raised, if nobody has looked at it."""
        return None if self.is_looked_at else self.raised

    def begin(self) -> None:
        """Note that a run begins."""
        self.state = "running"
        self.attempts += 1
        self._began = monotonic()

    def end(self, value: Any, error: BaseException | None) -> None:
        """Note what a run gave."""
        self.state = "succeeded" if error is None else "failed"
        self.duration = monotonic() - self._began
        self._value, self.raised = value, error
        self.is_looked_at = False  # a look at it before was none

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} ({self.state})>"


class Record:
    """All that was sent within one `ft.testing()`, in the order of sending.

    Args:
        broker: the broker of the tasks.

    Attributes:
        sent: the tasks.
        is_repeated: whether a message with an id of its sender's choice was sent before.
    """

    def __init__(self, broker: AsyncBroker) -> None:
        self.sent: list[SentTask] = []
        self._broker = broker
        self._by_id: dict[str, SentTask] = {}
        once = SentOnce()
        self.is_repeated: Callable[[BrokerMessage], bool] = once.is_repeated

    def note(self, data: bytes) -> SentTask:
        """Note a message: a new task, or a further attempt of one."""
        message = self._broker.formatter.loads(data)
        message.parse_labels()
        known = self._by_id.get(message.task_id)
        if known is not None and known.name == message.task_name:
            known.state = "waiting"
            return known
        sent = SentTask(message, self._broker)
        self._by_id[sent.id] = sent
        self.sent.append(sent)
        if sent.sender is not None:
            sent.sender.sent.append(sent)
        return sent

    def of_id(self, task_id: str) -> SentTask | None:
        """Find a task by the id of its message."""
        return self._by_id.get(task_id)

    def of_task(self, task: Any) -> list[SentTask]:
        """Give what was sent to a task, or to the name of one."""
        name = task if isinstance(task, str) else task.task_name
        return [sent for sent in self.sent if sent.name == name]

    def unseen_errors(self) -> dict[str, BaseException]:
        """Give the errors that nobody has looked at, by task and id."""
        found = {f"{sent.name} ({sent.id})": sent.unseen_error for sent in self.sent}
        return {name: error for name, error in found.items() if error is not None}


def loop_of(sent: SentTask) -> TaskLoopError:
    """Give the error that names the tasks which have sent each other."""
    names = [sender.name for sender in _senders(sent)]
    length = next((n for n in range(1, len(names)) if names[n] == names[0]), len(names) - 1)
    return TaskLoopError(names[length::-1])


def _senders(sent: SentTask) -> Iterator[SentTask]:
    """Give a task, the one that has sent it, and so on."""
    one: SentTask | None = sent
    while one is not None:
        yield one
        one = one.sender


class RecordedResults(MemoryResults):
    """Results in memory that are noted in the record, with what has looked at them.

    Args:
        record: the record.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(max_stored_results=-1)
        self._record = record
        self._looks: dict[str, int] = {}

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Keep a result, and note it."""
        sent = self._record.of_id(task_id)
        if sent is not None:
            value, error = result.return_value, result.error
            if error is None and isinstance(sent.task, Task):
                try:
                    value = sent.task.returned(value)
                except FastaskError as misfit:
                    value, error = None, misfit
            sent.end(value, error)
        await super().set_result(task_id, result)

    def looked_for(self, task_id: str) -> None:
        """Note that somebody waits for a result.

        Raises:
            TaskNotRunError: they have waited for long, and nothing runs the task.
        """
        sent = self._record.of_id(task_id)
        if sent is not None and sent.state != "running":
            self._looks[task_id] = self._looks.get(task_id, 0) + 1
            if self._looks[task_id] > _MOST_LOOKS:
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


def told(record: Record) -> str:
    """Give what was sent, for people: one line for each task, indented below its sender."""
    lines: list[str] = []

    def add(sent: SentTask, indent: str) -> None:
        took = "" if sent.duration is None else f", {sent.duration * 1000:.1f} ms"
        often = "" if sent.attempts <= 1 else f", {sent.attempts} attempts"
        error = "" if sent.raised is None else f": {type(sent.raised).__name__}: {sent.raised}"
        lines.append(f"{indent}{sent.name}  {sent.state}{often}{took}{error}")
        for below in sent.sent:
            add(below, f"{indent}  ")

    for sent in record.sent:
        if sent.sender is None or sent.sender not in record.sent:
            add(sent, "")
    return "\n".join(lines)
