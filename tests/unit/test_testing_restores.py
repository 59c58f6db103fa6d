"""What `ft.testing()` leaves behind: nothing, whatever happens inside."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from starlette.testclient import TestClient
from taskiq import Context, TaskiqEvents, TaskiqState

from tests.unit.doubles import PATIENCE, remaining
from tests.unit.shop import Shop, send


@pytest.fixture
def shop() -> Shop:
    return Shop()


def snapshot(broker: Any) -> dict[str, Any]:
    """What a broker holds, with copies of what may change in place."""
    held = dict(vars(broker))
    held["event_handlers"] = {
        event: [*each] for event, each in broker.event_handlers.items() if each
    }
    held["local_task_registry"] = dict(broker.local_task_registry)
    # Taskiq's receiver leaves these two of its own behind.
    held["custom_dependency_context"] = {
        asked: value
        for asked, value in broker.custom_dependency_context.items()
        if asked not in (Context, TaskiqState)
    }
    held["dependency_overrides"] = dict(broker.dependency_overrides)
    held["middlewares"] = [*broker.middlewares]
    return held


@pytest.mark.parametrize("how", ["sync", "async", "sync, no task"])
def test_restored(shop: Shop, how: str) -> None:
    """Afterwards the broker is exactly as before."""
    before = snapshot(shop.broker)

    async def main() -> None:
        async with shop.ft.testing():
            await shop.price.kiq("pen")

    if how == "async":
        asyncio.run(main())
    else:
        with shop.ft.testing():
            if how == "sync":
                asyncio.run(send(shop, "pen"))
    assert snapshot(shop.broker) == before
    with pytest.raises(ConnectionError):
        asyncio.run(shop.broker.startup())


async def test_nested(shop: Shop) -> None:
    """A nested one has results of its own; the lifespan is still entered once."""
    before = snapshot(shop.broker)
    async with shop.ft.testing():
        outer = await shop.price.kiq("outer")
        async with shop.ft.testing():
            inner = await shop.price.kiq("inner")
            assert await inner.is_ready()
            assert not await shop.broker.result_backend.is_result_ready(outer.task_id)
        assert await outer.is_ready()
        assert not await shop.broker.result_backend.is_result_ready(inner.task_id)
        assert await (await shop.price.kiq("after")).result(timeout=1) == "after 1 pool"
    assert shop.events == ["startup", "outer", "inner", "after", "shutdown"]
    assert snapshot(shop.broker) == before


@pytest.mark.parametrize("how", ["sync", "async"])
def test_body_raises(shop: Shop, how: str) -> None:
    """A test that fails leaves nothing behind."""
    before = snapshot(shop.broker)

    async def main() -> None:
        async with shop.ft.testing():
            await shop.price.kiq("pen")
            raise LookupError("body")

    with pytest.raises(LookupError, match="body"):  # noqa: PT012
        if how == "async":
            asyncio.run(main())
        with shop.ft.testing():
            asyncio.run(send(shop, "pen"))
            raise LookupError("body")
    assert shop.events == ["startup", "pen", "shutdown"]
    assert snapshot(shop.broker) == before


def failing(shop: Shop, where: str) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if where == "startup":
            raise LookupError(where)
        yield
        raise LookupError(where)

    shop.app = FastAPI(lifespan=shop.ft.lifespan(lifespan))


@pytest.mark.parametrize("where", ["startup", "shutdown"])
async def test_lifespan_raises(shop: Shop, where: str) -> None:
    """A lifespan that fails is told, and the broker is as before."""
    before = snapshot(shop.broker)
    failing(shop, where)
    with pytest.raises(LookupError, match=where):
        async with shop.ft.testing():
            assert where == "shutdown"
    assert snapshot(shop.broker) == before
    assert not shop.ft._lifespan.is_running
    assert remaining() == set()


async def test_startup_that_fails_is_shut_down(shop: Shop) -> None:
    """What was started before a startup failed is shut down again."""
    failing(shop, "startup")
    for event in (TaskiqEvents.CLIENT_STARTUP, TaskiqEvents.CLIENT_SHUTDOWN):
        shop.broker.add_event_handler(
            event,
            lambda state, event=event: shop.events.append(event.name),  # type: ignore[misc]
        )
    with pytest.raises(LookupError):
        async with shop.ft.testing():
            pass
    assert shop.events == ["CLIENT_STARTUP", "CLIENT_SHUTDOWN"]


def test_startup_raises_sync(shop: Shop) -> None:
    """With `with`, the first `kiq` tells that the lifespan's startup failed."""
    before = snapshot(shop.broker)
    failing(shop, "startup")
    with shop.ft.testing(), pytest.raises(Exception) as caught:  # noqa: PT011
        asyncio.run(send(shop, "pen"))
    told = [caught.value, caught.value.__cause__]
    assert any(isinstance(error, LookupError) for error in told)
    assert snapshot(shop.broker) == before


