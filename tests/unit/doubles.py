"""Brokers for tests: one that records, one that must not be touched; and a few helpers."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI
from taskiq import AsyncBroker, BrokerMessage, ScheduledTask, ScheduleSource, TaskiqMessage
from taskiq.brokers.inmemory_broker import InmemoryResultBackend

from fastask import FastTask

PATIENCE = 5.0  # seconds that no test needs


class RecordingBroker(AsyncBroker):
    """Keeps what is sent, and notes when it is started and stopped."""

    def __init__(self, events: list[str] | None = None, fails: str = "") -> None:
        super().__init__()
        self.result_backend = InmemoryResultBackend()
        self.events: list[str] = [] if events is None else events
        self.fails = fails
        self.sent: list[BrokerMessage] = []

    async def startup(self) -> None:
        self._note("broker up")
        await super().startup()

    async def shutdown(self) -> None:
        self._note("broker down")
        await super().shutdown()

    async def kick(self, message: BrokerMessage) -> None:
        self.sent.append(message)

    def listen(self) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError

    @property
    def messages(self) -> list[TaskiqMessage]:
        """What was sent, read back by Taskiq."""
        return [self.formatter.loads(message.message) for message in self.sent]

    @property
    def payload(self) -> dict[str, Any]:
        """The one message that was sent, as plain JSON."""
        (message,) = self.sent
        payload: dict[str, Any] = json.loads(message.message)
        return payload

    def _note(self, event: str) -> None:
        self.events.append(event)
        if event == self.fails:
            raise ConnectionError(event)


class UntouchableBroker(AsyncBroker):
    """Raises whenever it is used for more than being held."""

    async def startup(self) -> None:
        raise ConnectionError("startup")

    async def shutdown(self) -> None:
        raise ConnectionError("shutdown")

    async def kick(self, message: BrokerMessage) -> None:
        raise ConnectionError("kick")

    def listen(self) -> AsyncGenerator[bytes, None]:
        raise ConnectionError("listen")


class RecordingSource(ScheduleSource):
    """Keeps the schedules that are added."""

    def __init__(self) -> None:
        self.schedules: list[ScheduledTask] = []

    async def get_schedules(self) -> list[ScheduledTask]:
        return self.schedules

    async def add_schedule(self, schedule: ScheduledTask) -> None:
        self.schedules.append(schedule)


def program(app: FastAPI | None = None, **options: Any) -> tuple[FastTask, RecordingBroker]:
    """A `FastTask` with a recording broker."""
    broker = RecordingBroker()
    return FastTask(app or FastAPI(), broker, **options), broker


def remaining() -> set["asyncio.Task[Any]"]:
    """The asyncio tasks that run beside the current one."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def one_sentence(error: BaseException, *parts: str) -> bool:
    """Whether an error is told in one line that holds all parts."""
    told = str(error)
    return "\n" not in told and len(told) < 400 and all(part in told for part in parts)
