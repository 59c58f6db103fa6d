"""What a test has of its tasks: `Tasks` with `with`, `AsyncTasks` with `async with`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from taskiq import AsyncTaskiqDecoratedTask, ScheduleSource

from fastask.task import Task
from fastask.testing.record import SentTask, listing
from fastask.testing.schedules import send_due
from fastask.testing.session import Session

__all__ = ["AsyncTasks", "Tasks"]

P = ParamSpec("P")
R = TypeVar("R")

_LIMIT = 1000  # runs that one `run_all` does


class _SentTasks:
    """What needs no waiting.

    Args:
        session: the entered `ft.testing()`.

    Attributes:
        session: the same.
    """

    def __init__(self, session: Session) -> None:
        self.session: Session = session

    @property
    def sent(self) -> list[SentTask]:
        """All tasks that were sent so far, in the order of sending."""
        return list(self.session.record.sent)

    def sent_to(self, task: AsyncTaskiqDecoratedTask[Any, Any] | str) -> list[SentTask]:
        """Give what was sent to one task, or to the name of one."""
        return self.session.record.of_task(task)

    def override(self, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> None:
        """Have routes and tasks use another dependency, until the end of the test.

        It is `app.dependency_overrides[dependency] = replacement`, undone by itself.
        """
        self.session.override(dependency, replacement)

    def __str__(self) -> str:
        return listing(self.session.record)


class Tasks(_SentTasks):
    """The tasks of a test that is a plain function.

    Of an app that a `TestClient` runs, tasks run where the client runs it; otherwise in a
    thread that is started for the first one.
    """

    def run_all(self, *, limit: int = _LIMIT) -> list[SentTask]:
        """Run what waits, and what that sends, in the order of sending.

        Args:
            limit: how many runs are the most; what is left then goes on waiting.

        Returns:
            What was run, each task once.

        Raises:
            TaskLoopError: there is no end of it; it names the tasks.
            RuntimeError: the app runs in the event loop of this very test.
        """
        return self.session.block(lambda: self.session.runs.run_all(limit))

    def run(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Send a task and run it at once, whatever waits.

        Returns:
            What it returns.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown or of a wrong type.
            BaseException: what it raises.
        """
        returned: R = self.session.block(
            lambda: self.session.runs.run_one(lambda: task.kiq(*args, **kwargs))
        )
        return returned

    def due(
        self,
        *,
        at: datetime | None = None,
        between: tuple[datetime, datetime] | None = None,
        sources: Sequence[ScheduleSource] = (),
    ) -> list[SentTask]:
        """Send what `taskiq scheduler` would send at a time; see `AsyncTasks.due`."""
        return self.session.block(lambda: send_due(self.session, at, between, sources))


class AsyncTasks(_SentTasks):
    """The tasks of a test that is a coroutine function."""

    async def run_all(self, *, limit: int = _LIMIT) -> list[SentTask]:
        """Run what waits, and what that sends, in the order of sending.

        Args:
            limit: how many runs are the most; what is left then goes on waiting.

        Returns:
            What was run, each task once.

        Raises:
            TaskLoopError: there is no end of it; it names the tasks.
        """
        return await self.session.entered.runs.run_all(limit)

    async def run(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Send a task and run it at once, whatever waits.

        Returns:
            What it returns.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown or of a wrong type.
            BaseException: what it raises.
        """
        runs = self.session.entered.runs
        returned: R = await runs.run_one(lambda: task.kiq(*args, **kwargs))
        return returned

    async def due(
        self,
        *,
        at: datetime | None = None,
        between: tuple[datetime, datetime] | None = None,
        sources: Sequence[ScheduleSource] = (),
    ) -> list[SentTask]:
        """Send what `taskiq scheduler` would send at a time; run it if tasks run inline.

        Args:
            at: a moment: what is due in its minute. Without a zone it is one of UTC. Intervals
                count from the beginning of the minute, so each of them is due.
            between: or a beginning and an end, which is not part of it. Intervals count from
                the beginning.
            sources: what has further schedules, made by `schedule_by_cron` and the like. Those
                that tasks are declared with are due without it.

        Returns:
            What was sent, in the order of `due_at`.

        Raises:
            ValueError: neither or both of `at` and `between`, or an end before the beginning.
        """
        return await send_due(self.session.entered, at, between, sources)