@pytest.mark.parametrize("how", ["sync", "async"])
def test_inside_an_entered_client(shop: Shop, how: str) -> None:
    """One that is entered while the app runs already leaves it running."""
    shop.broker.startup = shop.broker.shutdown = nothing  # type: ignore[method-assign]

    async def main() -> None:
        async with shop.ft.testing():
            await shop.price.kiq("pen")

    with TestClient(shop.app) as client:
        if how == "async":
            assert client.portal is not None
            client.portal.call(main)
        else:
            with shop.ft.testing():
                assert client.post("/").json() == "route 1 pool"
        assert shop.events[0] == "startup"
        assert shop.events[-1] != "shutdown"
        assert shop.ft._lifespan.is_running
    assert [event for event in shop.events if event.startswith("s")] == ["startup", "shutdown"]


async def nothing() -> None: ...


async def test_each_start_has_its_stop(shop: Shop) -> None:
    """Handlers of a start run as often as those of a stop, in nested tests too."""
    for event in TaskiqEvents:
        shop.broker.add_event_handler(
            event,
            lambda state, event=event: shop.events.append(event.name),  # type: ignore[misc]
        )
    async with shop.ft.testing(), shop.ft.testing():
        pass
    assert shop.events.count("CLIENT_STARTUP") == shop.events.count("CLIENT_SHUTDOWN")
    assert shop.events.count("WORKER_STARTUP") == shop.events.count("WORKER_SHUTDOWN")


def test_first_tasks_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several first tasks at once start one event loop, and enter the lifespan once."""
    opened: list[str] = []
    all_wait = threading.Event()

    def counted() -> Any:
        opened.append("portal")
        assert all_wait.wait(PATIENCE)
        return start_blocking_portal()

    monkeypatch.setattr("fastask.testing.session.start_blocking_portal", counted)

    async def main() -> None:
        sending = [asyncio.create_task(send(shop, "pen")) for _ in range(3)]
        await asyncio.sleep(0)
        all_wait.set()
        await asyncio.wait(sending)

    try:
        with shop.ft.testing():
            asyncio.run(main())
    finally:
        assert opened == ["portal"]
    assert shop.events == ["startup", *["pen"] * 3, "shutdown"]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_kept_and_used_again(shop: Shop, how: str) -> None:
    """What `ft.testing()` returned can be entered again, as a fixture that keeps it would."""
    testing = shop.ft.testing()

    async def main() -> None:
        async with testing:
            await shop.price.kiq("pen")

    for _ in range(2):
        if how == "async":
            asyncio.run(main())
        else:
            with testing:
                asyncio.run(send(shop, "pen"))
    assert shop.events == ["startup", "pen", "shutdown"] * 2


async def test_used_twice(shop: Shop) -> None:
    """One after the other, each test has a lifespan and results of its own."""
    for _ in range(2):
        async with shop.ft.testing():
            await shop.price.kiq("pen")
    assert shop.events == ["startup", "pen", "shutdown"] * 2
