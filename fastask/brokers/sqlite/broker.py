"""`sqlite://`: messages in a file, for the processes of one host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, time
from typing import Any
from urllib.parse import unquote

from taskiq import AsyncResultBackend

from fastask.brokers.durable import DurableBroker, Outgoing
from fastask.brokers.inbox import Taken
from fastask.brokers.sqlite import messages
from fastask.brokers.sqlite.database import Synchronous
from fastask.brokers.sqlite.leases import Leases
from fastask.brokers.sqlite.messages import Claim, Listening, Queue, Return
from fastask.brokers.sqlite.notices import Bell
from fastask.brokers.sqlite.results import SQLiteResults
from fastask.brokers.sqlite.store import Store
from fastask.brokers.sqlite.writer import Job, Transaction
from fastask.brokers.url import BrokerURL, Settings, url_of
from fastask.exceptions import BrokerURLError, StorageError

__all__ = ["SQLiteBroker", "broker", "results"]

_LOOK = 1.0  # seconds after which a worker looks by itself
_LISTEN_INTERVAL = 20.0  # seconds between the times that a worker says that it listens


def broker(url: BrokerURL) -> SQLiteBroker:
    """Make the broker of a URL, with its result backend in the same file."""
    return SQLiteBroker(url)


def results(url: BrokerURL) -> SQLiteResults[Any]:
    """Make the result backend of a URL."""
    return _results(Store(path_of(url), queue=url.settings.queue), url.settings)


def _results(store: Store, settings: Settings) -> SQLiteResults[Any]:
    ttl, wait = settings.results_ttl, settings.wait
    return SQLiteResults(store, queue=settings.queue, ttl=ttl, wait=wait)


def path_of(url: BrokerURL) -> str:
    """Give the file that a URL names.

    Raises:
        BrokerURLError: it names none.
    """
    host, slash, quoted = url.address.removeprefix("sqlite://").partition("/")
    if host or not slash:
        if host == ":memory:":
            raise _in_memory()
        raise BrokerURLError(
            "sqlite",
            "write three slashes before a file and four before one with its full path, "
            "sqlite:///tasks.db and sqlite:////var/lib/tasks.db",
        )
    try:
        path = unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        raise BrokerURLError("sqlite", "the file's name is not percent-encoded UTF-8") from None
    if path == ":memory:":
        raise _in_memory()
    if not path or path.endswith("/") or "\0" in path:
        raise BrokerURLError("sqlite", "name a file, such as sqlite:///tasks.db")
    return path


def _in_memory() -> BrokerURLError:
    return BrokerURLError(
        "sqlite", "other processes can't see what is in memory; name a file, or use memory://"
    )


class SQLiteBroker(DurableBroker):
    """Messages in a SQLite file, which the processes of one host share.

    Nothing is lost when any of them dies at any moment. A power cut may take the last
    messages and acknowledgements with it, unless `synchronous` is `"FULL"`, which waits for
    the disk and is slower. Deadlines and delays go by the host's clock, as time of day.

    Its tables are its own: it takes no other program's file.

    Args:
        url: the file and the settings.
        synchronous: `"NORMAL"` or `"FULL"`.
    """

    def __init__(self, url: BrokerURL | str, *, synchronous: Synchronous = "NORMAL") -> None:
        super().__init__()
        url = url_of(url)
        self._prepare(url)
        settings = url.settings
        self._store = Store(path_of(url), synchronous=synchronous, queue=settings.queue)
        self._queue = self._new_queue()
        self._bell: Bell | None = None
        self._jobs: list[Job] = []
        self._pid = os.getpid()
        self.result_backend: AsyncResultBackend[Any] = _results(self._store, settings)

    async def startup(self) -> None:
        """Open the file, and start.

        Raises:
            BrokerUnavailableError: the file can't be used, or where results are kept.
        """
        try:
            await super().startup()
        except BaseException:
            await self._store.close()
            raise

    async def shutdown(self) -> None:
        """Hand back what is still held, and close the file."""
        await self.inbox.close()
        await self._stop_listening()
        try:
            await super().shutdown()
        finally:
            await self._store.close()

    async def take(self, most: int) -> Sequence[Taken]:
        """Lease messages, or wait for some."""
        bell = await self._listening()
        give_up = monotonic() + _LOOK
        while True:
            bell.silence()
            claim = Claim(self._queue, most)
            taken, due = await self._store.writer.do(messages.claim, claim, is_droppable=True)
            left = give_up - monotonic()
            if taken or left <= 0:
                found: Sequence[Taken] = taken
                return found
            await bell.wait(left if due is None else min(left, max(0.001, due - time())))

    async def acknowledge(self, taken: Taken) -> None:
        """Delete a message."""
        await self._store.writer.do(messages.acknowledge, taken.handle.id)
        self._queue.leases.drop(taken.handle)

    async def extend(self, held: Sequence[Taken]) -> None:
        """Do nothing: the writer's thread extends leases, also when a task blocks the loop."""

    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        """Make messages ready again."""
        ids = [taken.handle.id for taken in held]
        await self._store.writer.do(messages.give_back, Return(self._queue, ids, is_fresh))
        for taken in held:
            self._queue.leases.drop(taken.handle)

    async def count_start(self, taken: Taken) -> int:
        """Count a start beside the message."""
        count: int | None = await self._store.writer.do(
            messages.count_start, (self._queue, taken.handle.id)
        )
        return taken.starts if count is None else count

    async def bury(self, taken: Taken) -> None:
        """Keep a message among the dead ones, for a week or as long as results."""
        await self._store.writer.do(messages.bury, (self._queue, taken.handle.id))
        self._queue.leases.drop(taken.handle)

    async def _reach(self) -> None:
        await self._store.reach()

    async def _send(self, outgoing: Outgoing) -> None:
        argument = (self._queue, outgoing)
        await self._store.writer.do(messages.send, argument, is_droppable=True)

    def _new_queue(self) -> Queue:
        settings = self.settings
        return Queue(
            settings.queue, settings.deadline, settings.results_ttl, Leases(settings.deadline)
        )

    async def _listening(self) -> Bell:
        """Give the bell, after it was told to all who send."""
        if self._pid != os.getpid():  # a fork has what its parent had
            self._pid, self._bell, self._queue = os.getpid(), None, self._new_queue()
            self._forget_jobs()
        if self._bell is None:
            bell = Bell()
            listening = Listening(self._queue.name, bell.port, self._pid)
            try:
                await self._store.writer.do(messages.listen, listening)
            except BaseException:
                bell.close()
                raise
            self._bell = bell
            self._add_jobs(listening)
        return self._bell

    def _add_jobs(self, listening: Listening) -> None:
        queue = self._queue

        def listen(transaction: Transaction) -> bool:
            messages.listen(transaction, [listening])
            return False

        def keep(transaction: Transaction) -> bool:
            return messages.keep_leases(transaction, queue)

        self._jobs = [
            Job(_LISTEN_INTERVAL, listen),
            Job(queue.deadline / 3, keep, lambda: bool(queue.leases)),
            Job(_LOOK, keep, queue.leases.was_clock_set),
        ]
        self._store.writer.jobs += self._jobs

    def _forget_jobs(self) -> None:
        jobs, self._jobs = self._jobs, []
        kept = [job for job in self._store.writer.jobs if job not in jobs]
        self._store.writer.jobs = kept

    async def _stop_listening(self) -> None:
        bell, self._bell = self._bell, None
        if bell is None or self._pid != os.getpid():
            return
        self._forget_jobs()
        listening = Listening(self._queue.name, bell.port, self._pid)
        bell.close()
        with suppress(StorageError):  # it is found out within a minute
            await self._store.writer.do(messages.stop_listening, listening)
