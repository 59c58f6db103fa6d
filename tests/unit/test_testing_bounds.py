"""Tasks that send each other come to an end, and have threads enough until then."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio.from_thread
import anyio.to_thread
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import fastask.testing.runs
from fastask import FastTask, TaskLoopError
from tests.unit.doubles import PATIENCE, RecordingBroker
from tests.unit.shop import Shop


@pytest.fixture
def shop() -> Shop:
    return Shop()


def counted(shop: Shop, kind: str) -> tuple[Any, list[int]]:
    """A task that sends itself without an end, and its runs."""
    runs: list[int] = []

    @shop.ft.task("tree", retries=2 if kind == "retried" else 0)
    async def tree() -> None:
        runs.append(1)
        if kind == "one after the other":
            await tree.kiq()
            await tree.kiq()
        elif kind == "at once":
            await asyncio.gather(tree.kiq(), tree.kiq())
        else:
            await (await tree.kiq()).result()

    return tree, runs


@pytest.mark.parametrize("kind", ["one after the other", "at once", "retried"])
async def test_loop_that_branches(shop: Shop, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that grows is named soon, however it grows."""
    monkeypatch.setattr(fastask.testing.runs, "_MOST_LOOPED", 100)
    tree, runs = counted(shop, kind)
    async with asyncio.timeout(PATIENCE), shop.ft.testing(raise_errors=False) as tasks:
        await tree.kiq()
        errors = [sent.error for sent in tasks.sent if sent.raised]
    assert errors
    assert all(isinstance(error, TaskLoopError) for error in errors)
    assert len(runs) == (51 if kind != "at once" else 101)


async def test_many_tasks_of_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task may send as many others as it likes, and a loop elsewhere is not theirs."""
    monkeypatch.setattr(fastask.testing.runs, "_MOST_LOOPED", 20)
    tree, _ = counted(shop, "at once")

    @shop.ft.task("many")
    async def many() -> None:
        for n in range(50):
            await shop.price.kiq(str(n))

    async with asyncio.timeout(PATIENCE), shop.ft.testing(raise_errors=False) as tasks:
        await tree.kiq()
        await many.kiq()
        assert {sent.state for sent in tasks.sent_to(shop.price)} == {"succeeded"}
        assert len(tasks.sent_to(shop.price)) == 50


async def test_chains_that_are_no_loop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below tasks that have sent each other, only those are counted that repeat a name."""
    monkeypatch.setattr(fastask.testing.runs, "_MOST_LOOPED", 20)

    @shop.ft.task("page")
    async def page(left: int) -> None:
        if left:
            await page.kiq(left - 1)
        for n in range(20):
            await shop.price.kiq(str(n))

    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        await page.kiq(5)
        assert len(tasks.sent) == 6 * 21


def from_a_thread(send: Callable[[], Any]) -> None:
    """Send from a thread of anyio's, or from any other."""
    try:
        anyio.from_thread.run(send)
    except RuntimeError as error:
        if "worker thread" not in str(error):
            raise
        asyncio.run(send())


@pytest.mark.parametrize("threads", [1, None])
@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_blocking_tasks_of_blocking_tasks(kind: str, threads: int | None) -> None:
    """As many may wait for each other as coroutines may, whatever the limit of threads."""
    broker = RecordingBroker()
    ft = FastTask(FastAPI(), broker, threads=threads)
    declare: Any = ft.task if kind == "ours" else broker.task

    def function(left: int) -> int:
        if left:
            from_a_thread(lambda: down.kiq(left - 1))
        return left

    down = declare("down")(function)
    done: list[int] = []

    def work() -> None:
        with ft.testing() as tasks:
            done.append(tasks.run(down, 45))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    assert done == [45]


async def test_limit_of_threads(shop: Shop) -> None:
    """What no task has sent keeps to the limit, in a nested test too."""
    ft = FastTask(FastAPI(), RecordingBroker(), threads=1)
    both = threading.Barrier(2)

    @ft.task("meet")
    def meet() -> None:
        both.wait(0.05)

    async with asyncio.timeout(PATIENCE), ft.testing(), ft.testing() as tasks:
        await asyncio.gather(meet.kiq(), meet.kiq())
        assert [type(sent.error) for sent in tasks.sent] == [threading.BrokenBarrierError] * 2


async def test_limit_of_threads_of_plain_tasks() -> None:
    """So do plain tasks of the broker, and one that waits takes its turn."""
    broker = RecordingBroker()
    ft = FastTask(FastAPI(), broker, threads=2)
    now: list[int] = []
    most: list[int] = []

    def function() -> None:
        now.append(1)
        most.append(len(now))
        asyncio.run(leaf.kiq())
        now.pop()

    def nothing() -> None: ...

    plain: Any = broker.register_task(function, "plain")
    leaf: Any = broker.register_task(nothing, "leaf")
    async with asyncio.timeout(PATIENCE), ft.testing() as tasks:
        await asyncio.gather(*(plain.kiq() for _ in range(20)))
        assert {sent.state for sent in tasks.sent} == {"succeeded"}
    assert len(most) == 20
    assert max(most) <= 2


def test_blocking_routes(shop: Shop) -> None:
    """Routes that wait in threads leave enough of them to the tasks."""
    ft = FastTask(FastAPI(), RecordingBroker())

    @ft.task("leaf")
    def leaf() -> int:
        return 1

    @ft.app.post("/")
    def post() -> None:
        anyio.from_thread.run(leaf.kiq)

    async def limited() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1

    with ft.testing() as tasks, TestClient(ft.app) as client:
        assert client.portal is not None
        client.portal.call(limited)
        client.post("/")
        assert tasks.sent[0].result == 1
