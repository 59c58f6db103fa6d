"""One time that `ft.testing()` is entered: everything in memory, then the former state back."""

from __future__ import annotations

import asyncio
import threading
from collections import ChainMap
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from taskiq import AckableMessage, AsyncBroker, BrokerMessage, TaskiqEvents
from taskiq.utils import maybe_awaitable

from fastask.brokers.lifecycle import inside_lifespan
from fastask.brokers.unknown import RefusingTask
from fastask.brokers.unreadable import CheckedFormatter
from fastask.lifespan import AppLifespan
from fastask.program import Program
from fastask.shortening import in_one_line
from fastask.testing.loops import answered, executed, running_loop, this_loop, waited
from fastask.testing.record import Record, SentTask, due, running
from fastask.testing.replacing import keep, keep_overrides, replace
from fastask.testing.results import RecordedResults
from fastask.testing.runs import Run, Runs
from fastask.testing.threads import Limiters, OneThreadEach
from fastask.testing.underway import Begun, TestReceiver, Underway
from fastask.unwinding import Unwinding
from fastask.wire.errors import told

__all__ = ["Options", "Run", "Session", "watchers"]

T = TypeVar("T")

_LONGEST = 400  # characters of what a task raised

watchers: list[Callable[[Session], object]] = []
"""Who is told of each session that is opened."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `ft.testing(...)` was told.

    Attributes:
        run: when tasks are run.
        raise_errors: whether errors that nobody has looked at are raised at the end.
        lifespan: whether the app's lifespan is entered if no client does it.
    """

    run: Run = "inline"
    raise_errors: bool = True
    lifespan: bool = True

    def __post_init__(self) -> None:
        if self.run not in ("inline", "later", "never"):
            raise ValueError(f"run must be 'inline', 'later' or 'never', not {self.run!r}")


