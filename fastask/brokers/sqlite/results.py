"""Results in a SQLite file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import time
from typing import Any, TypeVar

from pydantic import BaseModel
from taskiq import AsyncResultBackend, ResultGetError, TaskiqResult
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.depends.progress_tracker import TaskProgress
from taskiq.serializers import JSONSerializer

from fastask.brokers.durable import wait_for_server
from fastask.brokers.sqlite.store import Store
from fastask.brokers.sqlite.writer import Run, Transaction

__all__ = ["ResultIsMissingError", "SQLiteResults"]

R = TypeVar("R")


class ResultIsMissingError(ResultGetError):
    """There is no result, or none any more."""

    __template__ = "there is no result yet, or it was kept for its time and is gone"


class SQLiteResults(AsyncResultBackend[R]):
    """Keeps results in a SQLite file, as JSON.

    Args:
        store: the file.
        queue: what results belong to, so that several programs can use one file.
        ttl: seconds for which results are kept.
        wait: seconds for which a start waits for the file.

    Attributes:
        serializer: writes and reads them.
    """

    def __init__(
        self, store: Store, *, queue: str = "taskiq", ttl: float = 86_400, wait: float = 0.0
    ) -> None:
        self.serializer: TaskiqSerializer = JSONSerializer()
        self._store = store
        self._queue = queue
        self._ttl = ttl
        self._wait = wait

    async def startup(self) -> None:
        """Open the file.

        Raises:
            BrokerUnavailableError: it can't be used.
        """
        try:
            await wait_for_server(self._store.url, self._wait, self._store.reach)
        except BaseException:
            await self._store.close()
            raise
        await super().startup()

    async def shutdown(self) -> None:
        """Close the file."""
        await self._store.close()
        await super().shutdown()

    async def set_result(self, task_id: str, result: TaskiqResult[R]) -> None:
        """Save a result.

        Raises:
            StorageError: the file can't be written.
        """
        await self._save(_SAVE_RESULT, task_id, result)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result.

        Raises:
            StorageError: the file can't be read.
        """
        is_ready: bool = await self._store.reader.do(_find_results, (task_id, self._queue))
        return is_ready

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[R]:
        """Give a result.

        Args:
            task_id: the id of its task.
            with_logs: whether to give its logs too.

        Raises:
            ResultIsMissingError: there is none.
            StorageError: the file can't be read.
        """
        data = await self._store.reader.do(_LOAD_RESULT, (task_id, self._queue))
        if data is None:
            raise ResultIsMissingError
        result = TaskiqResult[R].model_validate(self.serializer.loadb(data))
        if not with_logs:
            result.log = None
        return result

    async def set_progress(self, task_id: str, progress: TaskProgress[Any]) -> None:
        """Save how far a task is.

        Raises:
            StorageError: the file can't be written.
        """
        await self._save(_SAVE_PROGRESS, task_id, progress)

    async def get_progress(self, task_id: str) -> TaskProgress[Any] | None:
        """Give how far a task is; `None` if it did not say.

        Raises:
            StorageError: the file can't be read.
        """
        data = await self._store.reader.do(_LOAD_PROGRESS, (task_id, self._queue))
        return (
            None if data is None else TaskProgress[Any].model_validate(self.serializer.loadb(data))
        )

    async def _save(self, run: Run, task_id: str, model: BaseModel) -> None:
        data = self.serializer.dumpb(model.model_dump(mode="json"))
        await self._store.writer.do(run, _Saved(task_id, self._queue, self._ttl, data))


@dataclass(frozen=True, slots=True)
class _Saved:
    task_id: str
    queue: str
    ttl: float
    data: bytes


def _saving(table: str) -> Run:
    statement = f"""
        INSERT INTO {table} (task_id, queue, expires, data) VALUES (?, ?, ?, ?)
        ON CONFLICT (task_id, queue)
        DO UPDATE SET expires = excluded.expires, data = excluded.data
    """  # noqa: S608 - the names are ours

    def save(transaction: Transaction, batch: Sequence[_Saved]) -> Sequence[Any]:
        now = time()
        rows = [(each.task_id, each.queue, now + each.ttl, each.data) for each in batch]
        transaction.executemany(statement, rows)
        return [None] * len(batch)

    return save


def _loading(table: str) -> Run:
    statement = f"SELECT data FROM {table} WHERE task_id = ? AND queue = ? AND expires > ?"  # noqa: S608

    def load(transaction: Transaction, batch: Sequence[tuple[str, str]]) -> Sequence[Any]:
        now = time()
        rows = [transaction.execute(statement, (*each, now)).fetchone() for each in batch]
        return [None if row is None else row[0] for row in rows]

    return load


_FIND = "SELECT 1 FROM results WHERE task_id = ? AND queue = ? AND expires > ?"
_FIND_MANY = """
SELECT task_id, queue FROM json_each(?) AS asked
JOIN results ON task_id = asked.value ->> 0 AND queue = asked.value ->> 1
WHERE expires > ?
"""


def _find_results(transaction: Transaction, batch: Sequence[tuple[str, str]]) -> Sequence[bool]:
    if len(batch) == 1:
        return [transaction.execute(_FIND, (*batch[0], time())).fetchone() is not None]
    found = set(transaction.execute(_FIND_MANY, (json.dumps(batch), time())).fetchall())
    return [each in found for each in batch]


_SAVE_RESULT, _SAVE_PROGRESS = _saving("results"), _saving("progress")
_LOAD_RESULT, _LOAD_PROGRESS = _loading("results"), _loading("progress")
