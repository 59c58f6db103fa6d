"""`ft.testing()`: everything in memory, and the former state back afterwards."""

import asyncio
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
from fastapi import Request
from starlette.testclient import TestClient
from taskiq import (
    SimpleRetryMiddleware,
    TaskiqDepends,
    TaskiqMessage,
)
from taskiq.abc.middleware import TaskiqMiddleware

from fastask import InvalidArgumentsError, InvalidResultError
from tests.unit.doubles import PATIENCE, remaining
from tests.unit.shop import Shop

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_inline(shop: Shop) -> None:
    """A task has run when `kiq` returns, inside the app's lifespan."""
    async with asyncio.timeout(PATIENCE), shop.ft.testing():
        sent = await shop.price.kiq("pen", 2)
        assert await sent.is_ready()
        assert await sent.result(timeout=1) == "pen 2 pool"
    assert shop.events == ["startup", "pen", "shutdown"]
    assert remaining() == set()


def test_inline_sync(shop: Shop) -> None:
    """With `with`, a task has run when `kiq` returns too, and `asyncio.run` may be used at will."""

    async def main() -> str:
        sent = await shop.price.kiq("pen", 2)
        return await sent.result(timeout=1)

    with shop.ft.testing():
        assert asyncio.run(main()) == "pen 2 pool"
        assert asyncio.run(main()) == "pen 2 pool"
    assert shop.events == ["startup", "pen", "pen", "shutdown"]


def test_entered_client(shop: Shop) -> None:
    """A test client that is entered runs the lifespan, once."""
    with shop.ft.testing(), TestClient(shop.app) as client:
        for _ in range(2):
            assert client.post("/").json() == "route 1 pool"
    assert shop.events == ["startup", "route", "route", "shutdown"]


def test_client_that_is_not_entered(shop: Shop) -> None:
    """Where no client runs the lifespan, it is entered for the first task, once."""
    with shop.ft.testing():
        client = TestClient(shop.app)
        for _ in range(2):
            assert client.post("/").json() == "route 1 pool"
    assert shop.events == ["startup", "route", "route", "shutdown"]


async def test_entered_client_in_async(shop: Shop) -> None:
    """With `async with`, a client that runs the lifespan again finds it running."""
    async with shop.ft.testing():
        with TestClient(shop.app) as client:
            assert await asyncio.to_thread(lambda: client.post("/").json()) == "route 1 pool"
    assert shop.events == ["startup", "route", "shutdown"]


