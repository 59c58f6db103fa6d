"""Tasks that still run when a worker stops, after Taskiq has waited for them long enough."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from taskiq import SimpleRetryMiddleware, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.receiver import Receiver

from fastask import FastTask
from tests.behaviour.receiving import Notes, QueueBroker
from tests.unit.doubles import PATIENCE


class Stage:
    """A worker of Taskiq's in this process, that waits for no running task."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.notes = Notes()
        self.broker = QueueBroker()
        self.broker.is_worker_process = True
        self.broker.add_middlewares(SimpleRetryMiddleware(), self.notes)
        self.ft = FastTask(lambda: self.app, self.broker)
        self.app = FastAPI(lifespan=self.ft.lifespan(self.lifespan))
        self.running = asyncio.Event()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        yield
        self.events.append("shutdown")

    async def resource(self) -> AsyncIterator[str]:
        yield "resource"
        self.events.append("never")

    async def stopped(self) -> None:
        """Let a worker run until a task runs, and stop it as Taskiq does."""
        finish = asyncio.Event()
        receiver = Receiver(self.broker, max_async_tasks=10, wait_tasks_timeout=0.001)
        async with asyncio.timeout(PATIENCE):
            listening = asyncio.create_task(receiver.listen(finish))
            await self.running.wait()
            finish.set()
            await listening
            await asyncio.create_task(self.broker.shutdown())


async def test_cancelled_task_is_closed_and_not_acknowledged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It gets no result, no retry and no acknowledgement: the broker may deliver it again."""
    stage = Stage()

    async def resource() -> AsyncIterator[str]:
        try:
            yield "resource"
        finally:
            await asyncio.sleep(0)  # teardown may await
            stage.events.append("closed")

    @stage.ft.task("long", labels={"retry_on_error": True})
    async def long(resource: str = stage.ft.depends(resource)) -> None:
        stage.running.set()
        await asyncio.Event().wait()

    sent = await long.kiq()
    await stage.stopped()
    assert stage.events == ["closed", "shutdown"]
    assert not await sent.is_ready()
    assert (stage.broker.acknowledged, stage.broker.kicked) == (0, 1)
    assert (stage.notes.errors, stage.notes.ended) == ([], [])
    assert f"task long ({sent.task_id}) did not end in time and is cancelled" in caplog.text


async def test_cancelled_task_that_was_acknowledged_when_it_was_received(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody delivers it again, and the log says so."""
    stage = Stage()

    @stage.ft.task("long", ack_type="when_received")
    async def long() -> None:
        stage.running.set()
        await asyncio.Event().wait()

    await long.kiq()
    await stage.stopped()
    assert stage.broker.acknowledged == 1
    assert "was acknowledged before, so it is lost" in caplog.text


async def test_task_that_ends_well_when_it_is_cancelled() -> None:
    """What a task returns in spite of its cancellation is its result."""
    stage = Stage()

    @stage.ft.task("graceful")
    async def graceful() -> str:
        stage.running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "half"
        return "whole"

    sent = await graceful.kiq()
    await stage.stopped()
    assert await sent.result(timeout=PATIENCE) == "half"
    assert stage.broker.acknowledged == 1
    assert len(stage.notes.ended) == 1


async def test_task_that_ignores_its_cancellation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named and left behind; the lifespan is closed all the same."""
    monkeypatch.setattr("fastask.worker.unfinished._GRACE", 0.01)
    stage, go = Stage(), asyncio.Event()

    @stage.ft.task("stubborn")
    async def stubborn() -> None:
        stage.running.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                stage.events.append("ignored")

    sent = await stubborn.kiq()
    await stage.stopped()
    assert stage.events == ["ignored", "shutdown"]
    assert f"task stubborn ({sent.task_id}) does not end when it is cancelled" in caplog.text
    go.set()
    await sent.result(timeout=PATIENCE)


async def test_plain_task_of_the_broker_is_not_acknowledged_either() -> None:
    """`@broker.task` functions are Taskiq's, and treated alike."""
    stage = Stage()

    @stage.broker.task("plain")
    async def plain() -> None:
        stage.running.set()
        await asyncio.Event().wait()

    sent = await plain.kiq()
    await stage.stopped()
    assert stage.broker.acknowledged == 0
    assert not await sent.is_ready()


class Slow(TaskiqMiddleware):
    """Is still busy with a message whose task has ended."""

    def __init__(self, started: asyncio.Event) -> None:
        super().__init__()
        self.started = started

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[object]) -> None:
        self.started.set()
        await asyncio.Event().wait()


async def test_message_that_is_cancelled_after_its_task() -> None:
    """Whatever Taskiq is at, it neither saves nor acknowledges after that."""
    stage = Stage()
    stage.broker.add_middlewares(Slow(stage.running))

    @stage.ft.task("quick")
    async def quick() -> None: ...

    sent = await quick.kiq()
    await stage.stopped()
    assert stage.broker.acknowledged == 0
    assert not await sent.is_ready()
