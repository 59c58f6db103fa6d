"""Errors of tests."""

from __future__ import annotations

from collections.abc import Sequence

from fastask.exceptions.base import FastaskError
from fastask.shortening import shortened

__all__ = ["TaskLoopError", "TaskNotRunError"]

_NAME = 200  # characters of a name that is shown; other clients may send any
_NAMES = 10  # of a loop that are shown


class TaskLoopError(FastaskError, RuntimeError):
    """Tasks of a test send each other without an end, or there are too many of them.

    Attributes:
        names: the tasks of the loop, of which the first one is the last one, too; or the one
            that was too many.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(list(names))
        self.names: tuple[str, ...] = tuple(names)

    def __str__(self) -> str:
        shown = [repr(shortened(name, _NAME)) for name in self.names]
        if len(shown) > _NAMES:
            shown[_NAMES - 2 : -1] = [f"... ({len(shown) - _NAMES + 1} more)"]
        chain = " -> ".join(shown)
        if len(self.names) == 1:
            return f"there are more tasks to run than the limit, such as {chain}; give a higher one"
        return f"tasks send each other without an end: {chain}; end it, or give a higher limit"


class TaskNotRunError(FastaskError, RuntimeError):
    """A test asks for the result of a task that nothing has run.

    Attributes:
        task: the task's name.
        state: its state, `"waiting"` or `"running"`, or `"succeeded"` or `"failed"` without a
            result.
    """

    def __init__(self, task: str, state: str) -> None:
        super().__init__(task, state)
        self.task = task
        self.state = state

    def __str__(self) -> str:
        remedies = {
            "running": "let it end",
            "succeeded": "it raised NoResultError",
            "failed": "its error is in tasks.sent",
        }
        remedy = remedies.get(self.state, "run it before, as with tasks.run_all() and run='later'")
        return (
            f"task {shortened(self.task, _NAME)!r} has no result, as it is {self.state}; {remedy}"
        )
