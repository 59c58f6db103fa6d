"""The app's lifespan: around the web process, and again in every worker.

Web process: broker up, user's startup, serve, user's shutdown, broker down. Worker:
Taskiq starts the broker, and the app's whole lifespan is entered and left in one asyncio
task, so that task groups and context variables inside it work.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeAlias

from fastapi import FastAPI
from taskiq import AsyncBroker
from typing_extensions import TypeVar

from fastask.brokers.memory import MemoryBroker
from fastask.program import Program
from fastask.signatures import name_of

__all__ = ["AppLifespan", "AppT", "Lifespan", "LifespanOwner", "UserLifespan"]

State: TypeAlias = Mapping[str, Any]
AppT = TypeVar("AppT", bound=FastAPI, default=FastAPI)
Lifespan: TypeAlias = Callable[[AppT], AbstractAsyncContextManager[State]]
UserLifespan: TypeAlias = Callable[
    [AppT],
    AbstractAsyncContextManager[State | None] | AsyncIterator[State | None],
]


class LifespanOwner:
    """Holds an async context manager open in one asyncio task of its own.

    anyio's cancel scopes, and so task groups, must be left in the task that entered them;
    Taskiq's startup and shutdown run in different ones (taskiq 0.13).

    Args:
        context: what to enter and to leave.
    """

    def __init__(self, context: AbstractAsyncContextManager[Any]) -> None:
        self._context = context
        self._leave = asyncio.Event()
        self._entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> Any:
        """Enter the context.

        Returns:
            What it yields.

        Raises:
            BaseException: what its startup raises.
        """
        self._task = asyncio.create_task(self._hold(), name="fastask lifespan")
        try:
            await asyncio.wait([self._task, self._entered], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise
        if not self._entered.done():
            await self._task  # raises what the startup raised
        return self._entered.result()

    async def leave(self) -> None:
        """Leave the context.

        Raises:
            BaseException: what its shutdown raises.
        """
        if self._task is not None:
            self._leave.set()
            await self._task

    async def _hold(self) -> None:
        async with self._context as yielded:
            self._entered.set_result(yielded)
            await self._leave.wait()


class AppLifespan:
    """The lifespan of one `FastTask`'s app.

    Args:
        program: the app and its broker.

    Attributes:
        loop: the event loop in which it runs, and in which its resources work.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._is_running = False
        self._is_entering = False
        self._owner: LifespanOwner | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_running(self) -> bool:
        """Whether the app is started here, by a server, a worker or a test."""
        return self._is_running

    def wrap(self, user: UserLifespan[AppT] | None) -> Lifespan[AppT]:
        """Put the broker around a user's lifespan.

        Args:
            user: an async context manager function, an async generator function, or nothing.
        """
        opened = _context_function(user)

        @asynccontextmanager
        async def entered(app: AppT) -> AsyncIterator[State]:
            if self._is_entering:  # from `enter`, which leaves the broker alone
                self._is_entering = False
                async with opened(app) as state:
                    yield state
            elif self._owner is not None:  # a test has entered it before its client does
                yield self._program.state
            elif self._is_running:  # a second server of the same app; the broker is up
                async with opened(app) as state:
                    yield state
            else:
                self._program.adopt(app)
                broker = self._program.broker
                async with (
                    _started(broker),
                    opened(app) as state,
                    self._running(state),
                    _consuming(broker),
                ):
                    yield state

        def lifespan(app: AppT) -> AbstractAsyncContextManager[State]:
            given: Any = app
            if not isinstance(given, FastAPI):
                raise TypeError(
                    f"a lifespan is called with the app, not with {name_of(given)}; "
                    "write @ft.lifespan without parentheses, or FastAPI(lifespan=ft.lifespan(f))"
                )
            return entered(app)

        return lifespan

    async def enter(self) -> None:
        """Enter the app's whole lifespan, in an asyncio task of its own.

        Does nothing where the app is started already: a lifespan that starts the broker
        itself gets here again.

        Raises:
            AppImportError: the app can't be had.
            BaseException: what the lifespan's startup raises.
        """
        if self._is_running:
            return
        app = self._program.app
        self._is_running = self._is_entering = True
        try:
            self._owner = LifespanOwner(app.router.lifespan_context(app))
            self._program.state = dict(await self._owner.enter() or {})
            self.loop = asyncio.get_running_loop()
        except BaseException:
            self._is_running = False
            self._owner = None
            raise
        finally:
            self._is_entering = False

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
            self._is_running = False
            self._program.state = {}
            self.loop = None

    @asynccontextmanager
    async def _running(self, state: State | None) -> AsyncIterator[None]:
        self._program.state = dict(state or {})
        self._is_running = True
        self.loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            self._is_running = False
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


@asynccontextmanager
async def _started(broker: AsyncBroker) -> AsyncIterator[None]:
    """Start a broker as its client; in a worker or scheduler Taskiq starts it."""
    if broker.is_worker_process or broker.is_scheduler_process:
        yield
        return
    await broker.startup()
    try:
        with broker.queueing() if isinstance(broker, MemoryBroker) else nullcontext():
            yield
    finally:
        await broker.shutdown()


@asynccontextmanager
async def _consuming(broker: AsyncBroker) -> AsyncIterator[None]:
    if isinstance(broker, MemoryBroker):
        async with broker.consuming():
            yield
    else:
        yield
