"""What a run provides by itself: values that are no dependency of the user's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias

from anyio import CapacityLimiter
from fastapi import BackgroundTasks, Request, Response
from fastapi.security import SecurityScopes

__all__ = [
    "Provider",
    "Run",
    "Surroundings",
    "background_tasks",
    "context",
    "extra",
    "request",
    "response",
    "security_scopes",
    "state",
]


class Surroundings(Protocol):
    """What a run takes from the program around it."""

    @property
    def limiter(self) -> CapacityLimiter | None:
        """The limit of threads; `None` is anyio's own, which routes use too."""
        ...

    def request(self) -> Request:
        """Make the request of one run."""
        ...

    def extra(self, asked: type) -> Any:
        """Give what Taskiq's dependency context holds for a class."""
        ...


class Run(Protocol):
    """The run that values are provided for.

    Attributes:
        surroundings: where requests come from.
        context: Taskiq's `Context` of the message, or a function that makes it.
        background: the background tasks, where they were asked for.
    """

    surroundings: Surroundings
    context: Any
    background: BackgroundTasks | None


Provider: TypeAlias = Callable[[Run], Any]


def request(run: Run) -> Request:
    """The task's own request, which is its `HTTPConnection` too."""
    return run.surroundings.request()


def context(run: Run) -> Any:
    """Taskiq's `Context` of this message."""
    return run.context() if callable(run.context) else run.context


def state(run: Run) -> Any:
    """Taskiq's state of the broker."""
    return context(run).state


def response(run: Run) -> Response:
    """A response as FastAPI gives it to dependencies: no status and no length of its own."""
    made = Response()
    del made.headers["content-length"]
    made.status_code = None  # type: ignore[assignment]
    return made


def background_tasks(run: Run) -> BackgroundTasks:
    """The functions to call when the task has succeeded."""
    run.background = BackgroundTasks()
    return run.background


def security_scopes(scopes: tuple[str, ...]) -> Provider:
    """The OAuth2 scopes that hold at one place of the tree."""
    return lambda run: SecurityScopes(scopes=list(scopes))


def extra(asked: type) -> Provider:
    """What Taskiq's dependency context holds for a class."""
    return partial(_extra, asked)


def _extra(asked: type, run: Run) -> Any:
    return run.surroundings.extra(asked)
