"""What a failure does, wherever it happens: nothing is lost, everything is closed, once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from taskiq import SimpleRetryMiddleware

from fastask import FastTask
from tests.behaviour.receiving import ReceivingBroker

Log = list[str]


class Boom(Exception):
    """The failure that a test makes."""


class Wires:
    """What a dependency of each kind is made of: a log, and where to fail."""

    def __init__(self, setup: str = "", teardown: tuple[str, ...] = ()) -> None:
        self.log: Log = []
        self._setup = setup
        self._teardown = teardown

    def up(self, name: str) -> str:
        if name == self._setup:
            raise Boom(f"setup of {name}")
        self.log.append(f"+{name}")
        return name

    def down(self, name: str, error: BaseException | None) -> None:
        seen = f" saw {error}" if error is not None else ""
        self.log.append(f"-{name}{seen}")
        if name in self._teardown:
            raise Boom(f"teardown of {name}")


def async_generator(wires: Wires, name: str, *needs: Any) -> Callable[..., Any]:
    async def opened(needed: Any = Depends(*needs) if needs else None) -> AsyncIterator[str]:
        wires.up(name)
        try:
            yield name
        except BaseException as error:
            wires.down(name, error)
            raise
        else:
            wires.down(name, None)

    return opened


def generator(wires: Wires, name: str, *needs: Any) -> Callable[..., Any]:
    def opened(needed: Any = Depends(*needs) if needs else None) -> Iterator[str]:
        wires.up(name)
        try:
            yield name
        except BaseException as error:
            wires.down(name, error)
            raise
        else:
            wires.down(name, None)

    return opened


def coroutine(wires: Wires, name: str, *needs: Any) -> Callable[..., Any]:
    async def made(needed: Any = Depends(*needs) if needs else None) -> str:
        return wires.up(name)

    return made


def function(wires: Wires, name: str, *needs: Any) -> Callable[..., Any]:
    def made(needed: Any = Depends(*needs) if needs else None) -> str:
        return wires.up(name)

    return made


def a_class(wires: Wires, name: str, *needs: Any) -> Callable[..., Any]:
    class Made:
        def __init__(self, needed: Any = Depends(*needs) if needs else None) -> None:
            wires.up(name)

    return Made


KINDS = {
    "async generator": async_generator,
    "generator": generator,
    "async": coroutine,
    "sync": function,
    "class": a_class,
}
GENERATORS = {name: KINDS[name] for name in ("async generator", "generator")}
WAYS = ["direct", "uncached", "nested", "overridden"]


def task_with(
    wires: Wires, make: Callable[..., Any], way: str, body: Callable[[], Any] = lambda: None
) -> tuple[ReceivingBroker, Any]:
    """A task that needs an outer generator and, below or beside it, the dependency of a kind."""
    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)
    outer = async_generator(wires, "outer")
    inner = make(wires, "inner", outer)
    asked: Any = Depends(inner, use_cache=way != "uncached")
    if way == "nested":
        asked = Depends(coroutine(wires, "above", inner))
    if way == "overridden":

        def original() -> None:
            wires.log.append("the original was called")

        app.dependency_overrides[original] = inner
        asked = Depends(original)

    @ft.task("under:test")
    async def under_test(value: Any = asked) -> str:
        wires.log.append("task")
        result = body()
        if asyncio.iscoroutine(result):
            await result
        return "done"

    return broker, under_test


def opened_and_closed(log: Log) -> None:
    """What has a teardown is closed once, last opened first."""
    up = [entry[1:] for entry in log if entry.startswith("+")]
    down = [entry[1:].partition(" ")[0] for entry in log if entry.startswith("-")]
    assert down == [name for name in reversed(up) if name in down]
    assert len(set(down)) == len(down)
    assert "outer" not in up or "outer" in down


def fail() -> None:
    raise Boom("task")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_setup_fails(kind: str, way: str) -> None:
    """The task does not run, what was open sees the error and is closed."""
    wires = Wires(setup="inner")
    broker, task = task_with(wires, KINDS[kind], way)
    result = await broker.ran(task)
    assert result.is_err
    assert str(result.error) == "setup of inner"
    assert wires.log == ["+outer", "-outer saw setup of inner"]
    assert broker.notes.errors == [result.error]
    assert broker.acknowledged == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_task_fails(kind: str, way: str) -> None:
    """Every generator sees the task's error, and the result carries it."""
    wires = Wires()
    broker, task = task_with(wires, KINDS[kind], way, fail)
    result = await broker.ran(task)
    assert str(result.error) == "task"
    opened_and_closed(wires.log)
    assert all("saw task" in entry for entry in wires.log if entry.startswith("-"))
    assert "-outer saw task" in wires.log
    assert ("-inner saw task" in wires.log) == (kind in GENERATORS)
    assert broker.notes.errors == [result.error]
    assert broker.acknowledged == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GENERATORS)
