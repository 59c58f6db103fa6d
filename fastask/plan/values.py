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
    "Surroundings",
    "background_tasks",
    "context",
    "extra",
    "fixed",
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

    def extra(self, asked: Any) -> Any:
        """Give what Taskiq's dependency context holds for a class or function."""
        ...


Provider: TypeAlias = Callable[[Surroundings, Any], Any]
"""Makes a value for one run, from its surroundings and Taskiq's `Context` of the message
(or a function that makes the `Context` when it is asked for)."""


def request(surroundings: Surroundings, of_message: Any) -> Request:
    """The task's own request, which is its `HTTPConnection` too."""
    return surroundings.request()


def context(surroundings: Surroundings, of_message: Any) -> Any:
    """Taskiq's `Context` of this message."""
    return of_message() if callable(of_message) else of_message


def state(surroundings: Surroundings, of_message: Any) -> Any:
    """Taskiq's state of the broker."""
    return context(surroundings, of_message).state


def response(surroundings: Surroundings, of_message: Any) -> Response:
    """A response as FastAPI gives it to dependencies: no status and no length of its own."""
    made = Response()
    del made.headers["content-length"]
    made.status_code = None  # type: ignore[assignment]
    return made


def background_tasks(surroundings: Surroundings, of_message: Any) -> BackgroundTasks:
    """The functions to call when the task has succeeded."""
    return BackgroundTasks()


def security_scopes(scopes: tuple[str, ...]) -> Provider:
    """The OAuth2 scopes that hold at one place of the tree."""
    return lambda surroundings, of_message: SecurityScopes(scopes=list(scopes))


def fixed(value: Any) -> Provider:
    """What the declaration tells."""
    return lambda surroundings, of_message: value


def extra(asked: Any) -> Provider:
    """What Taskiq's dependency context holds for a class or function."""
    return partial(_extra, asked)


def _extra(asked: Any, surroundings: Surroundings, of_message: Any) -> Any:
    return surroundings.extra(asked)
