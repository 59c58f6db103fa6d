"""A file with its two threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from fastask.brokers.sqlite.database import Storage, Synchronous
from fastask.brokers.sqlite.messages import purge
from fastask.brokers.sqlite.writer import Job, Reader, Transaction, Writer

__all__ = ["Store"]

_PURGE_INTERVAL = 60.0  # seconds


class Store:
    """A file that is read and written by a thread each, which end when it is closed.

    It may be used again after that, from any event loop or thread, and after a fork.

    Args:
        path: the file.
        synchronous: what its commits survive: `"NORMAL"` the death of any process, `"FULL"`
            also a power cut.
        queue: whose dead letters are purged.
        vfs: SQLite's name of the way in which files are accessed; its default if empty.

    Attributes:
        path: the file, in full.
        url: the URL that names it.
        writer: does what writes.
        reader: does what only reads.
    """

    def __init__(
        self,
        path: str,
        *,
        synchronous: Synchronous = "NORMAL",
        queue: str = "taskiq",
        vfs: str = "",
    ) -> None:
        storage = Storage(path, synchronous=synchronous, vfs=vfs)
        self.path: str = storage.path
        self.url: str = f"sqlite:///{quote(storage.path)}"
        self.writer: Writer = Writer(storage)
        self.reader: Reader = Reader(storage)
        self.writer.jobs.append(Job(_PURGE_INTERVAL, lambda each: purge(each, queue)))

    async def reach(self) -> None:
        """Open the file, and lock it for a moment.

        Raises:
            StorageError: it can't be used.
        """
        await self.writer.do(_begin_and_commit, None, is_droppable=True)

    async def close(self) -> None:
        """Do what was asked for, and close the file."""
        await self.reader.close()
        await self.writer.close()


def _begin_and_commit(_: Transaction, batch: Sequence[Any]) -> Sequence[Any]:
    return [None] * len(batch)
