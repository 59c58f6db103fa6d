"""Tasks that run on when a test is left, and a real broker that must not be touched."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

import anyio.from_thread
import pytest
from fastapi import FastAPI
from taskiq import TaskiqResult
from taskiq.brokers.inmemory_broker import InmemoryResultBackend

from fastask import FastTask
from tests.unit.doubles import PATIENCE, RecordingBroker

__all__ = ["Office", "swallowed"]


class RealResults(InmemoryResultBackend[Any]):
    """Must not be touched either."""

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        pytest.fail("the real result backend was used")


class Office:
    """A task that waits, and goes on as it is told, on a real broker and result backend."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.broker = RecordingBroker()
        self.broker.result_backend = RealResults()
        self.ft = FastTask(lambda: self.app, self.broker)
        self.app = FastAPI(lifespan=self.ft.lifespan(self.lifespan))
        self.started, self.go = threading.Event(), threading.Event()
        self.child = self.ft.task("child")(self._child)
        self.slow = self.ft.task("slow")(self._slow)
        self.stubborn = self.ft.task("stubborn")(self._stubborn)
        self.blocking = self.ft.task("blocking")(self._blocking)
        plain: Any = staticmethod(self._plain)  # whose name Taskiq can change
        self.plain = self.broker.register_task(plain, "plain")

    async def lifespan(self, app: FastAPI) -> Any:
        yield
        self.events.append("lifespan down")

    async def _child(self) -> None:
        self.events.append("child")

    async def _slow(self) -> None:
        self.started.set()
        await asyncio.to_thread(self.go.wait, PATIENCE)
        await self.child.kiq()
        self.events.append("slow")

    async def _stubborn(self) -> None:
        """Does not mind that it is cancelled."""
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.child.kiq()

    def _blocking(self) -> None:
        """Can't be cancelled."""
        self.started.set()
        assert self.go.wait(PATIENCE)
        anyio.from_thread.run(self.child.kiq)

    def _plain(self) -> None:
        """Nor can this."""
        self.started.set()
        assert self.go.wait(PATIENCE)
        asyncio.run(self.child.kiq())

    def begin(self, task: Any) -> Any:
        """Send a task and wait until it runs; not until it ends."""
        sending = asyncio.create_task(task.kiq())
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())
        return asyncio.to_thread(self.started.wait, PATIENCE)


async def swallowed(task: Any) -> None:
    with suppress(asyncio.CancelledError, RuntimeError):
        await task.kiq()
