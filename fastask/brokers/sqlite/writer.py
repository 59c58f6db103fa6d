"""Threads that use the database, so that no event loop waits for a disk or a lock.

One thread writes. What waits for it goes into one transaction, so the more there is to do,
the less each costs. Another thread reads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, TypeAlias

from fastask.brokers.sqlite.database import Session, Storage
from fastask.brokers.sqlite.errors import is_broken, is_locked, may_pass, patiently, told
from fastask.brokers.sqlite.forks import Guarded
from fastask.brokers.sqlite.notices import ring

__all__ = ["Job", "Lane", "Reader", "Run", "Transaction", "Writer"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

_MOST = 500  # operations in one transaction
_CLOSE_TIMEOUT = 10.0  # seconds
_SETTLE_PAUSE = 0.02  # seconds
_RETRY = 1.0  # seconds until a job that has failed is tried again


class Transaction:
    """What operations are done with.

    Args:
        connection: the connection.

    Attributes:
        ports: the ports of workers to wake up once it is committed.
    """

    __slots__ = ("execute", "executemany", "ports")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute: Callable[..., sqlite3.Cursor] = connection.execute
        self.executemany: Callable[..., sqlite3.Cursor] = connection.executemany
        self.ports: set[int] = set()


Run: TypeAlias = Callable[[Transaction, Sequence[Any]], Sequence[Any]]
"""Does operations of one kind: it is called with their arguments, and gives a value for each."""


class Job:
    """Something that a writer does now and then.

    Args:
        interval: seconds from one time to the next.
        run: does it; gives whether there is more of it to do soon.
        is_wanted: tells beforehand whether there is anything to do.
    """

    def __init__(
        self,
        interval: float,
        run: Callable[[Transaction], bool],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.interval = interval
        self.run = run
        self.is_wanted = is_wanted
        self.next: float = monotonic() + interval


class _Operation:
    __slots__ = ("argument", "error", "future", "is_droppable", "loop", "run", "value")

    def __init__(
        self,
        run: Run,
        argument: Any,
        loop: asyncio.AbstractEventLoop | None = None,
        future: asyncio.Future[Any] | None = None,
        *,
        is_droppable: bool = False,
    ) -> None:
        self.run = run
        self.argument = argument
        self.loop = loop
        self.future = future
        self.is_droppable = is_droppable
        self.value: Any = None
        self.error: BaseException | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether nobody waits for it any more, so that it must not be done."""
        return self.is_droppable and self.future is not None and self.future.cancelled()


_Queue: TypeAlias = "SimpleQueue[_Operation | asyncio.Future[None]]"


