"""Sending that can be changed before it is done: `task.kicker()` and schedules."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, Self, TypeVar

from taskiq import AsyncBroker, AsyncTaskiqTask, ScheduleSource, SendTaskError
from taskiq.kicker import AsyncKicker
from taskiq.message import TaskiqMessage
from taskiq.scheduler.created_schedule import CreatedSchedule
from taskiq.scheduler.scheduled_task import CronSpec

from fastask.brokers.once import ONCE, sends_once
from fastask.cron import cron_problem, interval_problem, time_problem, timezone_problem
from fastask.definition import Definition
from fastask.enqueued import Enqueued
from fastask.exceptions import TaskOptionError
from fastask.sending import in_time, is_guarded, raise_not_sent

__all__ = ["Kicker", "Schedule"]

P = ParamSpec("P")
R = TypeVar("R")


class Schedule(CreatedSchedule[Any], Generic[R]):
    """A schedule that was made: Taskiq's handle, typed."""

    def __init__(self, created: CreatedSchedule[Any]) -> None:
        super().__init__(created.kicker, created.source, created.task)

    def __repr__(self) -> str:
        # Taskiq's shows the arguments, which may hold secrets.
        task = self.task
        when = task.cron or task.interval or task.time
        return f"Schedule({task.task_name!r}, {str(when)!r}, id={self.schedule_id!r})"

    __str__ = __repr__

    async def kiq(self) -> Enqueued[R]:
        """Send the task now, as if it were not scheduled.

        Raises:
            InvalidArgumentsError: the scheduled arguments don't fit the task any more.
            NotSentError: the broker did not take the message.
        """
        kicker: Any = self.kicker
        sent: Enqueued[R] = await kicker.resend(self.task.args, self.task.kwargs)
        return sent


class Kicker(AsyncKicker[P, Any], Generic[P, R]):
    """A sending that can be changed before it is done: Taskiq's kicker, typed and checked."""

    def __init__(self, definition: Definition, broker: AsyncBroker, labels: dict[str, Any]) -> None:
        # What Taskiq's own __init__ does, without the call: `kiq` makes one each time.
        self.task_name: str = definition.name
        self.broker: AsyncBroker = broker
        self.labels: dict[str, Any] = labels
        self.custom_task_id: str | None = None
        self.custom_schedule_id: str | None = None
        self.return_type: Any = definition.return_type
        self._definition = definition
        self.is_idempotent: bool = False

    def with_labels(self, **labels: str | float) -> Self:
        """Add labels to this message."""
        super().with_labels(**labels)
        return self

    def with_task_id(self, task_id: str | None) -> Self:
        """Give the message an id of the caller's choice.

        Sent twice with the same id the task runs once, where the broker can do that; see
        docs/brokers.md for which can, and for how long. What a schedule sends with it runs
        each time. Two tasks with the same id both run, and have one place for their results.
        """
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
            NotSentError: the broker did not take the message.
        """
        sending: Any = super().kiq(*args, **kwargs)
        if "pytest" in sys.modules and is_guarded(self.broker):
            sending = in_time(sending)
        if self.custom_task_id is not None and sends_once(self.broker):
            self.labels[ONCE] = 1
        try:
            sent = await sending
        except SendTaskError as error:
            raise_not_sent(self.task_name, self.broker, error)
        finally:
            self.labels.pop(ONCE, None)
        return self._enqueued(sent)

    async def resend(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Enqueued[R]:
        """Check the arguments of a message, such as a schedule has, and send them as they are.

        Raises:
            InvalidArgumentsError: they don't fit the task; nothing was sent.
            NotSentError: the broker did not take the message.
        """
        self._definition.arguments.load(args, kwargs)
        plain = AsyncKicker[Any, Any](self.task_name, self.broker, self.labels)
        plain.with_task_id(self.custom_task_id)
        try:
            return self._enqueued(await plain.kiq(*args, **kwargs))
        except SendTaskError as error:
            raise_not_sent(self.task_name, self.broker, error)

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
            TaskOptionError: the scheduler does not understand the expression or knows no such
                time zone, or the kicker has an idempotency key.
        """
        self._check_schedulable()
        checked = self._checked_cron(cron)
        return Schedule(await super().schedule_by_cron(source, checked, *args, **kwargs))

    async def schedule_by_interval(
        self, source: ScheduleSource, interval: int | timedelta, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Check the arguments and have the task sent every `interval` (seconds, if a number).

        Raises:
            InvalidArgumentsError: the arguments don't fit the task; nothing was scheduled.
            TaskOptionError: a scheduler can't wait for the interval, or the kicker has an
                idempotency key.
        """
        self._check_schedulable()
        self._check_due("interval", interval_problem(interval))
        return Schedule(await super().schedule_by_interval(source, interval, *args, **kwargs))

    async def schedule_by_time(
        self, source: ScheduleSource, time: datetime, *args: P.args, **kwargs: P.kwargs
    ) -> Schedule[R]:
        """Check the arguments and have the task sent once, at `time`.

        Raises:
            InvalidArgumentsError: the arguments don't fit the task; nothing was scheduled.
            TaskOptionError: it is no time, or the kicker has an idempotency key.
        """
        self._check_schedulable()
        self._check_due("time", time_problem(time))
        return Schedule(await super().schedule_by_time(source, time, *args, **kwargs))

    def _check_schedulable(self) -> None:
        if self.is_idempotent:
            reason = "a schedule can't keep it; give the schedule an id, with_schedule_id(...)"
            raise TaskOptionError("idempotency_key", reason)

    def _check_due(self, option: str, problem: str) -> None:
        if problem:
            raise TaskOptionError(option, f"task {self.task_name!r} is not scheduled: {problem}")

    def _checked_cron(self, cron: str | CronSpec) -> str | CronSpec:
        """Give a cron with one space between its fields, as pycron wants it."""
        text = cron.to_cron() if isinstance(cron, CronSpec) else cron
        self._check_due("cron", cron_problem(text))
        fields = text.split()
        if not isinstance(cron, CronSpec):
            return " ".join(fields)
        if isinstance(cron.offset, str):
            self._check_due("cron", timezone_problem(cron.offset))
        return cron.model_copy(update=dict(zip(CronSpec.model_fields, fields, strict=False)))

    def _prepare_message(self, *args: Any, **kwargs: Any) -> TaskiqMessage:
        # Taskiq's own, which all its sending goes through, would change models and
        # dataclasses in its way; a test tells when it is not called any more.
        sent_args, sent_kwargs = self._definition.arguments.dump(args, kwargs)
        message = super()._prepare_message()
        vars(message).update(args=sent_args, kwargs=sent_kwargs)  # half the time of assigning
        return message

    def _enqueued(self, sent: AsyncTaskiqTask[Any]) -> Enqueued[R]:
        load = self._definition.load_result
        return Enqueued(sent.task_id, sent.result_backend, sent.return_type, load)
