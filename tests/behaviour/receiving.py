"""A broker under test: messages go as bytes through Taskiq's receiver, and everything is noted."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from taskiq import (
    AckableMessage,
    AsyncBroker,
    AsyncTaskiqDecoratedTask,
    BrokerMessage,
    InMemoryBroker,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)
from taskiq.brokers.inmemory_broker import InmemoryResultBackend
from taskiq.receiver import Receiver


class Notes(TaskiqMiddleware):
    """Notes what middlewares are told."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []
        self.ended: list[TaskiqResult[Any]] = []

    def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        self.errors.append(exception)

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.ended.append(result)


class ReceivingBroker(InMemoryBroker):
    """Keeps what is sent, until a test delivers it as a worker would get it."""

    def __init__(self) -> None:
        super().__init__(max_stored_results=-1)
        self.notes = Notes()
        self.add_middlewares(self.notes)
        self.sent: list[Any] = []
        self.acknowledged = 0
        self._worker = Receiver(self, executor=self.executor, max_async_tasks=1000)

    async def kick(self, message: Any) -> None:
        self.sent.append(message)

    async def deliver(self) -> TaskiqResult[Any]:
        """Run the oldest message and give its result."""
        task_id = await self.deliver_without_result()
        return await self.result_backend.get_result(task_id)

    async def deliver_without_result(self) -> str:
        """Run the oldest message, which may be sent again instead of ending; give its id."""
        message = self.sent.pop(0)

        async def acknowledge() -> None:
            self.acknowledged += 1

        delivery = AckableMessage(data=message.message, ack=acknowledge)
        await asyncio.create_task(self._worker.callback(delivery))
        return str(message.task_id)

    async def ran(
        self, task: AsyncTaskiqDecoratedTask[Any, Any], *args: Any, **kwargs: Any
    ) -> TaskiqResult[Any]:
        """Send a task, run it and give its result."""
        await task.kiq(*args, **kwargs)
        return await self.deliver()

    async def ran_with(
        self, task: AsyncTaskiqDecoratedTask[Any, Any], kwargs: dict[str, Any]
    ) -> TaskiqResult[Any]:
        """Send a task by keywords that may have any names, run it and give its result."""
        await task.kiq(**kwargs)
        return await self.deliver()


class QueueBroker(AsyncBroker):
    """Delivers to whoever listens in the same process, and counts what is acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.result_backend = InmemoryResultBackend()
        self.acknowledged = 0
        self.kicked = 0
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def kick(self, message: BrokerMessage) -> None:
        self.kicked += 1
        self._queue.put_nowait(message.message)

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        while True:
            yield AckableMessage(data=await self._queue.get(), ack=self._acknowledge)

    def _acknowledge(self) -> None:
        self.acknowledged += 1
