"""The app's lifespan: around the web process, and again in every worker.

The order is the same in both: broker up, user's startup, serve, user's shutdown, broker
down. In the web process the wrapped lifespan holds the broker. In a worker Taskiq starts
the broker, and the app's whole lifespan is then entered and left in one asyncio task.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from fastapi import FastAPI
from typing_extensions import TypeVar

from fastask.brokers.lifecycle import inside_lifespan
from fastask.brokers.memory import MemoryBroker
from fastask.owner import LifespanOwner
from fastask.program import Program
from fastask.signatures import name_of
from fastask.unwinding import Unwinding

__all__ = ["AppLifespan", "AppT", "Lifespan", "UserLifespan"]

State: TypeAlias = Mapping[str, Any]
AppT = TypeVar("AppT", bound=FastAPI, default=FastAPI)
Lifespan: TypeAlias = Callable[[AppT], AbstractAsyncContextManager[State]]
UserLifespan: TypeAlias = Callable[
    [AppT],
    AbstractAsyncContextManager[State | None] | AsyncIterator[State | None],
]


class AppLifespan:
    """The lifespan of one `FastTask`'s app.

    Args:
        program: the app and its broker.

    Attributes:
        loop: the event loop in which it runs, and in which its resources work.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._pid: int | None = None  # the process in which it runs
        self._is_starting = False
        self._owner: LifespanOwner | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_running(self) -> bool:
        """Whether the app is started in this process, by a server, a worker or a test."""
        return self._pid == os.getpid()

    def wrap(self, user: UserLifespan[AppT] | None) -> Lifespan[AppT]:
        """Put the broker around a user's lifespan.

        Args:
            user: an async context manager function, an async generator function, or nothing.
        """
        opened = _context_function(user)

        @asynccontextmanager
        async def entered(app: AppT) -> AsyncIterator[State]:
            is_entered = self in inside_lifespan.get()
            if self.is_running and self._owner is not None and not is_entered:
                yield self._program.state  # a test has entered it before its client does
            elif is_entered or self.is_running or self._is_starting:
                # From `enter`; or a second server of the app; or a lifespan wrapped twice.
                async with opened(app) as state:
                    yield state
            else:
                async with Unwinding() as unwinding:
                    yield await self._served(app, opened(app), unwinding)

        def lifespan(app: AppT) -> AbstractAsyncContextManager[State]:
            given: Any = app
            if not isinstance(given, FastAPI):
                raise TypeError(
                    f"a lifespan is called with the app, not with {name_of(given)}; "
                    "write @ft.lifespan without parentheses, or FastAPI(lifespan=ft.lifespan(f))"
                )
            return entered(app)

        return lifespan

    async def enter(self) -> LifespanOwner | None:
        """Enter the app's whole lifespan, in an asyncio task of its own.

        Returns:
            What holds it; nothing where the app is started already, by somebody else.

        Raises:
            AppImportError: the app can't be had.
            BaseException: what the lifespan's startup raises.
        """
        if self.is_running:
            return None
        app = self._program.app
        owner = LifespanOwner(app.router.lifespan_context(app), self, self._program.lifecycle)
        self._pid, self._owner = os.getpid(), owner
        try:
            async with Unwinding() as opening:
                state = await opening.enter("shutdown of the lifespan", owner)
                self._program.state = dict(state or {})
                opening.moved()  # it is left by `leave`
        except BaseException:
            self._pid = self._owner = None
            raise
        self.loop = asyncio.get_running_loop()
        return owner

    async def leave(self) -> None:
        """Leave what `enter` entered.

        Raises:
            BaseException: what the lifespan's shutdown raises.
        """
        owner, self._owner = self._owner, None
        if owner is None:
            return
        try:
            await owner.leave()
        finally:
            self._pid = None
            self._program.state = {}
            self.loop = None

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[LifespanOwner | None]:
        """Enter and leave; see `enter` and `leave`."""
        owner = await self.enter()
        try:
            yield owner
        finally:
            await self.leave()

    async def _served(
        self,
        app: FastAPI,
        opened: AbstractAsyncContextManager[State],
        unwinding: Unwinding,
    ) -> State:
        """Start what the web process needs, and give the lifespan's state."""
        self._program.adopt(app)
        self._is_starting = True
        try:
            await unwinding.enter("shutdown of the broker", self._program.lifecycle.held())
            if isinstance(broker := self._program.broker, MemoryBroker):
                await unwinding.enter("end of the queue", broker.queueing())
            state = await unwinding.enter("shutdown of the lifespan", opened)
            await unwinding.enter("end of the app", self._running(state))
            if isinstance(broker, MemoryBroker):
                pausing = self._program.lifecycle.pausing()
                stopping = await unwinding.enter("end of pauses", pausing)
                await unwinding.enter("drain of running tasks", broker.consuming(stopping))
        finally:
            self._is_starting = False
        return state

    @asynccontextmanager
    async def _running(self, state: State | None) -> AsyncIterator[None]:
        self._program.state = dict(state or {})
        self._pid = os.getpid()
        self.loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            self._pid = None
            self._program.state = {}
            self.loop = None


def _context_function(user: UserLifespan[AppT] | None) -> Lifespan[AppT]:
    if user is None:
        return _nothing
    opened: Any = asynccontextmanager(user) if inspect.isasyncgenfunction(user) else user
    return opened  # type: ignore[no-any-return]


@asynccontextmanager
async def _nothing(app: FastAPI) -> AsyncIterator[Any]:
    yield None
