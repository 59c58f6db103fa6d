"""A program of each kind, whose steps are noted, and fail or wait where they are told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from taskiq import TaskiqMiddleware

from fastask import FastTask
from fastask.brokers.memory import MemoryBroker
from tests.unit.doubles import PATIENCE, RecordingBroker

KINDS = ("web", "worker", "embedded", "testing")
STEPS = ("broker up", "startup", "body", "shutdown", "broker down")

_SHUTDOWN_TIMEOUT = 5  # seconds, Taskiq's default

Step = Callable[[str], Awaitable[None]]


class Failure(Exception):
    """What a step raises."""


class StagedBroker(RecordingBroker):
    """Takes a step when it is started and when it is stopped."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    async def startup(self) -> None:
        await self.step("broker up")
        await super().startup()

    async def shutdown(self) -> None:
        await self.step("broker down")
        await super().shutdown()


class StagedMemoryBroker(MemoryBroker):
    """The embedded broker, with the same steps."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    async def startup(self) -> None:
        await self.step("broker up")
        await super().startup()

    async def shutdown(self) -> None:
        await self.step("broker down")
        await super().shutdown()


class StagedMiddleware(TaskiqMiddleware):
    """The same steps under `ft.testing()`, where the broker's own startup is not called."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    async def startup(self) -> None:
        await self.step("broker up")

    async def shutdown(self) -> None:
        await self.step("broker down")


class Stage:
    """An app, its broker and a user's lifespan, run as one of the kinds.

    `how` a step fails: it "raises" a Failure, it "raises CancelledError", or the asyncio
    task that runs the cycle "is cancelled" while the step waits.
    """

    def __init__(self, kind: str, fails: Collection[str] = (), how: str = "raises") -> None:
        self.kind, self.fails, self.how = kind, fails, how
        self.events: list[str] = []
        self.errors: list[BaseException] = []  # a worker's, of each of Taskiq's two calls
        self.reached = asyncio.Event()
        self.state = {"pool": "pool"}  # what tasks see in the body
        self.broker = self._broker()
        self.ft = FastTask(lambda: self.app, self.broker)
        self.app = FastAPI(lifespan=self.ft.lifespan(self.lifespan))

        @self.ft.task("task")
        async def task() -> None: ...

        self.task = task

    def _broker(self) -> RecordingBroker | MemoryBroker:
        if self.kind == "embedded":
            return StagedMemoryBroker(self.step)
        if self.kind == "testing":
            broker = RecordingBroker()
            broker.add_middlewares(StagedMiddleware(self.step))
            return broker
        broker = StagedBroker(self.step)
        broker.is_worker_process = self.kind == "worker"
        return broker

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[dict[str, str]]:
        await self.step("startup")
        try:
            yield {"pool": "pool"}
        finally:
            await self.step("shutdown")

    async def step(self, name: str) -> None:
        self.events.append(name)
        if name not in self.fails:
            return
        if self.how == "raises":
            raise Failure(name)
        if self.how == "raises CancelledError":
            raise asyncio.CancelledError(name)
        self.reached.set()
        await asyncio.Event().wait()

    async def body(self) -> None:
        """What is done while everything is up."""
        await self.step("body")
        try:
            found = self.broker.find_task("task")
        except RecursionError:  # told without its thousand frames, which CPython 3.11 can't print
            raise AssertionError("find_task recurses") from None
        assert found is self.task
        assert self.ft._program.state == self.state

    async def cycle(self) -> None:
        """Run everything once, cancelled from outside where a step waits for that."""
        async with asyncio.timeout(PATIENCE):
            cycle = asyncio.create_task(self._cycle())
            if self.fails and self.how == "is cancelled":
                await self.reached.wait()
                cycle.cancel()
            await cycle

    async def _cycle(self) -> None:
        if self.kind == "worker":
            await self._work()
        elif self.kind == "testing":
            async with self.ft.testing():
                await self.body()
        else:
            async with self.app.router.lifespan_context(self.app):
                await self.body()

    async def _work(self) -> None:
        """As Taskiq does it: two asyncio tasks, the second whatever the first comes to."""
        self.errors.clear()
        for call in (self._listen, self._stop):
            try:
                await asyncio.create_task(call())
            except BaseException as error:
                self.errors.append(error)
        if self.errors:
            raise self.errors[0]

    async def _listen(self) -> None:
        await self.broker.startup()
        await self.body()

    async def _stop(self) -> None:
        await asyncio.wait_for(self.broker.shutdown(), _SHUTDOWN_TIMEOUT)


def notes(error: BaseException) -> list[Any]:
    """The notes of an error."""
    return list(getattr(error, "__notes__", []))
