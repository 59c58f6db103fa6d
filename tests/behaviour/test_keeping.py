"""Results that can't be saved: tried again, then redelivered, never acknowledged and lost."""

import asyncio
import logging
from typing import Any

import pytest
from fastapi import FastAPI
from taskiq import TaskiqResult

from fastask import FastTask
from fastask.brokers import keeping
from fastask.brokers.keeping import ResultKeeper
from fastask.brokers.lifecycle import BrokerLifecycle
from tests.behaviour.receiving import ReceivingBroker

pytestmark = pytest.mark.usefixtures("kept")


@pytest.fixture
def broker() -> ReceivingBroker:
    return ReceivingBroker()


@pytest.fixture
def saves(broker: ReceivingBroker, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The errors that saving raises, one after the other, before it works."""
    errors: list[Exception] = []
    save = broker.result_backend.set_result

    async def set_result(task_id: str, result: TaskiqResult[Any]) -> None:
        if errors:
            raise errors.pop(0)
        await save(task_id, result)

    monkeypatch.setattr(broker.result_backend, "set_result", set_result)
    return errors


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    noted: list[float] = []
    now = 0.0

    async def pause(self: BrokerLifecycle, seconds: float) -> None:
        nonlocal now
        noted.append(seconds)
        now += seconds

    monkeypatch.setattr(BrokerLifecycle, "pause", pause)
    monkeypatch.setattr(keeping, "monotonic", lambda: now)
    return noted


@pytest.fixture
def kept(broker: ReceivingBroker, saves: list[Exception], pauses: list[float]) -> ResultKeeper:
    keeper = ResultKeeper(broker, BrokerLifecycle.of(broker))
    keeper.install()
    return keeper


@pytest.fixture
def ft(broker: ReceivingBroker) -> FastTask:
    return FastTask(FastAPI(), broker)


def away(times: int) -> list[Exception]:
    return [ConnectionError("redis://me:hunter2@here is away") for _ in range(times)]


async def test_saved_in_the_end(
    ft: FastTask,
    broker: ReceivingBroker,
    saves: list[Exception],
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that is away for a while gets the result when it is back; the task ran once."""
    runs: list[int] = []

    @ft.task("add")
    async def add(a: int) -> int:
        runs.append(a)
        return a

    saves.extend(away(4))
    sent = await add.kiq(5)
    await broker.deliver_without_result()
    assert await sent.result() == 5
    assert runs == [5]
    assert pauses == [0.1, 0.2, 0.4, 0.8]
    assert broker.acknowledged == 1
    assert caplog.text.count("is not saved yet") == 1
    assert "hunter2" not in caplog.text


async def test_redelivered_at_last(
    ft: FastTask,
    broker: ReceivingBroker,
    saves: list[Exception],
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After some 30 s the message is left unacknowledged, so that the task runs again."""

    @ft.task("add")
    async def add(a: int) -> int:
        return a

    saves.extend(away(1000))
    await add.kiq(5)
    with pytest.raises(asyncio.CancelledError):
        await broker.deliver_without_result()
    assert broker.acknowledged == 0
    assert 30 <= sum(pauses) < 33
    assert max(pauses) == 2.0
    assert "so the task will run again" in caplog.text


async def test_acknowledged_before(
    ft: FastTask, broker: ReceivingBroker, saves: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """What is acknowledged when it is received can't be redelivered; Taskiq tells of it."""

    @ft.task("add", ack_type="when_received")
    async def add(a: int) -> int:
        return a

    saves.extend(away(1000))
    await add.kiq(5)
    await broker.deliver_without_result()
    assert broker.acknowledged == 1
    assert "Can't set result in result backend" in caplog.text
    assert "will run again" not in caplog.text


@pytest.mark.parametrize("error", [TypeError("no JSON"), ValueError("too deep")])
async def test_value_that_is_no_good(
    ft: FastTask,
    broker: ReceivingBroker,
    saves: list[Exception],
    pauses: list[float],
    error: Exception,
) -> None:
    """What another attempt would not change is not tried again, nor delivered again."""

    @ft.task("add")
    async def add(a: int) -> int:
        return a

    saves.append(error)
    await add.kiq(5)
    await broker.deliver_without_result()
    assert pauses == []
    assert broker.acknowledged == 1


async def test_worker_that_stops(
    ft: FastTask, broker: ReceivingBroker, saves: list[Exception], pauses: list[float]
) -> None:
    """A worker that was told to stop does not wait for the server."""

    @ft.task("add")
    async def add(a: int) -> int:
        return a

    saves.extend(away(1000))
    lifecycle = BrokerLifecycle.of(broker)
    lifecycle.stopping = asyncio.Event()
    lifecycle.stopping.set()
    await add.kiq(5)
    with pytest.raises(asyncio.CancelledError):
        await broker.deliver_without_result()
    assert pauses == []
    assert broker.acknowledged == 0


async def test_removed(broker: ReceivingBroker, saves: list[Exception], kept: ResultKeeper) -> None:
    """Removed, it leaves the result backend as it was."""
    kept.remove()
    saves.extend(away(1))
    with pytest.raises(ConnectionError):
        await broker.result_backend.set_result(
            "id", TaskiqResult(is_err=False, return_value=1, execution_time=0)
        )
    kept.remove()
    logging.getLogger("fastask").debug("nothing to remove is no error")
