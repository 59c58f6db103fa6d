"""Errors of what was declared: apps, tasks, routers, dependencies."""

from __future__ import annotations

from collections.abc import Sequence

from fastask.exceptions.base import FastaskError
from fastask.shortening import shortened

__all__ = [
    "AppImportError",
    "DependencyError",
    "DuplicateTaskError",
    "RouterIncludedError",
    "TaskOptionError",
    "UnboundTaskError",
    "UnresolvableTasksError",
]

_NAME = 200  # characters of a name that is shown; other clients may send any


class AppImportError(FastaskError):
    """The FastAPI app named to `FastTask` can't be had.

    Attributes:
        app: the reference as it was given, such as `"module:attr"`.
        reason: what is wrong with it and what to do.
    """

    def __init__(self, app: str, reason: str) -> None:
        super().__init__(app, reason)
        self.app = app
        self.reason = reason

    def __str__(self) -> str:
        return f"FastTask({self.app!r}): {self.reason}"


class TaskOptionError(FastaskError, TypeError):
    """An option of a task that is unknown, or whose value can't be used.

    Attributes:
        option: the option's name.
        reason: what is wrong and what to do.
    """

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(option, reason)
        self.option = option
        self.reason = reason

    def __str__(self) -> str:
        return f"ft.task option {self.option!r}: {self.reason}"


class DuplicateTaskError(FastaskError, ValueError):
    """A task name that is used twice on one broker.

    Attributes:
        name: the name.
        first: where the task that has the name is defined, as `file:line`.
        second: where the refused one is defined.
    """

    def __init__(self, name: str, first: str, second: str) -> None:
        super().__init__(name, first, second)
        self.name = name
        self.first = first
        self.second = second

    def __str__(self) -> str:
        return (
            f"task name {shortened(self.name, _NAME)!r} at {self.second} is taken by the task "
            f"at {self.first}; "
            f'give one of them another name: @ft.task("other:name")'
        )


class UnboundTaskError(FastaskError, RuntimeError):
    """A task of a `TaskRouter` that is used before `ft.include_router(router)`.

    Attributes:
        task: the task's function, as `module:name`.
        reason: what is missing.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(task, reason)
        self.task = task
        self.reason = reason

    def __str__(self) -> str:
        return f"task {self.task!r} {self.reason}"


class RouterIncludedError(FastaskError, ValueError):
    """A `TaskRouter` that is included where it is already.

    Attributes:
        reason: what is wrong and what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DependencyError(FastaskError):
    """A parameter that a task can't be given.

    Attributes:
        chain: names from the task down to the parameter.
        reason: why it can't be resolved.
        remedy: what to do.
    """

    def __init__(self, chain: Sequence[str], reason: str, remedy: str) -> None:
        super().__init__(list(chain), reason, remedy)
        self.chain: tuple[str, ...] = tuple(chain)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{' -> '.join(self.chain)}: {self.reason}; {self.remedy}"


class UnresolvableTasksError(FastaskError):
    """What the tasks of an app ask for and can't be given, found when a worker starts.

    Attributes:
        problems: one rendered `DependencyError` for each problem.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems: tuple[str, ...] = tuple(problems)

    def __str__(self) -> str:
        head = "tasks ask for what they can't be given:"
        return "\n".join([head, *(f"  - {line}" for line in self.problems)])
