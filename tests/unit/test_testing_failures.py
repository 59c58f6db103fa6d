"""Failures of tasks are loud, and whatever fails, everything is as it was before."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from taskiq import TaskiqMessage, TaskiqMiddleware

import fastask.testing.context
from tests.unit.doubles import PATIENCE, remaining
from tests.unit.shop import Shop
from tests.unit.test_testing_restores import failing, snapshot

both = pytest.mark.parametrize("how", ["sync", "async"])
in_each_mode = pytest.mark.parametrize("run", ["inline", "later"])


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def send_failing(shop: Shop, *items: str) -> None:
    for item in items:
        await shop.price.kiq(item, fail=True)


@in_each_mode
@both
def test_unseen_errors_are_raised(shop: Shop, run: Any, how: str) -> None:
    """Leaving raises all errors that the test has not looked at, and only these."""

    async def main() -> None:
        async with shop.ft.testing(run) as tasks:
            await send_failing(shop, "a", "b", "c")
            await tasks.run_all()
            assert repr(tasks.sent[1].error) == "LookupError('b')"

    with pytest.raises(ExceptionGroup, match="has not looked at") as caught:  # noqa: PT012
        if how == "async":
            asyncio.run(main())
        with shop.ft.testing(run) as tasks:
            asyncio.run(send_failing(shop, "a", "b", "c"))
            tasks.run_all()
            assert tasks.sent[1].error is not None
    assert [repr(error) for error in caught.value.exceptions] == [
        "LookupError('a')",
        "LookupError('c')",
    ]
    assert not shop.ft._lifespan.is_running


@pytest.mark.parametrize("look", ["error", "result", "enqueued", "run", "raise_errors"])
async def test_looked_at(shop: Shop, look: str) -> None:
    """Each way of looking at an error is enough."""
    async with shop.ft.testing(raise_errors=look != "raise_errors") as tasks:
        if look == "run":
            with pytest.raises(LookupError, match="pen"):
                await tasks.run(shop.price, "pen", fail=True)
            return
        enqueued = await shop.price.kiq("pen", fail=True)
        if look == "error":
            assert isinstance(tasks.sent[0].error, LookupError)
        if look == "result":
            with pytest.raises(LookupError):
                tasks.sent[0].result  # noqa: B018
        if look == "enqueued":
            with pytest.raises(LookupError):
                await enqueued.result()


async def test_look_before_it_has_run(shop: Shop) -> None:
    """Looking at `.error` while a task waits is not looking at the error it has later."""
    with pytest.raises(ExceptionGroup):  # noqa: PT012
        async with shop.ft.testing("later") as tasks:
            await send_failing(shop, "pen")
            assert tasks.sent[0].error is None
            await tasks.run_all()


def test_request_is_not_broken(shop: Shop) -> None:
    """A request that sends a task that fails is answered as ever."""

    @shop.app.post("/failing")
    async def route() -> str:
        await shop.price.kiq("pen", fail=True)
        return "sent"

    with (
        pytest.raises(ExceptionGroup),
        shop.ft.testing(),
        TestClient(shop.app) as client,
    ):
        assert client.post("/failing").json() == "sent"


class Unspeakable(Exception):
    """Neither its text nor its `repr` can be had."""

    def __str__(self) -> str:
        raise LookupError("str")

    __repr__ = __str__


@pytest.mark.parametrize("own", [False, True])
def test_error_without_words(shop: Shop, own: bool) -> None:
    """An error whose class fails is told by its class, wherever it is told."""

    @shop.ft.task("failing")
    async def failing() -> None:
        raise Unspeakable

    expected: Any = AssertionError if own else ExceptionGroup
    with pytest.raises(expected) as caught, shop.ft.testing() as tasks:  # noqa: PT012
        asyncio.run(send_one(failing))
        assert "Unspeakable, whose text can't be had" in str(tasks)
        assert not own, "own"
    if own:
        assert "<Unspeakable, whose text can't be had: LookupError>" in caught.value.__notes__[0]
    else:
        [error] = caught.value.exceptions
        assert type(error) is Unspeakable


def test_a_line_for_each_task(shop: Shop) -> None:
    """Line breaks in names and errors are written as Python writes them, long ones in short."""

    @shop.ft.task("fail\ning")
    async def failing(words: str) -> None:
        raise LookupError(words)

    with shop.ft.testing(raise_errors=False) as tasks:
        for words in ("one\ntwo", "x" * 1000, ""):
            asyncio.run(send_words(failing, words))
        first, second, third = str(tasks).splitlines()
    assert first.startswith(r"fail\ning  failed, ")
    assert first.endswith(r"ms: LookupError: one\ntwo")
    assert second.endswith("... (1000 characters)")
    assert len(second) < 500
    assert third.endswith("ms: LookupError: ")


@both
def test_own_error_is_raised_with_notes(shop: Shop, how: str) -> None:
    """A test that fails raises its own error; those of tasks are noted on it."""

    async def main() -> None:
        async with shop.ft.testing():
            await send_failing(shop, "a", "b")
            raise AssertionError("own")

    with pytest.raises(AssertionError, match="own") as caught:  # noqa: PT012
        if how == "async":
            asyncio.run(main())
        with shop.ft.testing():
            asyncio.run(send_failing(shop, "a", "b"))
            raise AssertionError("own")
    notes = caught.value.__notes__
    assert len(notes) == 2
    assert "task price" in notes[0]
    assert "LookupError('a')" in notes[0]


@pytest.mark.parametrize("own", [False, True])
@both
def test_shutdown_that_fails_too(shop: Shop, how: str, own: bool) -> None:
    """Errors of tasks are noted on that of the lifespan's shutdown, or all on the test's own."""
    before = snapshot(shop.broker)
    failing(shop, "shutdown")

    async def main() -> None:
        async with shop.ft.testing():
            await send_failing(shop, "a")
            assert not own, "own"

    with pytest.raises(AssertionError if own else LookupError) as caught:  # noqa: PT012
        if how == "async":
            asyncio.run(main())
        with shop.ft.testing():
            asyncio.run(send_failing(shop, "a"))
            assert not own, "own"
    notes = "".join(caught.value.__notes__)
    assert "task price" in notes
    assert ("LookupError('shutdown')" in notes or "LookupError: shutdown" in notes) is own
    assert snapshot(shop.broker) == before


@pytest.mark.parametrize("where", ["body", "task"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_errors_that_are_no_exceptions(shop: Shop, kind: type[BaseException], where: str) -> None:
    """Ctrl-C and the like leave nothing behind; of a task, they are raised in a group."""

    @shop.ft.task("raising")
    async def raising() -> None:
        raise kind

    before = snapshot(shop.broker)
    expected = kind if where == "body" else BaseExceptionGroup
    with pytest.raises(expected), shop.ft.testing() as tasks:  # noqa: PT012
        if where == "body":
            asyncio.run(shop.send_item("pen"))
            raise kind
        asyncio.run(send_one(raising))
        assert tasks.sent[0].state == "failed"
    assert snapshot(shop.broker) == before
    assert not shop.ft._lifespan.is_running


async def send_one(task: Any) -> Any:
    return await task.kiq()


async def send_words(task: Any, words: str) -> Any:
    return await task.kiq(words)


async def test_cancelled_in_a_task(shop: Shop) -> None:
    """A test that is cancelled while a task runs is cancelled, not told that the task ended."""
    started = asyncio.Event()

    @shop.ft.task("endless")
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    async def main() -> None:
        async with shop.ft.testing():
            await endless.kiq()
            pytest.fail("went on")

    before = snapshot(shop.broker)
    await cancelled_when(started, main())
    assert snapshot(shop.broker) == before
    assert shop.events == ["startup", "shutdown"]


async def test_cancelled_in_a_middleware(shop: Shop) -> None:
    """A task that is cancelled before it begins has failed, and does not run for ever."""
    started = asyncio.Event()

    class Waiting(TaskiqMiddleware):
        async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
            started.set()
            await asyncio.Event().wait()
            return message

    shop.broker.add_middlewares(Waiting())
    seen: list[str] = []

    async def main() -> None:
        async with shop.ft.testing() as tasks:
            try:
                await shop.price.kiq("pen")
            finally:
                seen.append(tasks.sent[0].state)

    await cancelled_when(started, main())
    assert seen == ["failed"]


async def cancelled_when(reached: asyncio.Event, work: Any) -> None:
    """Cancel something when it has come so far, and see that it ends as cancelled."""
    task = asyncio.create_task(work)
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert remaining() == set()


@pytest.mark.parametrize("where", ["entering", "body", "leaving"])
async def test_cancelled(shop: Shop, where: str) -> None:
    """Cancellation leaves nothing behind, wherever it comes, and the next test works."""
    before = snapshot(shop.broker)
    reached = asyncio.Event()
    original = shop.app

    async def stop(here: str) -> None:
        if here == where:
            reached.set()
            await asyncio.Event().wait()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await stop("entering")
        yield
        await stop("leaving")

    async def main() -> None:
        async with shop.ft.testing():
            await stop("body")

    shop.ft._program.adopt(FastAPI(lifespan=shop.ft.lifespan(lifespan)))
    await cancelled_when(reached, main())
    assert snapshot(shop.broker) == before
    assert not shop.ft._lifespan.is_running
    shop.ft._program.adopt(original)
    async with asyncio.timeout(PATIENCE), shop.ft.testing():
        assert await (await shop.price.kiq("pen")).result() == "pen 1 pool"


async def test_cancelled_by_a_timeout(shop: Shop) -> None:
    """A timeout of the test ends an endless task, with the timeout's own error."""

    @shop.ft.task("endless")
    async def endless() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with shop.ft.testing(), asyncio.timeout(0.02):
            await endless.kiq()


def test_app_that_cannot_be_had(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of an app that can't be imported fails, and the next one need not wait for it."""
    before = snapshot(shop.broker)
    del shop.app

    def work() -> None:
        with pytest.raises(Exception, match="app"), shop.ft.testing():
            pass

    monkeypatch.setattr(fastask.testing.context, "_LONGEST", 0.1)
    work()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(PATIENCE)
    assert snapshot(shop.broker) == before