class Lane(Guarded):
    """A thread with a connection. It is started by the first operation and ended by `close`.

    It may be used from several event loops and threads, and after a fork.

    Args:
        storage: says how to open the connection.
        is_reader: whether it must not write.
    """

    def __init__(self, storage: Storage, *, is_reader: bool) -> None:
        self.jobs: list[Job] = []
        self._storage = storage
        self._is_reader = is_reader
        self._queue: _Queue | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        super().__init__()

    async def do(self, run: Run, argument: Any, *, is_droppable: bool = False) -> Any:
        """Have an operation done.

        Args:
            run: does it, with others of its kind.
            argument: what it is called with.
            is_droppable: whether it is not to be done when its caller was cancelled before.

        Returns:
            The value that `run` has given for it.

        Raises:
            StorageError: the file can't be used, or is locked for too long.
            Exception: what `run` raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        operation = _Operation(run, argument, loop, future, is_droppable=is_droppable)
        with self.lock:
            if self._queue is None or self._pid != os.getpid():
                self._start()
            self._queue.put(operation)  # type: ignore[union-attr]
        del operation  # what it gives belongs to the caller alone
        return await future

    async def close(self) -> None:
        """Do what was asked for, close the connection and end the thread."""
        with self.lock:
            queue, self._queue = self._queue, None
            thread, self._thread = self._thread, None
            if queue is None or thread is None or self._pid != os.getpid():
                return
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.put(ended)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await ended
        except TimeoutError:
            logger.warning("%s is still locked; it is left to its thread", self._storage.path)
        else:
            thread.join(_CLOSE_TIMEOUT)  # it has nothing left to do

    def close_for_fork(self) -> None:
        """Nothing is open here, see `Session`."""

    def _start(self) -> None:
        self._queue = SimpleQueue()
        self._pid = os.getpid()
        kind = "reader" if self._is_reader else "writer"
        self._thread = threading.Thread(
            target=self._serve, args=(self._queue,), name=f"fastask sqlite {kind}", daemon=True
        )
        self._thread.start()

    def _serve(self, queue: _Queue) -> None:
        session = Session(self._storage, is_reader=self._is_reader)
        while True:
            batch, ended = self._batch(queue)
            if batch:
                with session.lock:
                    self._attempt(session, batch)
                _settle_all(batch)
            del batch  # what was given belongs to the callers alone
            if ended is not None:
                with session.lock:
                    session.close()
                _call(ended.get_loop(), _settle, [(ended, None, None)])
                return

    def _batch(self, queue: _Queue) -> tuple[list[_Operation], asyncio.Future[None] | None]:
        """Wait for operations and give all that are there."""
        batch: list[_Operation] = []
        timeout = self._until_next_job()
        while len(batch) < _MOST:
            try:
                each = queue.get_nowait() if batch else queue.get(timeout=timeout)
            except Empty:
                break
            if not isinstance(each, _Operation):
                return batch, each
            batch.append(each)
        batch += self._due()
        return batch, None

    def _until_next_job(self) -> float | None:
        if not self.jobs:
            return None
        return max(0.0, min(job.next for job in self.jobs) - monotonic())

    def _due(self) -> list[_Operation]:
        now = monotonic()
        due: list[_Operation] = []
        for job in self.jobs:
            if job.next > now:
                continue
            job.next = now + job.interval
            if job.is_wanted():
                due.append(_Operation(_run_jobs, job))
        return due

    def _attempt(self, session: Session, batch: list[_Operation]) -> None:
        """Do all; again if the file was replaced just now, as errors of it may pass."""
        while True:
            try:
                self._do_all(session, batch)
            except BaseException as error:  # noqa: BLE001 - it goes to who waits
                if may_pass(error) and session.was_replaced():
                    session.close()
                    sleep(_SETTLE_PAUSE)
                    continue
                self._fail(session, batch, error)
            return

    def _do_all(self, session: Session, batch: list[_Operation]) -> None:
        """Do all; if one fails, each alone."""
        connection = session.connection()
        try:
            self._perform(connection, batch)
        except BaseException as error:
            is_passing = may_pass(error) and session.was_replaced()
            if len(batch) == 1 or is_locked(error) or is_passing:
                raise
            for index, each in enumerate(batch):
                try:
                    self._perform(connection, [each])
                except BaseException as its_error:  # noqa: BLE001 - it goes to who waits
                    if is_broken(its_error):
                        self._fail(session, batch[index:], its_error)
                        return
                    self._fail(session, [each], its_error)

    def _fail(self, session: Session, batch: list[_Operation], error: BaseException) -> None:
        for each in batch:
            each.error = told(self._storage.path, error)
            if each.run is _run_jobs:
                each.argument.next = monotonic() + min(_RETRY, each.argument.interval)
                logger.debug("a job of the database has failed: %s", each.error)
        if is_broken(error):
            session.close()

    @abstractmethod
    def _perform(self, connection: sqlite3.Connection, batch: list[_Operation]) -> None:
        """Do all of some operations, or none."""


class Writer(Lane):
    """Writes: all that waits in one transaction.

    Args:
        storage: says how to open the connection.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, is_reader=False)

    def _perform(self, connection: sqlite3.Connection, batch: list[_Operation]) -> None:
        transaction = Transaction(connection)
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            _do([each for each in batch if not each.is_dropped], transaction)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if transaction.ports:
            with suppress(Exception):  # it is committed, and they look by themselves, too
                ring(transaction.ports)


class Reader(Lane):
    """Reads, whoever is writing.

    Args:
        storage: says how to open the connection.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, is_reader=True)

    def _perform(self, connection: sqlite3.Connection, batch: list[_Operation]) -> None:
        patiently(lambda: _do(batch, Transaction(connection)))


def _do(batch: list[_Operation], transaction: Transaction) -> None:
    kinds: dict[Run, list[_Operation]] = {}
    for each in batch:
        kinds.setdefault(each.run, []).append(each)
    for run, operations in kinds.items():
        values = run(transaction, [each.argument for each in operations])
        for each, value in zip(operations, values, strict=True):
            each.value = value


def _run_jobs(transaction: Transaction, jobs: Sequence[Job]) -> list[None]:
    for job in jobs:
        if job.run(transaction):
            job.next = monotonic() + min(_RETRY, job.interval)
    return [None] * len(jobs)


_Settled: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


def _settle_all(batch: list[_Operation]) -> None:
    """Tell the event loops, each once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Settled]] = {}
    for each in batch:
        if each.loop is not None and each.future is not None:
            by_loop.setdefault(each.loop, []).append((each.future, each.value, each.error))
    for loop, settled in by_loop.items():
        _call(loop, _settle, settled)


def _settle(settled: list[_Settled]) -> None:
    for future, value, error in settled:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:  # it is closed, and nobody waits any more
        logger.debug("an event loop is closed that waited for the database")
