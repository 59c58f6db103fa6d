"""The schedules that tasks carry in their labels, checked as any other sending."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from taskiq import ScheduledTask

from fastask.cron import cron_problem, timezone_problem
from fastask.exceptions import InvalidArgumentsError, TaskOptionError, UnresolvableTasksError
from fastask.task import Task
from fastask.wire.problems import problems_of

__all__ = ["check_schedules", "with_sent_arguments"]

_WHEN = ("cron", "interval", "time")
_KEYS = {*_WHEN, "cron_offset", "args", "kwargs", "labels", "schedule_id"}  # Taskiq's


def check_schedules(task: Task[Any, Any]) -> None:
    """Check the arguments of a task's schedules when it is declared.

    Where its annotations can't be read yet, as they name what the module defines later, the
    scheduler's start tells.

    Raises:
        TaskOptionError: the task can't be called with them.
    """
    try:
        for schedule in _schedules(task):
            # On a copy, since nothing may be kept of annotations that were read too early.
            task.probe().dump(schedule.get("args") or [], schedule.get("kwargs") or {})
    except InvalidArgumentsError as error:
        raise _unfit(task, error) from None
    except UnresolvableTasksError:
        return


def with_sent_arguments(
    task: Task[Any, Any], args: list[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Give the arguments of a schedule as a message has them.

    Raises:
        TaskOptionError: the task can't be called with them.
        UnresolvableTasksError: an annotation can't be used.
    """
    try:
        return task.scheduled(args, kwargs)
    except InvalidArgumentsError as error:
        raise _unfit(task, error) from None


def _schedules(task: Task[Any, Any]) -> Iterator[Mapping[str, Any]]:
    found = task.labels.get("schedule") or []
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise TaskOptionError("labels", "write 'schedule' as a list: [{'cron': '0 7 * * *'}]")
    for schedule in found:
        if problem := _problem(schedule):
            raise TaskOptionError("labels", f"'schedule' is of no use: {problem}")
        yield schedule


def _problem(schedule: Mapping[str, Any]) -> str:
    """Say why Taskiq's scheduler would not send a task by a schedule of its labels."""
    if unknown := sorted(map(str, schedule.keys() - _KEYS)):
        return f"there is no {unknown[0]!r}; write {', '.join(_WHEN)}, args, kwargs"
    cron = schedule.get("cron")
    if cron is not None and (problem := cron_problem(cron)):
        return problem
    zone = schedule.get("cron_offset")
    if isinstance(zone, str) and (problem := timezone_problem(zone)):
        return problem
    try:
        ScheduledTask(**{"task_name": "", "labels": {}, "args": [], "kwargs": {}, **schedule})
    except ValidationError as error:
        [first, *_], _ = problems_of(error)
        place = ".".join(map(str, first["loc"]))
        return f"{place + ': ' if place else ''}{first['msg']}"
    return ""


def _unfit(task: Task[Any, Any], error: InvalidArgumentsError) -> TaskOptionError:
    reason = "give the arguments in schedule_args, or defaults to the parameters"
    return TaskOptionError("schedule_args", f"{error}; {reason}")
