"""The typed handle of a task: enqueue it, schedule it, run it, or call its function."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from functools import update_wrapper
from inspect import Signature
from typing import Any, Generic, ParamSpec, TypeVar
from uuid import UUID, uuid5

from taskiq import (
    AsyncBroker,
    AsyncResultBackend,
    AsyncTaskiqDecoratedTask,
    Context,
    ScheduleSource,
)
from taskiq.message import TaskiqMessage
from taskiq.scheduler.scheduled_task import CronSpec

from fastask.brokers.once import sends_once
from fastask.brokers.unbound import UNBOUND
from fastask.context import current_context
from fastask.definition import Definition
from fastask.enqueued import Enqueued
from fastask.exceptions import TaskOptionError
from fastask.kicker import Kicker, Schedule
from fastask.markers import Marker
from fastask.program import Program
from fastask.retries import RetryPolicy
from fastask.wire.arguments import ArgumentsWire

__all__ = ["AsyncTask", "SyncTask", "Task"]

P = ParamSpec("P")
R = TypeVar("R")

_KEYS = UUID("5b3c1c4e-6f0f-4b53-9a3e-0a5d5c3b8f21")  # the namespace of idempotency keys
_SHOWN = ("__module__", "__name__", "__qualname__", "__doc__")


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

        Raises:
            TaskOptionError: with the prefix its name is too long, or is one of fastask's own.
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
            NotSentError: the broker did not take the message.
        """
        return await self.kicker().kiq(*args, **kwargs)

    def kicker(self, *, idempotency_key: str | None = None) -> Kicker[P, R]:
        """Give a sending to change before it is done: labels, id, broker.

        Args:
            idempotency_key: what the sending is about, such as `"order-5"`. However often the
                task is sent with it, it runs once; all handles have the one result.

        Raises:
            TaskOptionError: the broker can't send a message once.
        """
        labels = dict(self.labels)
        labels.pop("schedule", None)  # the scheduler's business, and no part of a message
        kicker: Kicker[P, R] = Kicker(self._definition, self.broker, labels)
        if idempotency_key is None:
            return kicker
        if not sends_once(self.broker):
            reason = f"{type(self.broker).__name__} can't send a message once"
            remedy = "use the broker of a sqlite://, redis:// or nats:// URL"
            raise TaskOptionError("idempotency_key", f"{reason}; {remedy}")
        kicker.is_idempotent = True
        return kicker.with_task_id(uuid5(_KEYS, f"{self.task_name}\n{idempotency_key}").hex)

    def enqueued(self, task_id: str) -> Enqueued[R]:
        """Give the handle of a sending of this task by its id, as `kiq` has given it.

        Args:
            task_id: the id of the message, which another request may have sent. Whether
                there is one, and whether it is of this task, only the result will tell.

        Raises:
            UnboundTaskError: its router is not included yet.
        """
        backend: AsyncResultBackend[Any] = self._definition.program.broker.result_backend
        return Enqueued(task_id, backend, load=self._definition.load_result)

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

    def received(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check the arguments of a message, and give them in the types of the task.

        Raises:
            InvalidArgumentsError: they don't fit.
            UnresolvableTasksError: an annotation can't be used.
        """
        return self._definition.arguments.load(args, kwargs)

    def returned(self, form: Any) -> R:
        """Give the value that a stored result holds, in the type of the return annotation.

        Raises:
            InvalidResultError: it does not fit.
            UnresolvableTasksError: the annotation can't be used.
        """
        value: R = self._definition.load_result(form)
        return value

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
        returned = await definition.receive(args, kwargs, current_context())
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
