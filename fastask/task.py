"""The typed handle of a task: enqueue it, schedule it, run it, or call its function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from functools import update_wrapper
from inspect import Signature
from time import monotonic
from typing import Any, Generic, ParamSpec, Self, TypeVar

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask, AsyncTaskiqTask, Context, ScheduleSource
from taskiq.kicker import AsyncKicker
from taskiq.message import TaskiqMessage
from taskiq.scheduler.created_schedule import CreatedSchedule
from taskiq.scheduler.scheduled_task import CronSpec

from fastask.brokers.unbound import UNBOUND
from fastask.context import current_context
from fastask.definition import Definition
from fastask.exceptions import ResultTimeoutError
from fastask.markers import Marker
from fastask.program import Program
from fastask.retries import RetryPolicy
from fastask.wire import ArgumentsWire

__all__ = ["AsyncTask", "Enqueued", "Kicker", "Schedule", "SyncTask", "Task"]

P = ParamSpec("P")
R = TypeVar("R")

_FIRST_POLL, _LAST_POLL = 0.002, 0.25  # seconds
_SHOWN = ("__module__", "__name__", "__qualname__", "__doc__")


class Enqueued(AsyncTaskiqTask[R]):
    """A task that was sent: Taskiq's handle, and `result()`."""

    async def result(self, *, timeout: float | None = None) -> R:
        """Wait for the task and give what it returned.

        Args:
            timeout: seconds to wait; `None` waits for ever.

        Returns:
            The value, in the type of the task's return annotation.

        Raises:
            ResultTimeoutError: the task did not end in time.
            taskiq.ResultGetError: the result backend failed.
            BaseException: what the task raised.
        """
        give_up = None if timeout is None else monotonic() + timeout
        pause = _FIRST_POLL
        while not await self.is_ready():
            left = _LAST_POLL if give_up is None else give_up - monotonic()
            if timeout is not None and left <= 0:
                raise ResultTimeoutError(self.task_id, timeout)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LAST_POLL)
        result = await self.get_result()
        result.raise_for_error()
        return result.return_value


class Schedule(CreatedSchedule[Any], Generic[R]):
    """A schedule that was made: Taskiq's handle, typed."""

    def __init__(self, created: CreatedSchedule[Any]) -> None:
        super().__init__(created.kicker, created.source, created.task)

    async def kiq(self) -> Enqueued[R]:
        """Send the task now, as if it were not scheduled.

        Raises:
            InvalidArgumentsError: the scheduled arguments don't fit the task any more.
            taskiq.SendTaskError: the broker did not take the message.
        """
        sent = await self.kicker.kiq(*self.task.args, **self.task.kwargs)
        return _enqueued(sent)