async def test_async_client(shop: Shop) -> None:
    """An httpx client, which runs no lifespan, finds the app started."""
    transport = httpx.ASGITransport(app=shop.app)
    async with (
        asyncio.timeout(PATIENCE),
        shop.ft.testing(),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        assert (await client.post("/")).json() == "route 1 pool"
    assert shop.events == ["startup", "route", "shutdown"]


async def test_no_client_no_task(shop: Shop) -> None:
    """With `async with`, the lifespan is entered even if nothing is sent."""
    async with shop.ft.testing():
        assert shop.events == ["startup"]
    assert shop.events == ["startup", "shutdown"]


def test_no_client_no_task_sync(shop: Shop) -> None:
    """With `with`, nothing is started for nothing."""
    with shop.ft.testing():
        pass
    assert shop.events == []


async def test_plain_task(shop: Shop) -> None:
    """Plain tasks of the broker take part, with the app behind their request."""

    async def plain(n: int, request: Request = TaskiqDepends()) -> str:
        return f"{n} {request.app.state.pool} {request.state.yielded}"

    task = shop.broker.register_task(plain, "plain")
    async with shop.ft.testing():
        sent = await task.kiq(5)
        assert (await sent.get_result()).return_value == "5 pool state"


async def test_task_that_sends_a_task(shop: Shop) -> None:
    """A task that sends another one finds its result."""

    @shop.ft.task
    async def outer() -> str:
        return "outer, " + await (await shop.price.kiq("inner")).result(timeout=1)

    async with asyncio.timeout(PATIENCE), shop.ft.testing():
        assert await (await outer.kiq()).result(timeout=1) == "outer, inner 1 pool"


def test_task_that_sends_a_task_sync(shop: Shop) -> None:
    """So it does where the app has an event loop of its own."""

    @shop.ft.task
    async def outer() -> str:
        return "outer, " + await (await shop.price.kiq("inner")).result(timeout=1)

    async def main() -> str:
        return await (await outer.kiq()).result(timeout=1)

    with shop.ft.testing():
        assert asyncio.run(main()) == "outer, inner 1 pool"


async def test_context_of_the_sender_comes_back(shop: Shop) -> None:
    """A task that sends one keeps its own `Context` and context variables."""

    @shop.ft.task("outer")
    async def outer(request: Request) -> str:
        await shop.price.kiq("inner")
        return await shop.price.run("own")

    async with shop.ft.testing():
        assert await (await outer.kiq()).result(timeout=1) == "own 1 pool"  # type: ignore[call-arg]


@pytest.mark.parametrize("run", ["inline", "later"])
@pytest.mark.parametrize("how", ["coroutine", "client", "other loop", "run"])
def test_context_of_the_sender_stays_there(shop: Shop, how: str, run: Any) -> None:
    """A task finds the context variables that the test began with, not those of its sender."""

    @shop.ft.task("who")
    async def who() -> str:
        return WHO.get()

    @shop.app.post("/who")
    async def send() -> None:
        WHO.set("sender")
        await who.kiq()

    async def main() -> None:
        async with shop.ft.testing(run) as tasks:
            await send()
            await tasks.run_all()
            assert [sent.result for sent in tasks.sent] == ["test"]

    token = WHO.set("test")
    try:
        if how == "coroutine":
            asyncio.run(main())
            return
        with shop.ft.testing(run) as tasks, TestClient(shop.app) as client:
            WHO.set("sender")
            if how == "run":
                assert tasks.run(who) == "test"
            elif how == "client":
                client.post("/who")
            else:
                asyncio.run(send())
            tasks.run_all()
            assert [sent.result for sent in tasks.sent] == ["test"]
    finally:
        WHO.reset(token)


async def test_failure(shop: Shop) -> None:
    """A task that fails fails its result, not `kiq`."""
    async with shop.ft.testing():
        sent = await shop.price.kiq("pen", fail=True)
        with pytest.raises(LookupError, match="pen"):
            await sent.result(timeout=1)


async def test_arguments_are_checked(shop: Shop) -> None:
    """What `kiq` refuses in production it refuses in a test."""
    unchecked: Any = shop.price
    async with shop.ft.testing():
        with pytest.raises(InvalidArgumentsError):
            await unchecked.kiq()


async def test_results_are_checked(shop: Shop) -> None:
    """A result that does not fit fails in a test as in a worker."""

    @shop.ft.task
    async def wrong() -> int:
        return "x"  # type: ignore[return-value]

    async with shop.ft.testing():
        with pytest.raises(InvalidResultError):
            await (await wrong.kiq()).result(timeout=1)


class Noting(TaskiqMiddleware):
    """Notes what it is asked."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events

    def startup(self) -> None:
        self.events.append("middleware up")

    def shutdown(self) -> None:
        self.events.append("middleware down")

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        self.events.append("pre_send")
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self.events.append(f"pre_execute {message.args}")
        return message


async def test_middlewares_and_bytes(shop: Shop) -> None:
    """Middlewares run, and a task gets what was sent, not the caller's objects."""
    shop.broker.add_middlewares(Noting(shop.events))
    seen: list[list[int]] = []

    @shop.ft.task
    async def keep(numbers: list[int]) -> None:
        seen.append(numbers)

    numbers = [1]
    async with shop.ft.testing():
        await keep.kiq(numbers)
    assert seen == [numbers]
    assert seen[0] is not numbers
    assert shop.events == [
        "middleware up",
        "startup",
        "pre_send",
        "pre_execute [[1]]",
        "shutdown",
        "middleware down",
    ]


async def test_retry(shop: Shop) -> None:
    """A retry middleware sends the task again, in memory."""
    shop.broker.add_middlewares(SimpleRetryMiddleware(default_retry_count=3))
    runs: list[int] = []

    @shop.ft.task("flaky", labels={"retry_on_error": True})
    async def flaky() -> int:
        runs.append(1)
        if len(runs) < 3:
            raise LookupError("flaky")
        return len(runs)

    async with asyncio.timeout(PATIENCE), shop.ft.testing():
        assert await (await flaky.kiq()).result(timeout=1) == 3


async def test_timeout_of_a_task(shop: Shop) -> None:
    """A task's timeout holds in a test."""

    @shop.ft.task("slow", timeout=0.01)
    async def slow() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE), shop.ft.testing():
        with pytest.raises(TimeoutError):
            await (await slow.kiq()).result(timeout=1)
