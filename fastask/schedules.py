"""The schedules that tasks carry in their labels, checked as any other sending."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastask.exceptions import InvalidArgumentsError, TaskOptionError, UnresolvableTasksError
from fastask.task import Task

__all__ = ["check_schedules", "with_sent_arguments"]


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
            task.probe().dump(schedule.get("args", []), schedule.get("kwargs", {}))
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
    yield from found


def _unfit(task: Task[Any, Any], error: InvalidArgumentsError) -> TaskOptionError:
    reason = "give the arguments in schedule_args, or defaults to the parameters"
    return TaskOptionError("schedule_args", f"{error}; {reason}")
