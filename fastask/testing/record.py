"""What a test has sent: each task with its arguments, its state and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime
from time import monotonic
from typing import Any, Literal, NamedTuple, TypeAlias

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage

from fastask.brokers.once import SentOnce
from fastask.exceptions import FastaskError, TaskLoopError, TaskNotRunError
from fastask.shortening import in_one_line
from fastask.task import Task
from fastask.wire.errors import told

__all__ = ["Due", "Record", "SentTask", "State", "due", "listing", "loop_of", "looped", "running"]

State: TypeAlias = Literal["waiting", "running", "succeeded", "failed"]

_LONGEST = 400  # characters of what a task raised, or is named
_DEEPEST = 20  # indents of a line
_REQUEUED = "X-Taskiq-requeue"  # the label of a message that a task has sent of itself
_RETRIED = "_retries"  # and that of one that a retry middleware has sent

running: ContextVar[SentTask | None] = ContextVar("fastask_running", default=None)
"""The task that runs here, and so sends what is sent here."""


class Due(NamedTuple):
    """A schedule that is due.

    Attributes:
        at: when.
        sent: takes what it sends.
    """

    at: datetime
    sent: list[SentTask]


due: ContextVar[Due | None] = ContextVar("fastask_due", default=None)
"""The schedule that sends here."""


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
        is_requeued: whether it waits because it has put itself back, by `ctx.requeue()`.
        again: how often it was sent again, for a retry or by itself.
        is_lost: whether its run can't be waited for, so what becomes of it is not noted.
        is_inside: whether its function runs, so that it is no middleware that sends for it.
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
        self.due_at: datetime | None = None if (by := due.get()) is None else by.at
        self.is_looked_at: bool = False
        self.is_requeued: bool = False
        self.again: int = _again(message)
        self.is_lost: bool = False
        self.is_inside: bool = False
        self._began = 0.0
        self._value: Any = None
        self.raised: BaseException | None = None

    @property
    def depth(self) -> int:
        """How many tasks are between it and what is no task."""
        return sum(1 for _ in _senders(self)) - 1

    @property
    def is_below_itself(self) -> bool:
        """Whether a task of its name has led to it."""
        return any(sender.name == self.name for sender in _senders(self.sender))

    @property
    def root(self) -> SentTask:
        """The first in the chain of tasks that has led to it."""
        return [*_senders(self)][-1]

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
        """Note what a run gave, unless it is lost, and that was noted."""
        if self.is_lost:
            return
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
        known = self.of_id(message.task_id)
        if known is not None and _is_attempt(message, known):
            known.state = "waiting"
            known.is_requeued = _REQUEUED in message.labels
            known.again = _again(message)
            return known
        sent = SentTask(message, self._broker)
        self._by_id[sent.id] = sent
        self.sent.append(sent)
        if sent.sender is not None:
            sent.sender.sent.append(sent)
        if (by := due.get()) is not None:
            by.sent.append(sent)
        return sent

    def runs_another(self) -> bool:
        """Whether a task runs that does not wait for the code that asks."""
        mine = list(_senders(running.get()))
        return any(sent.state == "running" and sent not in mine for sent in self.sent)

    def of_id(self, task_id: str) -> SentTask | None:
        """Find a task by the id of its message: the one that runs here, or else the last one."""
        here = running.get()
        if here is not None and here.id == task_id and here in self.sent:
            return here
        return self._by_id.get(task_id)

    def of_task(self, task: Any) -> list[SentTask]:
        """Give what was sent to a task, or to the name of one."""
        name = task if isinstance(task, str) else task.task_name
        return [sent for sent in self.sent if sent.name == name]

    def unseen_errors(self) -> list[tuple[str, BaseException]]:
        """Give the errors that nobody has looked at, each with its task and id."""
        return [
            (in_one_line(f"{sent.name} ({sent.id})", _LONGEST), error)
            for sent in self.sent
            if (error := sent.unseen_error) is not None
        ]


def _is_attempt(message: TaskiqMessage, known: SentTask) -> bool:
    """Whether a message is a retry of a task, and not a new one of the same id."""
    if message.task_name != known.name:
        return False
    # A middleware that retries may count in a label of its own.
    is_by_middleware = known is running.get() and not known.is_inside
    return is_by_middleware or _again(message) > known.again


def _again(message: TaskiqMessage) -> int:
    """Give how often a task was sent again; the broker's formatter has seen to the numbers."""
    return sum(int(message.labels.get(name, 0)) for name in (_RETRIED, _REQUEUED))


def loop_of(waiting: Sequence[SentTask]) -> TaskLoopError:
    """Give the error that names tasks which have sent each other, or else one of too many.

    Args:
        waiting: what is to be run, at least one.
    """
    return TaskLoopError(next(filter(None, map(looped, waiting)), [waiting[0].name]))


def looped(sent: SentTask) -> list[str]:
    """Give the last loop in the chain of tasks that has led to one; nothing if there is none."""
    if sent.is_requeued:
        return [sent.name, sent.name]
    names: list[str] = []  # the last one first
    for sender in _senders(sent):
        names.append(sender.name)
        if (first := names.index(sender.name)) < len(names) - 1:
            return names[first:][::-1]
    return []


def _senders(sent: SentTask | None) -> Iterator[SentTask]:
    """Give a task, the one that has sent it, and so on."""
    while sent is not None:
        yield sent
        sent = sent.sender


def listing(record: Record, before: int = 0) -> str:
    """Give what was sent, for people: one line for each task, indented below its sender.

    Args:
        record: what was sent.
        before: how many of the first ones are left out.
    """
    listed = record.sent[before:]
    known = set(listed)
    lines: list[str] = []
    left = [(sent, 0) for sent in reversed(listed) if sent.sender not in known]
    while left:  # chains may be longer than Python's stack
        sent, depth = left.pop()
        lines.append(f"{'  ' * min(depth, _DEEPEST)}{_line(sent)}")
        left += [(below, depth + 1) for below in reversed(sent.sent)]
    return "\n".join(lines)


def _line(sent: SentTask) -> str:
    name = in_one_line(sent.name, _LONGEST)
    took = "" if sent.duration is None else f", {sent.duration * 1000:.1f} ms"
    often = "" if sent.attempts <= 1 else f", {sent.attempts} attempts"
    error = ""
    if sent.raised is not None:
        error = f": {type(sent.raised).__name__}: {in_one_line(told(sent.raised, str), _LONGEST)}"
    return f"{name}  {sent.state}{often}{took}{error}"
