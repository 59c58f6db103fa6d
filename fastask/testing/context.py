"""What `ft.testing()` gives: a context, for `with` and `async with`."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from taskiq import AsyncBroker

from fastask.lifespan import AppLifespan
from fastask.program import Program
from fastask.testing.loops import this_loop
from fastask.testing.session import Options, Session
from fastask.testing.tasks import AsyncTasks, Tasks

__all__ = ["Testing"]

_LONGEST = 60.0  # seconds that the test of another thread or asyncio task may take
_PAUSE = 0.005  # seconds

_TOO_LONG = f"ft.testing() is entered elsewhere for more than {_LONGEST} s"
_IN_THE_WAY = (
    "another asyncio task of this thread is inside ft.testing(), and can't end while this one "
    "waits for it; write 'async with ft.testing()'"
)


class Testing:
    """Runs an app's tasks in memory while it is entered, with `with` or `async with`.

    Each message is made into bytes and read again, and executed by Taskiq's own receiver:
    with middlewares, labels, timeouts, retries (which don't wait), validation and
    dependencies. The broker connects to nothing. The app's lifespan runs once: a test client
    that is entered runs it; where none does, it is entered on entering (`async with`) or for
    the first task (`with`). It may be entered again, and within another one; tests of
    several threads take turns.

    Args:
        program: the app and its broker.
        lifespan: the app's lifespan.
        options: when tasks run, and more.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, program: Program, lifespan: AppLifespan, options: Options) -> None:
        self._program = program
        self._lifespan = lifespan
        self._options = options
        self._sessions: list[Session] = []
        self._turns = _Turns.of(program.broker)

    def __enter__(self) -> Tasks:
        self._turns.take()
        return Tasks(self._open())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session = self._sessions.pop()
        try:
            session.close(error)
        except BaseException as later:
            session.check(_first(error, later))
            if error is None:
                raise
        else:
            session.check(error)
        finally:
            self._turns.give(session)

    async def __aenter__(self) -> AsyncTasks:
        this_loop()
        await self._turns.taken()
        session = self._open()
        try:
            await session.enter_lifespan()
        except BaseException:
            self._sessions.remove(session)
            self._close(session)
            raise
        return AsyncTasks(session)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session = self._sessions.pop()
        try:
            try:
                await session.leave_lifespan(error)
            finally:
                session.close(error)  # what the shutdown has sent may still run
        except BaseException as later:
            session.check(later)
            raise
        else:
            session.check(error)
        finally:
            self._turns.give(session)

    def _open(self) -> Session:
        session = Session(self._program, self._lifespan, self._options)
        try:
            session.open(is_nested=self._turns.is_entered)
        except BaseException:
            self._turns.give()
            raise
        self._turns.enter(session)
        self._sessions.append(session)
        return session

    def _close(self, session: Session) -> None:
        try:
            session.close()
        finally:
            self._turns.give(session)


def _first(error: BaseException | None, later: BaseException) -> BaseException:
    """Give the test's own error, with a note of what leaving has raised, if it has one."""
    if error is None:
        return later
    error.add_note(f"Then leaving ft.testing() raised {later!r}")
    return error


class _Turns:
    """Lets tests of one broker run one after the other, and within each other.

    What a test has replaced is put back after all that was replaced later. It may be left
    late: by a generator that nobody closes, say.
    """

    _of_brokers: ClassVar[WeakKeyDictionary[AsyncBroker, _Turns]] = WeakKeyDictionary()
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: int | None = None
        self._task: asyncio.Task[Any] | None = None
        self._depth = 0
        self._turn = object()
        self._is_inside: ContextVar[object] = ContextVar("fastask_testing", default=None)
        self._entered: list[Session] = []
        self._left: list[Session] = []

    @classmethod
    def of(cls, broker: AsyncBroker) -> _Turns:
        """Give those of a broker."""
        with cls._making:
            return cls._of_brokers.setdefault(broker, cls())

    @property
    def is_entered(self) -> bool:
        """Whether something is replaced."""
        return bool(self._entered)

    def take(self) -> None:
        """Wait for the tests of other threads, and begin.

        Raises:
            RuntimeError: the test of another asyncio task of this thread is in the way.
            TimeoutError: they take too long.
        """
        with self._changed:
            if self._thread == threading.get_ident() and not self._may_begin():
                raise RuntimeError(_IN_THE_WAY)
            if not self._changed.wait_for(self._may_begin, _LONGEST):
                raise TimeoutError(_TOO_LONG)
            self._begin()

    async def taken(self) -> None:
        """Wait for the tests of other threads and asyncio tasks, and begin.

        Raises:
            TimeoutError: they take too long.
        """
        end = monotonic() + _LONGEST
        while True:
            with self._changed:
                if self._may_begin():
                    self._begin()
                    return
            if monotonic() > end:
                raise TimeoutError(_TOO_LONG)
            await asyncio.sleep(_PAUSE)

    def enter(self, entered: Session) -> None:
        """Note what is replaced in this turn."""
        self._entered.append(entered)

    def give(self, entered: Session | None = None) -> None:
        """End, and put back what was replaced, unless something later has to be before it."""
        with self._changed:
            if entered is not None:
                self._left.append(entered)
            while self._entered and self._entered[-1] in self._left:
                self._left.remove(self._entered[-1])
                self._entered.pop().restore()
            self._depth -= 1
            if not self._depth:
                self._thread = self._task = None
                self._changed.notify_all()

    def _may_begin(self) -> bool:
        if not self._depth or self._is_inside.get() is self._turn:
            return True
        if self._thread != threading.get_ident():
            return False
        # Of another task that has ended, as one that has set up a fixture.
        task = _current_task()
        return task is None or self._task is None or self._task is task or self._task.done()

    def _begin(self) -> None:
        if not self._depth:
            self._thread, self._task = threading.get_ident(), _current_task()
            self._turn = object()
        self._depth += 1
        self._is_inside.set(self._turn)


def _current_task() -> asyncio.Task[Any] | None:
    with suppress(RuntimeError):
        return asyncio.current_task()
    return None
