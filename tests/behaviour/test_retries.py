"""Tasks that are run again after an error."""

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from taskiq import SmartRetryMiddleware
from taskiq.receiver import Receiver

from fastask import FastTask, InvalidResultError, TaskRouter
from fastask.brokers.lifecycle import BrokerLifecycle
from fastask.retries import RetryMiddleware
from tests.behaviour.receiving import QueueBroker, ReceivingBroker
from tests.unit.doubles import PATIENCE, remaining


@pytest.fixture
def broker() -> ReceivingBroker:
    return ReceivingBroker()


@pytest.fixture
def ft(broker: ReceivingBroker) -> FastTask:
    return FastTask(FastAPI(), broker)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Notes the pauses instead of making them."""
    noted: list[float] = []

    async def pause(self: BrokerLifecycle, seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(BrokerLifecycle, "pause", pause)
    return noted


async def drained(broker: ReceivingBroker) -> int:
    """Deliver all messages, and give their number."""
    count = 0
    while broker.sent:
        await broker.deliver_without_result()
        count += 1
    return count


async def test_task_succeeds_in_the_end(
    ft: FastTask, broker: ReceivingBroker, pauses: list[float]
) -> None:
    """Runs that are retried leave no result; the last one does, under the same id."""
    runs: list[int] = []

    @ft.task("flaky", retries=3, retry_delay=2, retry_backoff=3)
    async def flaky(n: int) -> str:
        runs.append(n)
        if len(runs) < 4:
            raise ConnectionError("gone")
        return "done"

    sent = await flaky.kiq(5)
    for _ in range(3):
        await broker.deliver_without_result()
        assert not await sent.is_ready()
    await broker.deliver_without_result()
    assert await sent.result() == "done"
    assert (runs, pauses) == ([5] * 4, [2.0, 6.0, 18.0])
    assert broker.acknowledged == 4


async def test_task_fails_in_the_end(
    ft: FastTask, broker: ReceivingBroker, pauses: list[float]
) -> None:
    """After the last retry the error is the result."""

    @ft.task("hopeless", retries=2)
    async def hopeless() -> None:
        raise ConnectionError("gone")

    sent = await hopeless.kiq()
    assert await drained(broker) == 3
    with pytest.raises(ConnectionError, match="gone"):
        await sent.result()
    assert pauses == [0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "error", "runs"),
    [
        ({"retries": 2, "retry_on": OSError}, ConnectionError("a subclass"), 3),
        ({"retries": 2, "retry_on": (KeyError, OSError)}, KeyError("one of them"), 3),
        ({"retries": 2, "retry_on": OSError}, ValueError("another one"), 1),
        ({"retries": 0}, ValueError("none"), 1),
        ({}, ValueError("none"), 1),
        ({"retries": 2}, asyncio.CancelledError(), 1),
        ({"retries": 2, "timeout": 60}, TimeoutError(), 3),
    ],
)
async def test_which_errors(
    ft: FastTask, broker: ReceivingBroker, options: dict[str, Any], error: BaseException, runs: int
) -> None:
    """Only the named errors and their subclasses count; by default every `Exception`."""

    @ft.task("fails", **options)
    async def fails() -> None:
        raise error

    await fails.kiq()
    assert await drained(broker) == runs


async def test_what_another_run_would_not_change(ft: FastTask, broker: ReceivingBroker) -> None:
    """Arguments and results that don't fit are not tried again, unless that is asked for."""

    @ft.task("wrong", retries=2)
    async def wrong(n: int) -> int:
        return "no number"  # type: ignore[return-value]

    @ft.task("insists", retries=2, retry_on=InvalidResultError)
    async def insists() -> int:
        return "no number"  # type: ignore[return-value]

    await wrong.kiq(1)
    assert await drained(broker) == 1
    await insists.kiq()
    assert await drained(broker) == 3


async def test_jitter(ft: FastTask, broker: ReceivingBroker, pauses: list[float]) -> None:
    """Up to so many seconds are added, not always the same."""

    @ft.task("spread", retries=20, retry_delay=1, retry_jitter=0.5)
    async def spread() -> None:
        raise ConnectionError

    await spread.kiq()
    assert await drained(broker) == 21
    assert all(1 <= pause <= 1.5 for pause in pauses)
    assert len(set(pauses)) > 1


async def test_middleware_is_there_once_and_only_if_needed() -> None:
    """The first task with retries brings it; Taskiq's own ones are not disturbed."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    router = TaskRouter()

    @ft.task("plain")
    async def plain() -> None: ...

    assert not [each for each in broker.middlewares if isinstance(each, RetryMiddleware)]

    @router.task("one", retries=1)
    async def one() -> None: ...

    @ft.task("two", retries=1)
    async def two() -> None: ...

    ft.include_router(router)
    assert len([each for each in broker.middlewares if isinstance(each, RetryMiddleware)]) == 1


async def test_beside_taskiqs_own_retries(pauses: list[float]) -> None:
    """Labels of Taskiq's own middleware go on working for tasks without options of ours."""
    broker = ReceivingBroker()
    broker.add_middlewares(SmartRetryMiddleware(default_delay=0))
    ft = FastTask(FastAPI(), broker)

    @ft.task("ours", retries=2)
    async def ours() -> None:
        raise ConnectionError

    @ft.task("theirs", labels={"retry_on_error": True, "max_retries": 4})
    async def theirs() -> None:
        raise ConnectionError

    await ours.kiq()
    assert await drained(broker) == 3
    await theirs.kiq()
    assert await drained(broker) == 4


