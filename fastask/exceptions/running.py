"""Errors of tasks that were sent, and of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastask.exceptions.base import FastaskError
from fastask.shortening import in_one_line, shortened

__all__ = [
    "InvalidArgumentsError",
    "InvalidMessageError",
    "InvalidResultError",
    "NoHTTPBodyError",
    "RemoteError",
    "ResultTimeoutError",
    "UnknownTaskError",
]

_NAME = 200  # characters of a name that is shown; other clients may send any
_PROBLEMS = 5  # how many of one message are shown
_PART, _PLACE, _WORDS = 80, 200, 200  # characters of such a problem


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
        near = " or ".join(repr(shortened(name, _NAME)) for name in self.near)
        hint = f" (did you mean {near}?)" if near else ""
        return (
            f"no task is named {shortened(self.task, _NAME)!r} here{hint}; "
            "import its module in the app, or start a worker that has it"
        )


class InvalidArgumentsError(FastaskError, TypeError):
    """Arguments that don't fit a task, found before sending or in the worker.

    Attributes:
        task: the task's name.
        errors: one mapping for each problem: `type`, `loc` (the path of the argument),
            `msg`, and `got`, the type of the value. Values are never kept.
        more: how many problems there are besides; a long list may hold a million.
    """

    def __init__(self, task: str, errors: Sequence[Mapping[str, Any]], more: int = 0) -> None:
        super().__init__(task, [dict(error) for error in errors], *([more] if more else []))
        self.task = task
        self.errors: tuple[Mapping[str, Any], ...] = tuple(errors)
        self.more = more

    def __str__(self) -> str:
        lines = [_argument_line(error) for error in self.errors[:_PROBLEMS]]
        if rest := len(self.errors) - len(lines) + self.more:
            lines.append(f"and {rest} more")
        return f"task {shortened(self.task, _NAME)!r}: {'; '.join(lines)}"


class InvalidMessageError(FastaskError, ValueError):
    """A message that can't be read, or whose labels can't be used; its task did not run.

    Attributes:
        task: the name in the message; empty if it can't be read.
        reason: what is wrong with it, without anything that it holds.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(task, reason)
        self.task = task
        self.reason = reason

    def __str__(self) -> str:
        task = f" for task {shortened(self.task, _NAME)!r}" if self.task else ""
        reason = in_one_line(self.reason, _PLACE + _WORDS)
        return f"the message{task} can't be used: {reason}; send it as Taskiq's kicker does"


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


class RemoteError(FastaskError):
    """What a task raised, where its own class can't or must not be raised.

    So where the class is not loaded in this process, or can't be made from what travelled;
    and for what is no `Exception`, such as `SystemExit`, which would end the caller.

    Attributes:
        type: the class that was raised, as `"module:name"`.
        text: what `str()` gave for it.
    """

    def __init__(self, type: str, text: str) -> None:
        super().__init__(type, text)
        self.type = type
        self.text = text

    def __str__(self) -> str:
        return f"the task raised {self.type.replace(':', '.')}: {self.text}"


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


def _argument_line(error: Mapping[str, Any]) -> str:
    place = shortened(".".join(in_one_line(str(part), _PART) for part in error["loc"]), _PLACE)
    got = f" (got {error['got']})" if error.get("got") else ""
    return f"{place}: {in_one_line(error['msg'], _WORDS)}{got}"
