"""The errors of fastask.

Each one keeps its parts as attributes and in `args`, so it pickles and travels in a
result; `str()` renders one sentence with the thing, the place and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "AppImportError",
    "BrokerURLError",
    "DependencyError",
    "DuplicateTaskError",
    "EmbeddedBrokerError",
    "FastaskError",
    "InvalidArgumentsError",
    "InvalidResultError",
    "NoHTTPBodyError",
    "ResultTimeoutError",
    "RouterIncludedError",
    "TaskOptionError",
    "UnboundTaskError",
    "UnknownTaskError",
    "UnresolvableTasksError",
]


class FastaskError(Exception):
    """The base of every error that fastask raises."""


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


class BrokerURLError(FastaskError, ValueError):
    """A broker URL that fastask can't make a broker from. It never shows the URL's password.

    Attributes:
        scheme: the URL's scheme, such as `"redis"`.
        reason: what is wrong and what to do.
    """

    def __init__(self, scheme: str, reason: str) -> None:
        super().__init__(scheme, reason)
        self.scheme = scheme
        self.reason = reason

    def __str__(self) -> str:
        return f"broker URL '{self.scheme}://': {self.reason}"


class EmbeddedBrokerError(FastaskError, RuntimeError):
    """A worker was started for the embedded broker, which needs none and can serve none."""

    def __str__(self) -> str:
        return (
            "the embedded broker runs its tasks in the web process, so no worker can serve it; "
            "give FastTask a broker such as RedisStreamBroker to run tasks in workers"
        )


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
            f"task name {self.name!r} at {self.second} is taken by the task at {self.first}; "
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


class UnknownTaskError(FastaskError, LookupError):
    """A message names a task that no worker knows, though it was handed back for others.

    Attributes:
        task: the name in the message.
        near: names of tasks that are similar.
    """

    def __init__(self, task: str, near: Sequence[str]) -> None:
        super().__init__(task, list(near))
        self.task = task
        self.near: tuple[str, ...] = tuple(near)

    def __str__(self) -> str:
        near = " or ".join(repr(name) for name in self.near)
        hint = f" (did you mean {near}?)" if near else ""
        return (
            f"no task is named {self.task!r} here{hint}; "
            "import its module in the app, or start a worker that has it"
        )


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


class InvalidArgumentsError(FastaskError, TypeError):
    """Arguments that don't fit a task, found before sending or in the worker.

    Attributes:
        task: the task's name.
        errors: one mapping for each problem: `type`, `loc` (the path of the argument),
            `msg`, and `got`, the type of the value. Values are never kept.
    """

    def __init__(self, task: str, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(task, [dict(error) for error in errors])
        self.task = task
        self.errors: tuple[Mapping[str, Any], ...] = tuple(errors)

    def __str__(self) -> str:
        lines = "; ".join(_argument_line(error) for error in self.errors)
        return f"task {self.task!r}: {lines}"


def _argument_line(error: Mapping[str, Any]) -> str:
    got = f" (got {error['got']})" if error.get("got") else ""
    return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}{got}"


class InvalidResultError(FastaskError, TypeError):
    """A task returned a value that does not fit its return annotation.

    Attributes:
        task: the task's name.
        reason: what pydantic says of the value, without the value.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(task, reason)
        self.task = task
        self.reason = reason

    def __str__(self) -> str:
        return f"task {self.task!r} returned what its annotation does not allow: {self.reason}"


class ResultTimeoutError(FastaskError, TimeoutError):
    """`await sent.result(timeout=...)` waited as long as it was told to.

    Attributes:
        task_id: the id of the task.
        timeout: seconds that were waited.
    """

    def __init__(self, task_id: str, timeout: float) -> None:
        super().__init__(task_id, timeout)
        self.task_id = task_id
        self.timeout = timeout

    def __str__(self) -> str:
        return f"no result of task {self.task_id} within {self.timeout} s; is a worker running?"


class NoHTTPBodyError(FastaskError, RuntimeError):
    """A dependency read the body of the request, which a task does not have.

    Attributes:
        what: what was read, such as `"body()"`.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return (
            f"request.{self.what}: a task has no HTTP body; "
            "pass what the task needs as an argument of the task"
        )
