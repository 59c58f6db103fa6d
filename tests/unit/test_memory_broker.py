"""The embedded broker: tasks in the web process."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from taskiq import TaskiqEvents, TaskiqResult

from fastask import FastTask
from fastask.brokers.memory import MemoryBroker
from tests.unit.doubles import PATIENCE, remaining

LOGGER = "fastask.brokers.memory"


class Bench:
    """A program on the embedded broker, with a task that waits until it is let go."""

    def __init__(self, **options: Any) -> None:
        self.broker = MemoryBroker(**options)
        self.ft = FastTask(lambda: self.app, self.broker)
        self.app = FastAPI(lifespan=self.ft.lifespan(self.lifespan))
        self.events: list[str] = []
        self.running = 0
        self.most = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.wait = self.ft.task("wait")(self._wait)
        self.note = self.ft.task("note")(self._note)

    def up(self) -> Any:
        return self.app.router.lifespan_context(self.app)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self.events.append("startup")
        yield
        self.events.append("shutdown")

    async def _wait(self, name: str) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        self.events.append(name)
        return name

    async def _note(self, name: str) -> str:
        self.events.append(name)
        return name


async def test_background() -> None:
    """While the lifespan runs, `kiq` returns before the task has run."""
    bench = Bench()
    async with asyncio.timeout(PATIENCE), bench.up():
        sent = await bench.wait.kiq("task")
        assert not await sent.is_ready()
        await bench.started.wait()
        bench.events.append("sent")
        bench.go.set()
        assert await sent.result(timeout=PATIENCE) == "task"
    assert bench.events == ["startup", "sent", "task", "shutdown"]
    assert remaining() == set()


async def test_sent_during_startup() -> None:
    """A task that is sent by the startup runs when the startup is complete."""
    bench = Bench()
    seen: list[str] = []

    @bench.ft.task("look")
    async def look() -> None:
        seen.append(bench.app.state.pool)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sent = await look.kiq()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not await sent.is_ready()
        app.state.pool = "pool"
        yield

    app = bench.app = FastAPI(lifespan=bench.ft.lifespan(lifespan))
    async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app):
        while not seen:
            await asyncio.sleep(0)
    assert seen == ["pool"]


async def test_draining() -> None:
    """At shutdown, what is queued and running ends before the user's shutdown does."""
    bench = Bench(max_tasks=1)
    async with asyncio.timeout(PATIENCE), bench.up():
        for name in ("one", "two", "three"):
            await bench.note.kiq(name)
        assert bench.events == ["startup"]
    assert bench.events == ["startup", "one", "two", "three", "shutdown"]
    assert remaining() == set()


async def test_sent_while_draining() -> None:
    """A task that a draining task sends runs too."""
    bench = Bench()

    @bench.ft.task("first")
    async def first() -> None:
        await bench.note.kiq("second")

    async with asyncio.timeout(PATIENCE), bench.up():
        await first.kiq()
    assert bench.events == ["startup", "second", "shutdown"]


async def test_sent_by_the_users_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    """A task that is sent by the shutdown code runs, or is dropped with its name; none vanishes."""
    bench = Bench()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await bench.note.kiq("late")

    app = bench.app = FastAPI(lifespan=bench.ft.lifespan(lifespan))
    with caplog.at_level(logging.WARNING, LOGGER):
        async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app):
            pass
    assert bench.events == ["late"] or "note" in caplog.text


async def test_drain_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """What runs too long is cancelled and named, and has a failed result."""
    bench = Bench(max_tasks=1, drain_timeout=0.02)
    with caplog.at_level(logging.WARNING, LOGGER):
        async with asyncio.timeout(PATIENCE), bench.up():
            running = await bench.wait.kiq("long")
            await bench.started.wait()
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert messages == ["tasks still running after 0.02 s are cancelled: wait"]
    assert bench.events == ["startup", "shutdown"]
    assert (bench.running, remaining()) == (0, set())
    assert (await running.get_result()).is_err


