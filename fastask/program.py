"""What the tasks of one `FastTask` share: the app, its lifespan's state, the broker, threads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import anyio.lowlevel
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from taskiq import AsyncBroker

from fastask.brokers.lifecycle import BrokerLifecycle
from fastask.context import MessageContexts
from fastask.loading import AppReference
from fastask.request import RequestFactory

__all__ = ["Program"]


class Program:
    """One app and its broker.

    Args:
        app: names the app.
        broker: the broker of its tasks.
        requests: makes the requests that tasks see.
        threads: how many blocking calls of tasks may run at once; `None` is the limit that
            FastAPI's routes have too, anyio's 40.

    Attributes:
        state: what the app's lifespan yielded, while it runs.
        lifecycle: starts and stops the broker.
        contexts: the messages that run, and what `broker.add_dependency_context` added.
    """

    def __init__(
        self,
        app: AppReference,
        broker: AsyncBroker,
        requests: RequestFactory,
        threads: int | None = None,
    ) -> None:
        self.reference = app
        self.broker = broker
        self.state: Mapping[str, Any] = {}
        self.lifecycle: BrokerLifecycle = BrokerLifecycle.of(broker)
        self._requests = requests
        self._threads = threads
        self.contexts: MessageContexts = MessageContexts.installed(broker, self.request)
        self._limiters: anyio.lowlevel.RunVar[CapacityLimiter] = anyio.lowlevel.RunVar(
            f"fastask_threads_{id(self)}"
        )

    @cached_property
    def app(self) -> FastAPI:
        """The app, imported on first use.

        Raises:
            AppImportError: it can't be had.
        """
        return self.reference.load()

    def adopt(self, app: FastAPI) -> None:
        """Take the app that a server has started, which a factory may have made anew."""
        self.__dict__["app"] = app

    @property
    def limiter(self) -> CapacityLimiter | None:
        """The limit of threads of the running event loop."""
        if self._threads is None:
            return None
        limiter = self._limiters.get(None)
        if limiter is None:
            limiter = CapacityLimiter(self._threads)
            self._limiters.set(limiter)
        return limiter

    def request(self) -> Request:
        """Make the request of one task run."""
        return self._requests.make(self.app, self.state)

    def extra(self, asked: Any) -> Any:
        """Give what `broker.add_dependency_context` provides for a class or function."""
        return self.contexts[asked]

    def overrides(self) -> Mapping[Any, Any]:
        """Give the overrides that hold now: the app's, and below them the broker's."""
        ours, taskiqs = self.app.dependency_overrides, self.broker.dependency_overrides
        return {**taskiqs, **ours} if taskiqs else ours