async def test_beside_a_retry_middleware_for_all_tasks(pauses: list[float]) -> None:
    """A task with a policy of its own is retried by that alone."""
    broker = ReceivingBroker()
    broker.add_middlewares(SmartRetryMiddleware(default_retry_label=True, default_delay=0))
    ft = FastTask(FastAPI(), broker)

    @ft.task("ours", retries=3)
    async def ours() -> None:
        raise ConnectionError

    await ours.kiq()
    assert await drained(broker) == 4


ITEMS = {"a": [[0]], "b": {"c": [{}]}}


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("tears_down", [False, True])
async def test_each_run_gets_what_was_sent(
    ft: FastTask, broker: ReceivingBroker, pauses: list[float], by_name: bool, tears_down: bool
) -> None:
    """What a run makes of its arguments is not what the next one gets."""
    seen: list[Any] = []

    async def resource() -> AsyncIterator[None]:
        yield

    @ft.task("changes", retries=3, dependencies=[Depends(resource)] if tears_down else [])
    async def changes(n: int, items: dict[str, Any], x: Any, y: Any, *, z: list[Any]) -> None:
        seen.append(copy.deepcopy([n, items, x, y, z]))
        items["a"][0].append(1)
        items["b"]["c"][0]["d"] = 1
        for each in (x, y, z):
            each.clear()
        raise ConnectionError

    sent: list[Any] = [5, copy.deepcopy(ITEMS), [[1]], {"k": 1}]
    names = ("n", "items", "x", "y")
    if by_name:
        await changes.kiq(**dict(zip(names, sent, strict=True)), z=[{"k": 1}])
    else:
        await changes.kiq(*sent, z=[{"k": 1}])
    assert await drained(broker) == 4
    assert seen == [[5, ITEMS, [[1]], {"k": 1}, [{"k": 1}]]] * 4


async def test_each_run_of_taskiqs_own_retries_gets_what_was_sent() -> None:
    """The same for a task that Taskiq's middleware runs again, by its label."""
    broker = ReceivingBroker()
    broker.add_middlewares(SmartRetryMiddleware(default_delay=0))
    ft = FastTask(FastAPI(), broker)
    seen: list[str] = []

    @ft.task("theirs", labels={"retry_on_error": True, "max_retries": 3})
    async def theirs(x: Any) -> None:
        seen.append(repr(x))
        x.append(1)
        raise ConnectionError

    await theirs.kiq([])
    assert await drained(broker) == 3
    assert seen == ["[]"] * 3


async def test_task_without_retries_gets_the_message_s_own(
    ft: FastTask, broker: ReceivingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied for it."""
    monkeypatch.setattr("fastask.definition.copied_call", None)

    @ft.task("once")
    async def once(x: Any, *, y: Any) -> list[Any]:
        return [x, y]

    assert (await broker.ran(once, [1], y={})).return_value == [[1], {}]


async def test_test_does_not_wait() -> None:
    """In a test retries happen at once, and the result is there after `kiq`."""
    ft = FastTask(FastAPI(), QueueBroker())
    runs: list[int] = []

    @ft.task("flaky", retries=3, retry_delay=3600)
    async def flaky() -> int:
        runs.append(1)
        if len(runs) < 3:
            raise ConnectionError
        return len(runs)

    async with asyncio.timeout(PATIENCE), ft.testing():
        sent = await flaky.kiq()
        assert await sent.is_ready()
        assert await sent.result() == 3


async def test_embedded_broker_retries_and_drains() -> None:
    """A retry that waits for its time is run before the shutdown is over."""
    ft = FastTask(lambda: app)
    app = FastAPI(lifespan=ft.lifespan())
    runs: list[int] = []
    failed = asyncio.Event()

    @ft.task("flaky", retries=1, retry_delay=3600)
    async def flaky() -> None:
        runs.append(1)
        if len(runs) == 1:
            failed.set()
            raise ConnectionError

    async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app):
        await flaky.kiq()
        await failed.wait()
    assert runs == [1, 1]
    assert remaining() == set()


@pytest.mark.parametrize("by_hand", [False, True])
async def test_pauses_are_made_again_in_the_next_cycle(by_hand: bool) -> None:
    """The end of one lifespan ends its pauses, and not those of the next one."""
    ft = FastTask(lambda: app)
    app = FastAPI(lifespan=ft.lifespan())
    if by_hand:
        await ft.broker.startup()
    for _ in range(2):
        async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app):
            pausing = asyncio.create_task(ft._program.lifecycle.pause(3600))
            done, _ = await asyncio.wait([pausing], timeout=0.01)
            assert not done
        await pausing
    await ft.broker.shutdown()
    assert remaining() == set()


async def test_broker_that_delays_by_itself(pauses: list[float]) -> None:
    """With a broker from a URL the worker does not wait: the next message is sent delayed."""
    ft = FastTask(FastAPI(), "redis://nowhere.invalid")
    broker: Any = ft.broker
    RetryMiddleware.install(broker)
    sent: list[Any] = []

    async def send(outgoing: Any) -> None:
        sent.append(outgoing)

    broker._send = send
    broker.result_backend = ReceivingBroker().result_backend

    @ft.task("flaky", retries=2, retry_delay=60, retry_backoff=2)
    async def flaky() -> None:
        raise ConnectionError("gone")

    await flaky.kiq()
    receiver = Receiver(broker, max_async_tasks=1)
    for _ in range(3):
        await asyncio.create_task(receiver.callback(sent[-1].data))
    assert [outgoing.delay for outgoing in sent] == [0.0, 60.0, 120.0]
    assert pauses == []