async def test_drain_timeout_with_a_queue(caplog: pytest.LogCaptureFixture) -> None:
    """What is queued when the time is over is dropped and named; it does not start any more."""
    bench = Bench(max_tasks=1, drain_timeout=0.02)
    with caplog.at_level(logging.WARNING, LOGGER):
        async with asyncio.timeout(PATIENCE), bench.up():
            await bench.wait.kiq("long")
            await bench.started.wait()
            queued = [await bench.note.kiq("queued"), await bench.wait.kiq("queued")]
    dropped = [record.getMessage() for record in caplog.records if record.name == LOGGER][-1]
    left = remaining()
    bench.go.set()
    if left:
        await asyncio.wait(left)
    note, wait = (one.task_id for one in queued)
    assert dropped == f"dropped 2 queued tasks: note ({note}), wait ({wait})"
    assert bench.events == ["startup", "shutdown"]
    assert left == set()


async def test_drain_timeout_of_a_teardown(caplog: pytest.LogCaptureFixture) -> None:
    """A task that is cancelled closes its dependencies before the app shuts down."""
    bench = Bench(drain_timeout=0.01)

    async def pool() -> AsyncIterator[str]:
        try:
            yield "pool"
        finally:
            bench.events.append("closed")

    @bench.ft.task("hold")
    async def hold(held: str = bench.ft.depends(pool)) -> None:
        bench.started.set()
        await bench.go.wait()

    async with asyncio.timeout(PATIENCE), bench.up():
        await hold.kiq()
        await bench.started.wait()
    assert bench.events == ["startup", "closed", "shutdown"]


async def test_task_that_ignores_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that will not end does not hold the shutdown for ever."""
    monkeypatch.setattr("fastask.brokers.memory._CANCEL_TIMEOUT", 0.01)
    bench = Bench(drain_timeout=0.01)

    @bench.ft.task("stubborn")
    async def stubborn() -> None:
        bench.started.set()
        while not bench.go.is_set():
            try:
                await bench.go.wait()
            except asyncio.CancelledError:
                bench.events.append("ignored")

    async with asyncio.timeout(PATIENCE):
        async with bench.up():
            await stubborn.kiq()
            await bench.started.wait()
        assert bench.events == ["startup", "ignored", "shutdown"]
        bench.go.set()
        await asyncio.wait(remaining())


async def test_without_a_lifespan() -> None:
    """In a script, `kiq` returns when the task has run."""
    bench = Bench()
    sent = await bench.note.kiq("task")
    assert bench.events == ["task"]
    assert await sent.is_ready()
    assert remaining() == set()


async def test_after_the_lifespan() -> None:
    """After the shutdown the broker is as in a script."""
    bench = Bench()
    async with bench.up():
        pass
    await bench.note.kiq("after")
    assert bench.events == ["startup", "shutdown", "after"]


async def test_failure_without_a_lifespan() -> None:
    """A task that fails in place fails its result, not `kiq`."""
    bench = Bench()

    @bench.ft.task("fail")
    async def fail() -> None:
        raise LookupError("gone")

    sent = await fail.kiq()
    with pytest.raises(LookupError, match="gone"):
        await sent.result(timeout=1)


async def test_bounded() -> None:
    """No more tasks run at once than allowed, and the others follow in order."""
    bench = Bench(max_tasks=2)
    async with asyncio.timeout(PATIENCE), bench.up():
        for number in range(5):
            await bench.wait.kiq(str(number))
        while bench.running < 2:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert bench.running == 2
        bench.go.set()
    assert bench.most == 2
    assert bench.events == ["startup", "0", "1", "2", "3", "4", "shutdown"]


async def test_task_that_waits_for_a_task() -> None:
    """A task can wait for the result of one that it sends."""
    bench = Bench(max_tasks=2)

    @bench.ft.task("outer")
    async def outer() -> str:
        return await (await bench.note.kiq("inner")).result(timeout=PATIENCE)

    async with asyncio.timeout(PATIENCE), bench.up():
        assert await (await outer.kiq()).result(timeout=PATIENCE) == "inner"


@pytest.mark.parametrize(("options", "count", "kept"), [({"max_results": 2}, 3, 2), ({}, 150, 150)])
async def test_results_are_limited(options: dict[str, int], count: int, kept: int) -> None:
    """The oldest results are dropped; by default not yet at the hundred of Taskiq's own."""
    bench = Bench(**options)
    sent = [await bench.note.kiq(str(number)) for number in range(count)]
    ready = [await one.is_ready() for one in sent]
    assert ready == [False] * (count - kept) + [True] * kept


