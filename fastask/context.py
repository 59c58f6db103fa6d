"""The message that is being executed.

Taskiq's receiver tells the message to dependencies by writing its `Context` into
`broker.custom_dependency_context`, one dict for all messages that run at the same time
(taskiq 0.13). `MessageContexts` takes the place of that dict: it keeps each `Context` in
a context variable of the asyncio task that runs the message, so nobody reads another's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Self

from starlette.requests import HTTPConnection, Request
from taskiq import AsyncBroker, Context, TaskiqState

__all__ = ["MessageContexts", "current_context", "message_context"]

_current: ContextVar[Context | None] = ContextVar("fastask_message", default=None)


message_context: Callable[[], Context | None] = _current.get
"""Gives Taskiq's `Context` of the message that this asyncio task runs, or `None`."""


def current_context() -> Context:
    """Give Taskiq's `Context` of the message that this asyncio task runs.

    Raises:
        RuntimeError: no message is being executed here. Taskiq's receiver has announced
            none, which is so outside of tasks, or with a release that works differently.
    """
    if (context := _current.get()) is not None:
        return context
    raise RuntimeError("Taskiq's receiver announced no message to fastask")


class MessageContexts(dict[Any, Any]):
    """A broker's dependency context that keeps messages apart.

    Plain Taskiq tasks of the broker resolve their dependencies from copies of it, which
    also hold a `Request` of their own.

    Args:
        entries: what `broker.add_dependency_context` added before.
        make_request: makes the request of one run.

    Attributes:
        version: how often entries were added; what was made of them before is stale.
    """

    def __init__(self, entries: dict[Any, Any], make_request: Callable[[], Request]) -> None:
        super().__init__(entries)
        self._make_request = make_request
        self.version: int = 0

    @classmethod
    def installed(cls, broker: AsyncBroker, make_request: Callable[[], Request]) -> Self:
        """Make a broker keep its messages apart; several programs may share it."""
        if isinstance(broker.custom_dependency_context, cls):
            return broker.custom_dependency_context
        entries = {TaskiqState: broker.state, **broker.custom_dependency_context}
        contexts = cls(entries, make_request)
        broker.custom_dependency_context = contexts
        return contexts

    def update(self, entries: dict[Any, Any]) -> None:  # type: ignore[override]
        """Add entries; a message's `Context` goes to the asyncio task that runs it."""
        context = entries.get(Context)
        if context is None:
            self.version += 1
            super().update(entries)
        else:
            _current.set(context)  # what comes with it, Taskiq's state, is here already

    def __setitem__(self, key: Any, value: Any) -> None:
        self.version += 1
        super().__setitem__(key, value)

    def __copy__(self) -> dict[Any, Any]:
        return _OneMessage(self, self._make_request)


class _OneMessage(dict[Any, Any]):
    """What Taskiq's resolver works with while it resolves one plain task."""

    def __init__(self, entries: dict[Any, Any], make_request: Callable[[], Request]) -> None:
        super().__init__(entries)
        self._make_request = make_request
        if (context := _current.get()) is not None:
            self[Context] = context

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in (Request, HTTPConnection)

    def __missing__(self, key: Any) -> Any:
        if key not in (Request, HTTPConnection):
            raise KeyError(key)
        request = self._make_request()
        self[Request] = self[HTTPConnection] = request
        return request
