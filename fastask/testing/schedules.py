"""Which schedules are due: cron tests without waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from taskiq import ScheduleSource
from taskiq.cli.scheduler.run import is_cron_task_now
from taskiq.schedule_sources import LabelScheduleSource
from taskiq.scheduler.scheduled_task import ScheduledTask

from fastask.scheduler import AppScheduler
from fastask.testing.record import Due, SentTask, due
from fastask.testing.session import Session

__all__ = ["send_due"]

_MINUTE = timedelta(minutes=1)


async def send_due(
    session: Session,
    at: datetime | None,
    between: tuple[datetime, datetime] | None,
    sources: Sequence[ScheduleSource] = (),
) -> list[SentTask]:
    """Send what `taskiq scheduler` would send.

    Args:
        session: where it is sent.
        at: a moment: what is due in its minute.
        between: or a beginning and an end, which is not part of it.
        sources: what has further schedules, beside those that tasks have themselves.

    Returns:
        What was sent, in the order of time.

    Raises:
        ValueError: neither or both of them, or an end before the beginning.
        TaskOptionError: a task can't be called with the arguments of its schedule.
    """
    begin, end = _range(at, between)
    scheduler = AppScheduler(session.program)
    [labels] = scheduler.sources
    await labels.startup()
    # Taskiq's own source of labels has those of the tasks, too.
    others = [source for source in sources if not isinstance(source, LabelScheduleSource)]
    sent: list[SentTask] = []
    for moment, source, schedule in await _due([labels, *others], begin, end):
        token = due.set(Due(moment, sent))
        try:
            await scheduler.on_ready(source, schedule)
        finally:
            due.reset(token)
    return sent


async def _due(
    sources: Sequence[ScheduleSource], begin: datetime, end: datetime
) -> list[tuple[datetime, ScheduleSource, ScheduledTask]]:
    moments = [
        (moment, source, one)
        for source in sources
        for one in await source.get_schedules()
        for moment in _moments(one, begin, end)
    ]
    return sorted(moments, key=lambda each: each[0])


def _range(
    at: datetime | None, between: tuple[datetime, datetime] | None
) -> tuple[datetime, datetime]:
    if (at is None) is (between is None):
        raise ValueError("give either at=, a moment, or between=, a beginning and an end")
    if at is not None:
        minute = _aware(at).replace(second=0, microsecond=0)
        return minute, minute + _MINUTE
    begin, end = map(_aware, between or ())
    if end < begin:
        raise ValueError(f"between= ends at {end}, before it begins at {begin}")
    return begin, end


def _aware(moment: datetime) -> datetime:
    """A time without a zone is one of UTC, as for Taskiq."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _moments(schedule: ScheduledTask, begin: datetime, end: datetime) -> Iterator[datetime]:
    if schedule.cron is not None:
        yield from _minutes(schedule, schedule.cron, begin, end)
    if schedule.time is not None and begin <= _aware(schedule.time) < end:
        yield _aware(schedule.time)
    if schedule.interval is not None:  # it begins when the scheduler does
        step = schedule.interval
        step = timedelta(seconds=step) if isinstance(step, int) else step
        moment = begin
        while moment < end:
            yield moment
            moment += step


def _minutes(
    schedule: ScheduledTask, cron: str, begin: datetime, end: datetime
) -> Iterator[datetime]:
    minute = begin.replace(second=0, microsecond=0)
    while minute < end:
        if minute >= begin and is_cron_task_now(cron, minute, schedule.cron_offset):
            yield minute
        minute += _MINUTE