async def test_results_are_copies() -> None:
    """What one reader changes in a result no other reader sees."""
    broker = MemoryBroker()
    result: TaskiqResult[Any] = TaskiqResult(is_err=False, return_value=[1], execution_time=0)
    await broker.result_backend.set_result("id", result)
    first = await broker.result_backend.get_result("id")
    first.labels["seen"] = True
    value: Any = first.return_value
    value.append(2)
    second = await broker.result_backend.get_result("id")
    assert second is not first
    assert (second.return_value, second.labels) == ([1], {})


async def test_progress_is_kept() -> None:
    """Progress that a task sets is there for readers."""
    bench = Bench()
    sent = await bench.note.kiq("task")
    assert await sent.get_progress() is None


def test_no_worker() -> None:
    """A worker is told why it has nothing to listen to."""
    with pytest.raises(RuntimeError, match="runs its tasks in the web process"):
        MemoryBroker().listen()


async def test_handlers() -> None:
    """Handlers of clients and of workers run, once for each cycle."""
    bench = Bench()
    for event in (
        TaskiqEvents.CLIENT_STARTUP,
        TaskiqEvents.WORKER_STARTUP,
        TaskiqEvents.WORKER_SHUTDOWN,
        TaskiqEvents.CLIENT_SHUTDOWN,
    ):
        bench.broker.add_event_handler(
            event,
            lambda state, event=event: bench.events.append(event.name),  # type: ignore[misc]
        )
    async with bench.up():
        pass
    assert bench.events == [
        "CLIENT_STARTUP",
        "WORKER_STARTUP",
        "startup",
        "shutdown",
        "WORKER_SHUTDOWN",
        "CLIENT_SHUTDOWN",
    ]


def test_cycles_on_different_loops() -> None:
    """The same app may be served again, on another event loop."""
    broker = MemoryBroker(max_tasks=1)
    ft = FastTask(lambda: app, broker)
    app = FastAPI(lifespan=ft.lifespan())
    seen: list[int] = []

    @ft.task
    async def note(n: int) -> int:
        await asyncio.sleep(0)
        seen.append(n)
        return n

    async def cycle(n: int) -> None:
        async with asyncio.timeout(PATIENCE):
            async with app.router.lifespan_context(app):
                sent = [await note.kiq(n) for _ in range(3)]
            assert [await one.result(timeout=1) for one in sent] == [n] * 3
            await note.kiq(-n)
        assert remaining() == set()

    for n in (1, 2, 3):
        asyncio.run(cycle(n))
    assert seen == [1, 1, 1, -1, 2, 2, 2, -2, 3, 3, 3, -3]


async def test_body_raises() -> None:
    """A server that dies leaves nothing running."""
    bench = Bench(drain_timeout=0.01)

    async def serve() -> None:
        async with asyncio.timeout(PATIENCE), bench.up():
            await bench.wait.kiq("task")
            raise LookupError("server")

    with pytest.raises(LookupError, match="server"):
        await serve()
    assert remaining() == set()


async def test_shutdown_is_cancelled() -> None:
    """A shutdown that is cancelled while it drains leaves no consumer running."""
    bench = Bench(drain_timeout=PATIENCE)
    async with asyncio.timeout(PATIENCE):

        async def serve() -> None:
            async with bench.up():
                await bench.wait.kiq("task")
                await bench.started.wait()

        server = asyncio.create_task(serve())
        await bench.started.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        server.cancel()
        await asyncio.wait([server])
        assert server.cancelled()
        bench.go.set()
        while remaining():
            await asyncio.sleep(0)