class Kicker(AsyncKicker[P, Any], Generic[P, R]):
    """A sending that can be changed before it is done: Taskiq's kicker, typed and checked."""

    def __init__(self, definition: Definition, broker: AsyncBroker, labels: dict[str, Any]) -> None:
        super().__init__(definition.name, broker, labels, definition.return_type)
        self._definition = definition

    def with_labels(self, **labels: str | float) -> Self:
        """Add labels to this message."""
        super().with_labels(**labels)
        return self

    def with_task_id(self, task_id: str | None) -> Self:
        """Give the message an id of the caller's choice."""
        super().with_task_id(task_id)
        return self

    def with_schedule_id(self, schedule_id: str) -> Self:
        """Give the schedule an id of the caller's choice."""
        super().with_schedule_id(schedule_id)
        return self

    def with_broker(self, broker: AsyncBroker) -> Self:
        """Send through another broker."""
        super().with_broker(broker)
        return self

    async def kiq(self, /, *args: P.args, **kwargs: P.kwargs) -> Enqueued[R]:
        """Check the arguments and send the task.

        Returns:
            A handle that waits for the result.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown or of a wrong type;
                nothing was sent.
            taskiq.SendTaskError: the broker did not take the message.
        """
        sent_args, sent_kwargs = self._definition.arguments.dump(args, kwargs)
        taskiqs: Any = super()
        return _enqueued(await taskiqs.kiq(*sent_args, **sent_kwargs))

    async def schedule_by_cron(
        self, source: ScheduleSource, cron: str | CronSpec, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Check the arguments and have the task sent whenever `cron` matches.

        Args:
            source: where the schedule is kept.
            cron: a cron expression or Taskiq's `CronSpec`.
            *args: the task's arguments.
            **kwargs: the task's keyword arguments.

        Raises:
            InvalidArgumentsError: the arguments don't fit the task; nothing was scheduled.
        """
        sent_args, sent_kwargs = self._definition.arguments.dump(args, kwargs)
        taskiqs: Any = super()
        return Schedule(await taskiqs.schedule_by_cron(source, cron, *sent_args, **sent_kwargs))

    async def schedule_by_interval(
        self, source: ScheduleSource, interval: int | timedelta, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Check the arguments and have the task sent every `interval` (seconds, if a number).

        Raises:
            InvalidArgumentsError: the arguments don't fit the task; nothing was scheduled.
        """
        sent_args, sent_kwargs = self._definition.arguments.dump(args, kwargs)
        taskiqs: Any = super()
        return Schedule(
            await taskiqs.schedule_by_interval(source, interval, *sent_args, **sent_kwargs)
        )

    async def schedule_by_time(
        self, source: ScheduleSource, time: datetime, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Check the arguments and have the task sent once, at `time`.

        Raises:
            InvalidArgumentsError: the arguments don't fit the task; nothing was scheduled.
        """
        sent_args, sent_kwargs = self._definition.arguments.dump(args, kwargs)
        taskiqs: Any = super()
        return Schedule(await taskiqs.schedule_by_time(source, time, *sent_args, **sent_kwargs))


class Task(AsyncTaskiqDecoratedTask[P, Any], Generic[P, R]):
    """A function that can be sent to a worker.

    Made by `@ft.task` and `@router.task`. It is Taskiq's decorated task, so Taskiq's own
    tools accept it. Calling it calls the plain function.

    Attributes:
        func: the function as it is written.
        task_name: its name, `module:function` unless another one was given.
        labels: what Taskiq and its middlewares read.
        retry: when it is run again after an error.
    """

    def __init__(
        self, definition: Definition, labels: dict[str, Any], retry: RetryPolicy | None = None
    ) -> None:
        # Not Taskiq's own __init__: it renames the user's function and puts a second name
        # into the module (for process pools), which a target made here does not need.
        self.broker: AsyncBroker = UNBOUND
        self.task_name: str = definition.name
        self.labels = labels
        self.retry: RetryPolicy | None = retry
        self._target = _target(self, definition)
        self.original_func: Callable[..., Any] = self._target
        self.return_type: Any = None
        self.func: Callable[..., Any] = definition.func
        self._definition = definition
        update_wrapper(self, definition.func, updated=())

    @property
    def is_bound(self) -> bool:
        """Whether the task belongs to a `FastTask`, as one of a router does when included."""
        return self._definition.is_bound

    def bind(self, program: Program, before: Sequence[Marker] = (), prefix: str = "") -> None:
        """Make it a task of a program; `FastTask` does it.

        Args:
            program: the app and its broker.
            before: dependencies that are resolved before the task's own.
            prefix: put before its name, with a colon.
        """
        self._definition.bind(program, before, prefix)
        self.task_name = self._definition.name
        self.broker = program.broker

    async def kiq(self, /, *args: P.args, **kwargs: P.kwargs) -> Enqueued[R]:
        """Check the arguments and send the task to a worker.

        Injected parameters are left out; the worker fills them.

        Returns:
            A handle that waits for the result.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown or of a wrong type;
                nothing was sent.
            taskiq.SendTaskError: the broker did not take the message.
        """
        return await self.kicker().kiq(*args, **kwargs)

    def kicker(self) -> Kicker[P, R]:
        """Give a sending to change before it is done: labels, id, broker."""
        labels = dict(self.labels)
        labels.pop("schedule", None)  # the scheduler's business, and no part of a message
        return Kicker(self._definition, self.broker, labels)

    def probe(self) -> ArgumentsWire:
        """Read the parameters of messages, and keep nothing of it.

        Raises:
            UnresolvableTasksError: an annotation can't be used, or not yet.
        """
        return self._definition.copy().arguments

    def scheduled(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Check the arguments of a schedule, and give them as a message has them.

        Raises:
            InvalidArgumentsError: they don't fit.
            UnresolvableTasksError: an annotation can't be used.
        """
        return self._definition.arguments.dump(args, kwargs)

    async def run(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task here and now, with its dependencies resolved and without a broker.

        The app's lifespan is not entered: what dependencies find in `app.state` is what is
        there now.

        Returns:
            What the function returns, as it is.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown or of a wrong type.
            UnresolvableTasksError: a parameter can't be given.
            BaseException: what the task or a dependency raises.
        """
        returned: R = await self._definition.run(args, kwargs, self._own_context)
        return returned

    async def schedule_by_cron(
        self, source: ScheduleSource, cron: str | CronSpec, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Have the task sent whenever `cron` matches; see `Kicker.schedule_by_cron`."""
        return await self.kicker().schedule_by_cron(source, cron, *args, **kwargs)

    async def schedule_by_interval(
        self, source: ScheduleSource, interval: int | timedelta, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Have the task sent every `interval`; see `Kicker.schedule_by_interval`."""
        return await self.kicker().schedule_by_interval(source, interval, *args, **kwargs)

    async def schedule_by_time(
        self, source: ScheduleSource, time: datetime, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Have the task sent once, at `time`; see `Kicker.schedule_by_time`."""
        return await self.kicker().schedule_by_time(source, time, *args, **kwargs)

    def compile(self) -> None:
        """Read everything a run needs, as a worker does when it starts.

        Raises:
            UnresolvableTasksError: a parameter can't be given; it names the whole chain.
        """
        self._definition.compile()
        if (written := self._definition.written_out(self._target)) is not None:
            self.original_func = _shown_as(self.func, written)

    def _own_context(self) -> Context:
        """The `Context` of a run that no message asked for."""
        message = TaskiqMessage(
            task_id=self.broker.id_generator(),
            task_name=self.task_name,
            labels=dict(self.labels),
            args=[],
            kwargs={},
        )
        return Context(message, self.broker)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.task_name!r})"


class AsyncTask(Task[P, R]):
    """A task made from a coroutine function."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the plain function; the caller passes its dependencies."""
        called: Coroutine[Any, Any, R] = self.func(*args, **kwargs)
        return called


class SyncTask(Task[P, R]):
    """A task made from a plain function. A worker calls it in a thread."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function; the caller passes its dependencies."""
        returned: R = self.func(*args, **kwargs)
        return returned


def _target(task: Task[Any, Any], definition: Definition) -> Callable[..., Any]:
    """What Taskiq's receiver calls, until the task is written out as one function."""

    async def target(*args: Any, **kwargs: Any) -> Any:
        returned = await definition.run(args, kwargs, current_context())
        if (written := definition.written_out(target)) is not None:
            task.original_func = _shown_as(definition.func, written)
        return definition.results.dump(returned)

    return _shown_as(definition.func, target)


def _shown_as(func: Callable[..., Any], target: Callable[..., Any]) -> Callable[..., Any]:
    """Give a target the name of the user's function, and a signature of its own."""
    update_wrapper(target, func, assigned=_SHOWN, updated=())
    del target.__wrapped__  # type: ignore[attr-defined]
    # Taskiq would parse arguments by what it sees here, for each message again.
    target.__annotations__ = {}
    target.__signature__ = Signature()  # type: ignore[attr-defined]
    return target


def _enqueued(sent: AsyncTaskiqTask[Any]) -> Enqueued[Any]:
    return Enqueued(sent.task_id, sent.result_backend, sent.return_type)