class Session:
    """Puts methods in memory in the place of the broker's own, until it is closed.

    Args:
        program: the app and its broker.
        lifespan: the app's lifespan.
        options: what it was told.

    Attributes:
        record: what was sent.
        runs: what of it waits, and runs it.
        program: the app and its broker.
        loop: the event loop in which `enter_lifespan` was called, until it is left.
        thread: the thread in whose event loop a task may enter the lifespan, instead of in one
            that is started for it; the pytest plugin sets it, for fixtures that send.
        keepers: the event loops of fixtures that are to end in them, the lifespan after those.
        is_left: whether its test has ended.
    """

    def __init__(self, program: Program, lifespan: AppLifespan, options: Options) -> None:
        self.program = program
        self.record: Record = Record(program.broker)
        self.runs: Runs = Runs(self.record, options.run, self._run)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: int | None = None
        self.keepers: list[asyncio.AbstractEventLoop] = []
        self._underway = Underway(lambda: self.runs.is_going_on)
        self._lifespan = lifespan
        self._options = options
        self._undo = ExitStack()
        self._overrides: dict[Any, Any] = {}
        self._all_overrides: ChainMap[Any, Any] = ChainMap(
            dict(program.broker.dependency_overrides)
        )
        self._is_served = False
        self._portals = ExitStack()
        self._portal: BlockingPortal | None = None
        self._opened = Unwinding()
        self._opening = threading.Lock()
        self._entering = asyncio.Lock()
        self._receiver: TestReceiver | None = None
        self._context = Context()
        self.is_left: bool = False

    def open(self, *, is_nested: bool) -> None:
        """Switch to memory.

        Args:
            is_nested: whether another session of the broker is open, which has done so with
                its start and stop. They are for both, as the lifespan is.

        Raises:
            AppImportError: the app can't be had.
        """
        with ExitStack() as undo:
            if not is_nested:
                lifecycle = self.program.lifecycle
                undo.enter_context(lifecycle.replaced(self._startup, self._shutdown))
                keep(undo, self.program.broker.state)
            self._switch(undo)
            self._undo = undo.pop_all()
        self._context = copy_context()
        for watcher in watchers:
            watcher(self)

    @property
    def entered(self) -> Self:
        """The same, while its test goes on.

        Raises:
            RuntimeError: it was left.
        """
        if self.is_left:
            raise RuntimeError("this ft.testing() was left; use its tasks while it is entered")
        return self

    def close(self, error: BaseException | None = None) -> None:
        """End what runs, and the event loop that was started for tasks.

        Args:
            error: what the test raised.

        Raises:
            BaseException: what the lifespan's shutdown raises, if it was entered there.
        """
        try:
            self._underway.wait(error)
        finally:
            self.is_left = True
            self._portals.close()

    def restore(self) -> None:
        """Switch back."""
        self._undo.close()

    def override(self, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> None:
        """Override a dependency of the app, also of one that a factory is yet to make.

        Raises:
            TypeError: the replacement is no function.
            RuntimeError: the test was left.
        """
        if not callable(replacement):
            raise TypeError(
                f"a dependency is overridden with a function, not with a "
                f"{type(replacement).__name__}; write 'lambda: fake'"
            )
        self.entered._overrides[dependency] = replacement
        self.program.app.dependency_overrides[dependency] = replacement

    def check(self, error: BaseException | None) -> None:
        """Raise the errors that nobody has looked at; note them on an error that is raised.

        Raises:
            BaseExceptionGroup: those errors.
        """
        self._underway.has_failed |= error is not None
        unseen = self.record.unseen_errors() if self._options.raise_errors else []
        for sent in self.record.sent:
            sent.is_looked_at = True  # once is enough
        if error is not None:
            for name, one in unseen:
                words = in_one_line(told(one, repr), _LONGEST)
                error.add_note(f"task {name} failed with {words}")
        elif unseen:
            names = ", ".join(name for name, _ in unseen)
            message = f"tasks failed, and the test has not looked at .error: {names}"
            raise BaseExceptionGroup(message, [one for _, one in unseen])

    async def enter_lifespan(self) -> None:
        """Start the broker and the app here, unless somebody has, or nobody is to do it.

        Raises:
            BaseException: what the startup raises.
        """
        async with self._entering:
            if not self._lifespan.is_running:  # a task of a fixture may have entered it
                loop = this_loop()
                self._opened = await self._with_lifespan()
                self.loop = loop

    async def settle(self, error: BaseException | None = None) -> None:
        """Wait for what runs, and cancel what takes too long, which fails.

        Args:
            error: what the test raised.
        """
        await self._underway.ended(error)

    async def leave_lifespan(self, error: BaseException | None = None) -> None:
        """Stop what `enter_lifespan` has started, when nothing runs in it any more.

        Args:
            error: what the test raised.

        Raises:
            BaseException: that error, or else what the shutdown raises.
        """
        traceback = None if error is None else error.__traceback__
        kind = None if error is None else type(error)
        try:
            await self.settle(error)
        finally:
            self.loop = None
            try:
                await self._opened.moved().__aexit__(kind, error, traceback)
            finally:  # what the shutdown has begun has no app any more
                await self._underway.ended(asyncio.CancelledError())

    def block(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run something asynchronous from a test that is not.

        Raises:
            RuntimeError: it would wait for the event loop that it blocks, or for one that
                does not run.
        """
        loop = self.entered._lifespan.loop
        if loop is None:
            returned: T = self._open_portal().call(work)
            return returned
        if loop is running_loop():
            raise RuntimeError(
                "the app runs in the event loop of this test, which can't wait for itself; "
                "write 'async with ft.testing() as tasks' and await it"
            )
        return waited(loop, work)

    def _switch(self, undo: ExitStack) -> None:
        # On the object itself, so that whoever holds the broker, its tasks or its result
        # backend meets the test.
        broker, adopt = self.program.broker, self.program.adopt
        self._switch_app(undo, adopt)
        replacements: dict[str, Any] = {
            "kick": self.runs.kick,
            "find_task": partial(_found, broker, broker.find_task),
            "formatter": CheckedFormatter.around(broker),
            "result_backend": RecordedResults.instead_of(broker, self.record),
            "dependency_overrides": self._all_overrides,
        }
        replace(undo, broker, replacements)
        limiters = Limiters(self.program._threads)  # where `Program.limiter` looks
        replace(undo, self.program, {"_threads": limiters.threads, "_limiters": limiters})
        threads = OneThreadEach(self._underway, limiters.threads)
        self._receiver = TestReceiver(broker, threads, max_async_tasks=100, run_startup=False)

    def _switch_app(self, undo: ExitStack, adopt: Callable[[FastAPI], None]) -> None:
        app = self.program.app

        def adopted(served: FastAPI) -> None:  # when a client starts the app
            adopt(served)
            self._is_served = True
            if served is not app:
                keep_overrides(self._undo, served)
                served.dependency_overrides.update(self._overrides)

        keep_overrides(undo, app)
        replace(undo, self.program, {"app": app, "adopt": adopted})
        # An app without `ft.lifespan` is noticed when a client starts it, and not started again.
        lifespan = self._lifespan.wrap(app.router.lifespan_context)
        replace(undo, app.router, {"lifespan_context": lifespan})

    @property
    def _is_started(self) -> bool:
        """Whether the app runs, or a client is about to start it, or to stop it."""
        is_served = self._is_served and self.program.lifecycle.is_up
        return self._lifespan.is_running or is_served

    @property
    def _is_opening(self) -> bool:
        """Whether a task has the lifespan entered now, and this is not the startup itself."""
        is_locked = self._opening.locked() or (self._entering.locked() and self._is_at_home)
        return is_locked and self._lifespan not in inside_lifespan.get()

    @property
    def _is_at_home(self) -> bool:
        return self.thread == threading.get_ident()

    async def _run(self, sent: SentTask, message: BrokerMessage) -> None:
        run = self._underway.begin(sent)
        try:
            await self._run_at_home(run, message)
        finally:
            self._underway.end(run)

    async def _run_at_home(self, run: Begun, message: BrokerMessage) -> None:
        if self._options.lifespan and (not self._is_started or self._is_opening):
            if self._is_at_home:
                await self.enter_lifespan()
            else:
                await asyncio.to_thread(self._open_portal)
        loop = self._lifespan.loop
        if loop not in (None, asyncio.get_running_loop()):
            await answered(loop)
        # Where the lifespan runs, since what it opened belongs to that loop.
        work = self._execute(run, message)
        await executed(work, loop, self._context_of_a_run(), run.cancel)

    def _context_of_a_run(self) -> Context:
        """Give the context variables of the test, not those of who sends, as a worker has none."""
        context = self._context.copy()
        context.run(inside_lifespan.set, inside_lifespan.get())
        return context

    async def _execute(self, run: Begun, message: BrokerMessage) -> None:
        try:
            with run.begin():
                await self._receive(run.sent, message)
        finally:
            self._underway.end(run)

    async def _receive(self, sent: SentTask, message: BrokerMessage) -> None:
        running.set(sent)
        due.set(None)
        sent.begin()
        # Those of the app are for tasks of Taskiq's own, too; a test may have assigned new ones.
        self._all_overrides.maps[1:] = [self.program.app.dependency_overrides]
        receiver: Any = self._receiver  # made on opening
        try:
            await receiver.callback(AckableMessage(data=message.message, ack=lambda: None))
        except Exception as error:  # noqa: BLE001 - a worker would go on, too
            sent.end(None, error)
        except BaseException as error:
            sent.end(None, error)
            raise
        if sent.state == "running":  # without a result, as `NoResultError` asks for
            sent.end(None, None)

    async def _with_lifespan(self) -> Unwinding:
        opened = Unwinding()
        async with Unwinding() as opening:
            if self._options.lifespan and not self._lifespan.is_running:
                held = self.program.lifecycle.held()
                await opening.enter("shutdown of the broker", held)
                await opening.enter("shutdown of the lifespan", self._lifespan.entered())
                opened = opening.moved()
        return opened

    def _open_portal(self) -> BlockingPortal:
        """Start an event loop for the lifespan, and for tasks, where no client runs one."""
        with self._opening:
            return self._portal or self._opened_portal()

    def _close_portal(self) -> None:
        self._portal = None

    def _opened_portal(self) -> BlockingPortal:
        self._portals.callback(self._close_portal)
        portal = self._portals.enter_context(start_blocking_portal())
        opened = portal.call(self._with_lifespan)
        self._portals.callback(portal.call, opened.aclose)
        self._portal = portal
        return portal

    async def _startup(self) -> None:
        """Run the handlers and middlewares of a start, and connect to nothing."""
        await AsyncBroker.startup(self.program.broker)
        await self._fire(TaskiqEvents.WORKER_STARTUP)

    async def _shutdown(self) -> None:
        await self._fire(TaskiqEvents.WORKER_SHUTDOWN)
        await AsyncBroker.shutdown(self.program.broker)

    async def _fire(self, event: TaskiqEvents) -> None:
        for handler in self.program.broker.event_handlers[event]:
            await maybe_awaitable(handler(self.program.broker.state))


def _found(broker: AsyncBroker, find: Callable[[str], Any], name: str) -> Any:
    return find(name) or RefusingTask(broker, name)