async def test_teardown_fails(kind: str, way: str) -> None:
    """A commit that fails makes a failed task: error result, middlewares, acknowledgement.

    Taskiq 0.13 closes dependencies unguarded: the result was lost, the message never
    acknowledged.
    """
    wires = Wires(teardown=("inner",))
    broker, task = task_with(wires, KINDS[kind], way)
    result = await broker.ran(task)
    assert result.is_err
    assert str(result.error) == "teardown of inner"
    assert wires.log[-2:] == ["-inner", "-outer saw teardown of inner"]
    opened_and_closed(wires.log)
    assert broker.notes.errors == [result.error]
    assert broker.notes.ended == [result]
    assert broker.acknowledged == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GENERATORS)
async def test_task_and_teardown_fail(kind: str, way: str) -> None:
    """The teardown's error is the result, with the task's as its context."""
    wires = Wires(teardown=("inner",))
    broker, task = task_with(wires, KINDS[kind], way, fail)
    result = await broker.ran(task)
    assert result.error is not None
    assert str(result.error) == "teardown of inner"
    assert str(result.error.__context__) == "task"
    opened_and_closed(wires.log)
    assert broker.acknowledged == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GENERATORS)
async def test_two_teardowns_fail(kind: str, way: str) -> None:
    """The last error is the result; the earlier ones are its contexts, in order."""
    wires = Wires(teardown=("inner", "outer"))
    broker, task = task_with(wires, KINDS[kind], way, fail)
    result = await broker.ran(task)
    error: BaseException | None = result.error
    chain = []
    while error is not None:
        chain.append(str(error))
        error = error.__context__
    assert chain == ["teardown of outer", "teardown of inner", "task"]
    opened_and_closed(wires.log)
    assert broker.acknowledged == 1


@pytest.mark.parametrize("kind", GENERATORS)
async def test_retry_sees_a_failed_teardown(kind: str) -> None:
    """Taskiq's retry middleware sends the task again when only its teardown failed."""
    wires = Wires(teardown=("inner",))
    broker, task = task_with(wires, KINDS[kind], "direct")
    broker.add_middlewares(SimpleRetryMiddleware())
    await task.kicker().with_labels(retry_on_error=True, max_retries=3).kiq()
    await broker.deliver_without_result()
    assert len(broker.sent) == 1
    assert broker.acknowledged == 1


@pytest.mark.parametrize("how", ["timeout", "cancellation"])
@pytest.mark.parametrize("kind", GENERATORS)
async def test_being_cut_short_closes_everything(kind: str, how: str) -> None:
    """A timeout or a cancellation reaches the task; teardowns may still await."""
    started = asyncio.Event()
    slow_teardowns: Log = []

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    async def slow() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            slow_teardowns.append("closed")

    wires = Wires()
    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)
    inner = KINDS[kind](wires, "inner")

    @ft.task("cut:short")
    async def cut_short(a: Any = Depends(slow), b: Any = Depends(inner)) -> None:
        await hang()

    await cut_short.kicker().with_labels(**({"timeout": 0.05} if how == "timeout" else {})).kiq()
    running = asyncio.create_task(broker.deliver())
    await asyncio.wait_for(started.wait(), 5)
    if how == "cancellation":
        running.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    [error] = broker.notes.errors
    assert isinstance(error, TimeoutError if how == "timeout" else asyncio.CancelledError)
    assert slow_teardowns == ["closed"]
    assert wires.log[0] == "+inner"
    assert wires.log[1].startswith("-inner saw")
    assert broker.acknowledged == 1


async def test_swallowed_failure_stays_a_failure() -> None:
    """A generator that swallows the task's exception does not make it a success."""

    async def swallows() -> AsyncIterator[None]:
        with suppress(Boom):
            yield

    wires = Wires()
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    scoped = ft.depends(swallows, scope="function")
    outer = async_generator(wires, "outer")

    @ft.task("swallowed:early")
    async def early(a: Any = Depends(outer), b: Any = scoped) -> None:
        fail()

    @ft.task("swallowed:late")
    async def late(a: Any = Depends(swallows), b: Any = Depends(outer)) -> None:
        fail()

    for task in (early, late):
        wires.log.clear()
        result = await broker.ran(task)
        assert str(result.error) == "task"
        assert wires.log == ["+outer", "-outer saw task"]


async def test_failing_background_task_fails_the_task() -> None:
    """Background tasks run after the task succeeded, before what is open is closed."""
    from fastapi import BackgroundTasks

    wires = Wires()
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    outer = async_generator(wires, "outer")

    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(wires.log.append, "background")
        tasks.add_task(fail)

    @ft.task("with:background")
    async def with_background(
        fails: bool, a: Any = Depends(outer), b: Any = Depends(later)
    ) -> None:
        if fails:
            raise Boom("task")
        wires.log.append("task")

    result = await broker.ran(with_background, False)
    assert str(result.error) == "task"
    assert wires.log == ["+outer", "task", "background", "-outer saw task"]
    wires.log.clear()
    await broker.ran(with_background, True)
    assert wires.log == ["+outer", "-outer saw task"]
