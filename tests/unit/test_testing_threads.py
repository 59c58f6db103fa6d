"""Tests in several threads and asyncio tasks take turns, and nothing of one stays in another."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import fastask.testing.context
from tests.unit.doubles import PATIENCE
from tests.unit.shop import Shop, send
from tests.unit.test_testing_restores import snapshot


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """No thread outlives the test that has started it."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count), timeout=10 * PATIENCE))


@pytest.mark.parametrize("same_object", [False, True])
@pytest.mark.parametrize("how", ["sync", "async"])
def test_threads_take_turns(shop: Shop, how: str, same_object: bool) -> None:
    """Each thread's test sees what it has sent itself, and a lifespan of its own."""
    before = snapshot(shop.broker)
    kept = shop.ft.testing()

    async def main(n: int) -> list[Any]:
        async with kept if same_object else shop.ft.testing() as tasks:
            await shop.price.kiq(str(n))
            await asyncio.sleep(0)
            return [sent.result for sent in tasks.sent]

    def work(n: int) -> list[Any]:
        if how == "async":
            return asyncio.run(main(n))
        with kept if same_object else shop.ft.testing() as tasks:
            asyncio.run(send(shop, str(n)))
            return [sent.result for sent in tasks.sent]

    with shop.ft.testing():  # who was inside once is not inside for ever
        pass
    assert in_threads(6, work) == [[f"{n} 1 pool"] for n in range(6)]
    assert [event for event in shop.events if event.startswith("s")] == ["startup", "shutdown"] * 6
    assert snapshot(shop.broker) == before


def test_main_thread_waits_for_another(shop: Shop) -> None:
    """A thread that has been inside before waits for another one all the same."""
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with shop.ft.testing() as tasks:
            entered.set()
            assert leave.wait(PATIENCE)
            assert tasks.sent == []

    with shop.ft.testing():
        pass
    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(PATIENCE)
    threading.Timer(0.05, leave.set).start()
    with shop.ft.testing() as tasks:
        assert leave.is_set()
        asyncio.run(send(shop, "pen"))
        assert len(tasks.sent) == 1
    holder.join(PATIENCE)


async def test_asyncio_tasks_take_turns(shop: Shop) -> None:
    """Tests that run at once in one event loop are one after the other, too."""
    before = snapshot(shop.broker)

    async def main(n: int) -> list[Any]:
        async with shop.ft.testing() as tasks:
            await shop.price.kiq(str(n))
            await asyncio.sleep(0)
            await shop.price.kiq(str(n))
            return [sent.result for sent in tasks.sent]

    async with asyncio.timeout(PATIENCE):
        found = await asyncio.gather(*(main(n) for n in range(5)))
    assert found == [[f"{n} 1 pool"] * 2 for n in range(5)]
    assert snapshot(shop.broker) == before


async def test_sync_in_the_way_of_another_task(shop: Shop) -> None:
    """With `with`, an asyncio task can't wait for another one, and is told."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with shop.ft.testing():
            entered.set()
            await leave.wait()

    holder = asyncio.create_task(hold())
    await entered.wait()
    with pytest.raises(RuntimeError, match="another asyncio task"), shop.ft.testing():
        pass
    leave.set()
    await holder
    with shop.ft.testing():
        pass


@pytest.mark.parametrize("how", ["sync", "async"])
def test_waits_are_bounded(shop: Shop, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits only so long for another one."""
    monkeypatch.setattr(fastask.testing.context, "_LONGEST", 0.02)

    async def main() -> None:
        async with shop.ft.testing():
            pass

    def work(_: int) -> None:
        if how == "async":
            asyncio.run(main())
        else:
            shop.ft.testing().__enter__()

    with shop.ft.testing(), pytest.raises(TimeoutError, match="entered elsewhere"):
        in_threads(1, work)


