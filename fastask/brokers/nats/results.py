"""Results in a NATS key-value bucket."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel
from taskiq import AsyncResultBackend, ResultGetError, TaskiqResult
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.depends.progress_tracker import TaskProgress
from taskiq.serializers import JSONSerializer

from fastask.brokers.durable import wait_for_server
from fastask.brokers.nats.buckets import Bucket, key_of
from fastask.brokers.nats.connection import Connection
from fastask.brokers.url import BrokerURL

__all__ = ["NATSResults", "ResultIsMissingError"]

R = TypeVar("R")

_PART = 262_144  # bytes of a result that are kept in one entry
_PARTS = "Fastask-Parts"  # the header that says where the parts of a longer one are


class ResultIsMissingError(ResultGetError):
    """There is no result, or none any more."""

    __template__ = "there is no result yet, or it was kept for its time and is gone"


class NATSResults(AsyncResultBackend[R]):
    """Keeps results in a key-value bucket of a NATS server, as JSON.

    Not in its object store, as taskiq-nats does: that takes four messages for each result
    and forgets none. A result that is longer than a message may be is kept in parts.

    Args:
        url: the servers and the settings; the bucket is `QUEUE_results`.

    Attributes:
        serializer: writes and reads them.
    """

    def __init__(self, url: BrokerURL) -> None:
        self.serializer: TaskiqSerializer = JSONSerializer()
        self._address = url.shown
        self._wait = url.settings.wait
        self._connection = Connection(url)
        name = f"{url.settings.queue}_results"
        self._bucket = Bucket(self._connection, name, url.settings.results_ttl)

    async def startup(self) -> None:
        """Wait for the server, and connect.

        Raises:
            BrokerUnavailableError: it is not there.
        """
        await wait_for_server(self._address, self._wait, self._connection.open)
        await super().startup()

    async def shutdown(self) -> None:
        """Disconnect."""
        await self._connection.close()
        await super().shutdown()

    async def set_result(self, task_id: str, result: TaskiqResult[R]) -> None:
        """Save a result.

        Raises:
            ConnectionError: the server is away.
            TimeoutError: it does not answer.
        """
        await self._save(key_of(task_id), result)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result.

        Raises:
            ConnectionError: the server is away.
            TimeoutError: it does not answer.
        """
        return await self._bucket.get(key_of(task_id)) is not None

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[R]:
        """Give a result.

        Args:
            task_id: the task's id.
            with_logs: whether its log is wanted.

        Raises:
            ResultIsMissingError: there is none.
            ConnectionError: the server is away.
            TimeoutError: it does not answer.
        """
        data = await self._load(key_of(task_id))
        if data is None:
            raise ResultIsMissingError
        result = TaskiqResult[R].model_validate(self.serializer.loadb(data))
        if not with_logs:
            result.log = None
        return result

    async def set_progress(self, task_id: str, progress: TaskProgress[Any]) -> None:
        """Save how far a task is; raises as `set_result` does."""
        await self._save(_progress_key(task_id), progress)

    async def get_progress(self, task_id: str) -> TaskProgress[Any] | None:
        """Give how far a task is, if it has said so; raises as `is_result_ready` does."""
        data = await self._load(_progress_key(task_id))
        if data is None:
            return None
        return TaskProgress[Any].model_validate(self.serializer.loadb(data))

    async def _save(self, key: str, value: BaseModel) -> None:
        data = self.serializer.dumpb(value.model_dump(mode="json"))
        client = await self._connection.client()
        size = min(_PART, client.max_payload - 1000)
        if len(data) <= size:
            await self._bucket.put(key, data)
            return
        # Under a new name each time, so that nobody reads parts of two.
        name = f"{key}/{uuid4().hex}"
        starts = range(0, len(data), size)
        for number, start in enumerate(starts):
            await self._bucket.put(f"{name}/{number}", data[start : start + size])
        await self._bucket.put(key, b"", {_PARTS: f"{name} {len(starts)}"})

    async def _load(self, key: str) -> bytes | None:
        head = await self._bucket.get(key)
        if head is None:
            return None
        if _PARTS not in head.headers:
            return head.value
        name, number = head.headers[_PARTS].split()
        parts = [await self._bucket.get(f"{name}/{each}") for each in range(int(number))]
        if None in parts:  # its time has come
            return None
        return b"".join(part.value for part in parts if part is not None)


def _progress_key(task_id: str) -> str:
    return f"{key_of(task_id)}/progress"
