"""What is one task that was run again, and what are several tasks of one id."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from taskiq import (
    Context,
    SimpleRetryMiddleware,
    SmartRetryMiddleware,
    TaskiqDepends,
    TaskiqMessage,
    TaskiqResult,
)
from taskiq.abc.middleware import TaskiqMiddleware
from taskiq.kicker import AsyncKicker

from fastask import InvalidMessageError
from tests.unit.doubles import PATIENCE, RecordingSource
from tests.unit.shop import Shop

in_each_mode = pytest.mark.parametrize("run", ["inline", "later"])


@pytest.fixture
def shop() -> Shop:
    return Shop()


@in_each_mode
async def test_same_id(shop: Shop, run: Any) -> None:
    """Each sending is a task of its own, and the error of the first one is not lost."""
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.timeout(PATIENCE), shop.ft.testing(run) as tasks:
            kicker = shop.price.kicker().with_task_id("one")
            await kicker.kiq("pen", fail=True)
            await kicker.kiq("ink")
            await tasks.run_all()
            assert [sent.state for sent in tasks.sent] == ["failed", "succeeded"]
            assert [sent.attempts for sent in tasks.sent] == [1, 1]
            assert await shop.price.enqueued("one").result(timeout=1) == "ink 1 pool"
    assert repr(caught.value.exceptions) == "(LookupError('pen'),)"


async def test_same_id_that_fails_twice(shop: Shop) -> None:
    """Both errors are raised."""
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with shop.ft.testing():
            for item in ("pen", "ink"):
                await shop.price.kicker().with_task_id("one").kiq(item, fail=True)
    assert [repr(error) for error in caught.value.exceptions] == [
        "LookupError('pen')",
        "LookupError('ink')",
    ]


@in_each_mode
async def test_same_id_with_retries(shop: Shop, run: Any) -> None:
    """A retry is one of the task that has failed, though another one was sent since."""
    failing = {"pen", "ink"}

    @shop.ft.task("flaky", retries=1)
    async def flaky(item: str) -> str:
        if item in failing:
            failing.discard(item)
            raise LookupError(item)
        return item

    async with asyncio.timeout(PATIENCE), shop.ft.testing(run) as tasks:
        for item in ("pen", "ink"):
            await flaky.kicker().with_task_id("one").kiq(item)
        await tasks.run_all()
        assert [(sent.result, sent.attempts) for sent in tasks.sent] == [("pen", 2), ("ink", 2)]


async def test_task_that_sends_its_own_id(shop: Shop) -> None:
    """A task that sends itself under its id is the sender of another one."""

    @shop.ft.task("again")
    async def again(left: int) -> int:
        if left:
            await again.kicker().with_task_id("one").kiq(left - 1)
        return left

    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        await again.kicker().with_task_id("one").kiq(2)
        assert [sent.result for sent in tasks.sent] == [2, 1, 0]
        assert [sent.sender for sent in tasks.sent] == [None, *tasks.sent[:2]]


async def test_label_that_is_no_number(shop: Shop) -> None:
    """A message whose retries can't be counted is a task of its own, and refused."""
    async with shop.ft.testing() as tasks:
        kicker = shop.price.kicker().with_task_id("one")
        await kicker.kiq("pen")
        await kicker.with_labels(_retries="many").kiq("ink")
        assert tasks.sent[0].result == "pen 1 pool"
        assert isinstance(tasks.sent[1].error, InvalidMessageError)


async def test_due_with_one_id(shop: Shop) -> None:
    """A schedule that sends one id each day gives one task for each day that it is due."""
    source = RecordingSource()
    async with shop.ft.testing() as tasks:
        nightly = shop.price.kicker().with_task_id("nightly")
        await nightly.schedule_by_cron(source, "0 0 * * *", "pen")
        days = [datetime(2030, 1, day, tzinfo=UTC) for day in range(1, 5)]
        sent = await tasks.due(between=(days[0], days[3]), sources=[source])
        assert [one.due_at for one in sent] == days[:3]
        assert [one.due_at for one in await tasks.due(at=days[3], sources=[source])] == [days[3]]
        assert len(tasks.sent) == 4