@pytest.mark.parametrize(("how", "end"), [("run", "stops"), ("send", "stops"), ("run", "ends")])
def test_loop_that_stops_meanwhile(
    shop: Shop, how: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for what another event loop runs is told when that stops."""
    monkeypatch.setattr("fastask.testing.loops._LOOK", 0.01)
    loop = asyncio.new_event_loop()

    @shop.ft.task("endless")
    async def endless() -> None:
        if end == "stops":
            loop.stop()
        else:  # as `asyncio.run` ends what is left
            for task in asyncio.all_tasks():
                if task.get_name() != "fastask lifespan":
                    task.cancel()
        await asyncio.Event().wait()

    async def send() -> None:
        await endless.kiq()

    outer = shop.ft.testing(raise_errors=False)
    loop.run_until_complete(outer.__aenter__())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with (
        shop.ft.testing(raise_errors=False) as tasks,
        pytest.raises(RuntimeError, match="has stopped"),
    ):
        tasks.run(endless) if how == "run" else asyncio.run(send())
    if end == "ends":
        loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.run_until_complete(outer.__aexit__(None, None, None))
    loop.close()


@pytest.mark.parametrize("client", [False, True])
def test_sending_from_threads(shop: Shop, client: bool) -> None:
    """Threads with loops of their own send at once; the tasks run where the lifespan does."""
    loops: set[int] = set()

    @shop.ft.task("where")
    async def where(n: int) -> int:
        loops.add(id(asyncio.get_running_loop()))
        return n

    async def main(n: int) -> list[int]:
        sent = await asyncio.gather(*(where.kiq(n) for _ in range(5)))
        return [await one.result(timeout=PATIENCE) for one in sent]

    with shop.ft.testing() as tasks:
        if client:
            with TestClient(shop.app):
                found = in_threads(8, lambda n: asyncio.run(main(n)))
        else:
            found = in_threads(8, lambda n: asyncio.run(main(n)))
        assert found == [[n] * 5 for n in range(8)]
        assert len(tasks.sent) == 40
        assert all(sent.sender is None for sent in tasks.sent)
    assert len(loops) == 1
    assert shop.events == ["startup", "shutdown"]


def test_sending_while_the_lifespan_starts(shop: Shop) -> None:
    """A task that another thread sends while the first one has it started waits for that."""
    started, go = threading.Event(), threading.Event()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        started.set()
        assert await asyncio.to_thread(go.wait, PATIENCE)
        app.state.pool = "pool"
        yield

    shop.app = FastAPI(lifespan=shop.ft.lifespan(lifespan))
    with shop.ft.testing() as tasks, ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: asyncio.run(send(shop, "first")))
        assert started.wait(PATIENCE)
        second = pool.submit(lambda: asyncio.run(send(shop, "second")))
        wait([second], timeout=0.1)
        go.set()
        wait([first, second], timeout=PATIENCE)
        assert {sent.result for sent in tasks.sent} == {"first 1 pool", "second 1 pool"}


async def test_sending_from_threads_in_async(shop: Shop) -> None:
    """A thread of a coroutine's test sends too, and may wait there."""
    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        async with asyncio.TaskGroup() as group:
            for n in range(4):
                group.create_task(asyncio.to_thread(asyncio.run, send(shop, str(n))))
        assert {sent.result for sent in tasks.sent} == {f"{n} 1 pool" for n in range(4)}


def entered_in_a_generator(shop: Shop) -> Iterator[Any]:
    with shop.ft.testing() as tasks:
        yield tasks


async def entered_in_an_async_generator(shop: Shop) -> AsyncIterator[Any]:
    async with shop.ft.testing() as tasks:
        yield tasks


@pytest.mark.parametrize("how", ["close", "gc"])
def test_generator_that_is_closed_late(shop: Shop, how: str) -> None:
    """A fixture that ends while another test is inside takes nothing away from that."""
    before = snapshot(shop.broker)
    late = entered_in_a_generator(shop)
    outer = next(late)
    asyncio.run(send(shop, "outer"))
    with shop.ft.testing() as tasks:
        if how == "close":
            late.close()  # type: ignore[attr-defined]
        del late
        gc.collect()
        asyncio.run(send(shop, "pen"))
        assert [sent.result for sent in tasks.sent] == ["pen 1 pool"]
    assert [sent.args for sent in outer.sent] == [("outer",)]
    assert snapshot(shop.broker) == before
    assert not shop.ft._lifespan.is_running
    with pytest.raises(Exception, match=r"kick|send"):
        asyncio.run(send(shop, "real"))


@pytest.mark.parametrize("how", ["aclose", "end of the loop"])
def test_async_generator_that_is_closed_late(
    shop: Shop, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """So does an asynchronous one, in another asyncio task or at the end of the loop."""
    before = snapshot(shop.broker)
    kept: list[Any] = []

    async def main() -> None:
        late = entered_in_an_async_generator(shop)
        await asyncio.create_task(anext(late))  # type: ignore[arg-type]
        kept.append(late)
        async with shop.ft.testing() as tasks:
            if how == "aclose":
                await asyncio.create_task(late.aclose())  # type: ignore[attr-defined]
            await shop.price.kiq("pen")
            assert [sent.error for sent in tasks.sent] == [None]

    asyncio.run(main())
    if how == "aclose":
        assert caplog.text == ""  # the end of the loop would tell of what it had to end
    assert snapshot(shop.broker) == before
    assert not shop.ft._lifespan.is_running


@pytest.mark.parametrize("how", ["sync", "async"])
def test_entered_again_within_itself(shop: Shop, how: str) -> None:
    """One object may be entered within itself, and again afterwards."""
    before = snapshot(shop.broker)
    testing = shop.ft.testing()

    async def main() -> None:
        async with testing as outer:
            await shop.price.kiq("outer")
            async with testing as inner:
                await shop.price.kiq("inner")
            await shop.price.kiq("outer")
            assert [len(outer.sent), len(inner.sent)] == [2, 1]

    for _ in range(2):
        if how == "async":
            asyncio.run(main())
            continue
        with testing as outer:
            asyncio.run(send(shop, "outer"))
            with testing as inner:
                asyncio.run(send(shop, "inner"))
            asyncio.run(send(shop, "outer"))
            assert [len(outer.sent), len(inner.sent)] == [2, 1]
    starts = [event for event in shop.events if event.startswith("s")]
    assert starts == ["startup", "shutdown"] * 2
    assert snapshot(shop.broker) == before


def test_mixed(shop: Shop) -> None:
    """A coroutine's test within a plain one, and the other way round."""
    before = snapshot(shop.broker)

    async def main() -> None:
        async with shop.ft.testing() as tasks:
            await shop.price.kiq("pen")
            with shop.ft.testing() as inner:
                await shop.price.kiq("ink")
            assert [len(tasks.sent), len(inner.sent)] == [1, 1]

    with shop.ft.testing() as outer:
        asyncio.run(send(shop, "outer"))
        asyncio.run(main())
        assert len(outer.sent) == 1
    assert shop.events == ["startup", "outer", "pen", "ink", "shutdown"]
    assert snapshot(shop.broker) == before


def test_nothing_is_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test has seen is free when the test has ended."""
    # The plugin keeps it for its report of this very test.
    monkeypatch.setattr("fastask.testing.session.watchers", [])
    with shop.ft.testing() as tasks:
        asyncio.run(send(shop, "pen"))
        session = weakref.ref(tasks.session)
    del tasks
    gc.collect()
    assert session() is None
