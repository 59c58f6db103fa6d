"""`await sent.result()`: how long it waits, and where there is nothing to wait for."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from taskiq import InMemoryBroker, TaskiqResult
from taskiq.brokers.inmemory_broker import InmemoryResultBackend
from taskiq.result_backends.dummy import DummyResultBackend

from fastask import Enqueued, FastTask, NoResultsError, ResultTimeoutError
from tests.unit.doubles import PATIENCE, one_sentence

RESULT = TaskiqResult[Any](is_err=False, return_value=5, execution_time=0.0)


class Backend(InmemoryResultBackend[Any]):
    """Counts the looks, and stores the result at one of them."""

    def __init__(self, ready_at: int = 10**9) -> None:
        super().__init__()
        self.ready_at = ready_at
        self.looks = 0

    async def is_result_ready(self, task_id: str) -> bool:
        self.looks += 1
        if self.looks == self.ready_at:
            await self.set_result(task_id, RESULT)
        return await super().is_result_ready(task_id)


class HangingBackend(Backend):
    """A server that takes a connection and never answers."""

    async def is_result_ready(self, task_id: str) -> bool:
        await asyncio.Event().wait()
        raise AssertionError


class HalfHangingBackend(Backend):
    """One that answers the first question alone."""

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[Any]:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("timeout", [0, 0.03, -1])
async def test_timeout(timeout: float) -> None:
    """The error says what was waited for and how long; there is one look at least."""
    backend = Backend()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ResultTimeoutError) as caught:
            await Enqueued("id", backend).result(timeout=timeout)
    assert one_sentence(caught.value, "no result of task id", f"within {timeout:g} s")
    assert (caught.value.task_id, caught.value.timeout) == ("id", timeout)
    assert backend.looks >= (2 if timeout > 0 else 1)


@pytest.mark.parametrize("backend", [HangingBackend(), HalfHangingBackend(1)], ids=["look", "get"])
@pytest.mark.parametrize("timeout", [0, 0.05])
async def test_backend_that_hangs(backend: Backend, timeout: float) -> None:
    """The timeout holds for a look, too."""
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ResultTimeoutError):
            await Enqueued("id", backend).result(timeout=timeout)


async def test_result_that_is_there() -> None:
    """It is given whatever the timeout, in one look."""
    backend = Backend(1)
    assert await Enqueued("id", backend).result(timeout=0) == 5
    assert backend.looks == 1


async def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come after milliseconds at first, and then after a share of what was waited."""
    pauses: list[float] = []
    now = 100.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds

    monkeypatch.setattr("fastask.enqueued.asyncio.sleep", sleep)
    monkeypatch.setattr("fastask.enqueued.monotonic", lambda: now)
    with pytest.raises(ResultTimeoutError):
        await Enqueued("id", Backend()).result(timeout=10)
    assert pauses[0] == pytest.approx(0.004)
    assert sum(pauses) == pytest.approx(10)
    waited = 0.0
    for pause in pauses:
        assert pause <= max(0.004, 0.1 * waited)  # so late a result is seen at most
        waited += pause
    assert max(pauses) == pytest.approx(0.3)
    assert len(pauses) + 1 <= 2 * (
        1 + 10 / 0.2
    )  # twice as often as Taskiq, which looks every 0.2 s


@pytest.mark.parametrize("timeout", ["5", float("nan"), object()])
async def test_timeout_that_is_no_number(timeout: Any) -> None:
    """It is told, rather than waited for without end."""
    with pytest.raises(ValueError, match="timeout must be seconds"):
        await Enqueued("id", Backend()).result(timeout=timeout)


async def test_broker_without_a_result_backend() -> None:
    """Taskiq's own stand-in says that every result is there, and is nothing (taskiq 0.13)."""
    assert await DummyResultBackend[None]().is_result_ready("any")
    broker = InMemoryBroker().with_result_backend(DummyResultBackend[Any]())

    async def slow() -> int | None:
        return 5

    task = FastTask(FastAPI(), broker).task("slow")(slow)
    with pytest.raises(NoResultsError) as caught:
        await task.enqueued("id").result(timeout=1)
    assert one_sentence(caught.value, "no result backend", "broker.with_result_backend(...)")