async def test_due_within_due(shop: Shop) -> None:
    """What a due task finds due itself is no part of what the test was told."""

    @shop.ft.task("outer", cron="0 7 * * *")
    async def outer() -> None:
        await tasks.due(at=datetime(2030, 1, 1, 8, tzinfo=UTC))

    @shop.ft.task("inner", cron="0 8 * * *")
    async def inner() -> None: ...

    async with shop.ft.testing() as tasks:
        sent = await tasks.due(at=datetime(2030, 1, 1, 7, tzinfo=UTC))
        assert [one.name for one in sent] == ["outer"]
        assert [one.name for one in tasks.sent] == ["outer", "inner"]


class Noting(TaskiqMiddleware):
    """Notes when a run begins, fails, and is over."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self.events.append(f"begin {message.labels.get('_retries', 0)}")
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], error: Any) -> None:
        self.events.append("error")

    def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.events.append(f"saved {result.error!r}")


class OwnRetries(TaskiqMiddleware):
    """Counts in a label of its own, and says nothing of it."""

    async def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        if (tries := int(message.labels.get("tries", 1))) < 3:
            kicker: Any = AsyncKicker(message.task_name, self.broker, message.labels)
            kicker = kicker.with_task_id(message.task_id).with_labels(tries=tries + 1)
            await kicker.kiq(*message.args, **message.kwargs)


@pytest.mark.parametrize("where", ["function", "dependency"])
@pytest.mark.parametrize("kind", ["ours", "plain"])
@in_each_mode
async def test_retries_of_the_project(shop: Shop, run: Any, kind: str, where: str) -> None:
    """What a middleware sends under the id of the task that has failed is a retry, too."""
    shop.broker.add_middlewares(OwnRetries())

    def fail(at: str) -> None:
        if at == where and tasks.sent[0].attempts < 3:
            raise LookupError

    async def dependency() -> None:
        fail("dependency")

    async def function(given: None = TaskiqDepends(dependency)) -> str:
        fail("function")
        return "ok"

    async def ours(given: None = shop.ft.depends(dependency)) -> str:
        return await function()

    task: Any = shop.ft.task("flaky")(ours)
    if kind == "plain":
        task = shop.broker.register_task(function, "plain")
    async with asyncio.timeout(PATIENCE), shop.ft.testing(run) as tasks:
        await task.kiq()
        await tasks.run_all()
        [sent] = tasks.sent
        assert (sent.result, sent.attempts) == ("ok", 3)


@pytest.mark.parametrize("kind", [SimpleRetryMiddleware, SmartRetryMiddleware])
@in_each_mode
async def test_result_of_each_attempt(shop: Shop, run: Any, kind: Any) -> None:
    """A retry follows the run before, whose error is kept until then, as in a worker."""
    events: list[str] = []
    middleware = kind(default_retry_count=3, no_result_on_retry=False)
    shop.broker.add_middlewares(Noting(events), middleware)

    @shop.ft.task("flaky", labels={"retry_on_error": True})
    async def flaky() -> str:
        if tasks.sent[0].attempts == 1:
            raise LookupError
        return "ok"

    async with asyncio.timeout(PATIENCE), shop.ft.testing(run) as tasks:
        enqueued = await flaky.kiq()
        await tasks.run_all()
        assert (tasks.sent[0].result, tasks.sent[0].attempts) == ("ok", 2)
        assert await enqueued.result() == "ok"
    assert events == ["begin 0", "error", "saved LookupError()", "begin 1", "saved None"]


async def test_requeued_after_its_run(shop: Shop) -> None:
    """A task that puts itself back has ended before it is run again, inline too."""
    events: list[str] = []

    @shop.ft.task("poll")
    async def poll(context: Context = TaskiqDepends()) -> None:
        events.append("begin")
        try:
            if len(events) < 3:
                await context.requeue()
        finally:
            events.append("end")

    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        await poll.kiq()
        assert (tasks.sent[0].attempts, tasks.sent[0].state) == (2, "succeeded")
    assert events == ["begin", "end"] * 2
