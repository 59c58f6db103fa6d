"""Results are kept as in production, and waiting for one that nothing will bring has an end."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from taskiq import ResultIsReadyError, TaskiqMiddleware, TaskiqResult, gather
from taskiq.message import TaskiqMessage
from taskiq.serializers import JSONSerializer

from fastask import TaskNotRunError
from fastask.testing.results import RecordedResults
from tests.unit.doubles import PATIENCE
from tests.unit.shop import Shop

DAY = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Item:
    name: str
    at: datetime


def get_one() -> int:
    return 1


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.mark.parametrize("kind", ["ours", "plain"])
@pytest.mark.parametrize("mode", ["later", "never"])
@pytest.mark.parametrize("how", ["wait_result", "gather"])
async def test_waiting_for_nothing(
    shop: Shop, how: str, mode: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taskiq's own waiting is told too that nothing runs the task, and its looking is not."""
    monkeypatch.setattr("fastask.testing.results._LONGEST_WAIT", 0.03)
    plain = shop.broker.register_task(get_one, "plain")
    async with asyncio.timeout(PATIENCE), shop.ft.testing(mode):
        enqueued: Any = await (plain.kiq() if kind == "plain" else shop.price.kiq("pen"))
        for _ in range(100):
            assert not await enqueued.is_ready()
        with pytest.raises(ResultIsReadyError) as caught:  # noqa: PT012
            if how == "gather":
                await gather(enqueued, periodicity=0.01)
            else:
                await enqueued.wait_result(check_interval=0.01)
        assert isinstance(caught.value.__cause__, TaskNotRunError)


@pytest.mark.parametrize("how", ["wait_result", "result"])
async def test_waiting_for_what_runs(shop: Shop, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that runs may take its time, and what waits behind one that runs likewise."""
    monkeypatch.setattr("fastask.testing.results._LONGEST_WAIT", 0.0)
    monkeypatch.setattr("fastask.testing.results._MOST_LOOKS", 3)
    looked, started, is_enough = 0, asyncio.Event(), asyncio.Event()

    @shop.ft.task("slow")
    async def slow() -> str:
        started.set()
        await is_enough.wait()
        return "slow"

    class Looks(RecordedResults):
        async def is_result_ready(self, task_id: str) -> bool:
            nonlocal looked
            looked += 1
            if looked > 30:
                is_enough.set()
            return await super().is_result_ready(task_id)

    monkeypatch.setattr("fastask.testing.session.RecordedResults", Looks)
    async with asyncio.timeout(PATIENCE), shop.ft.testing("later") as tasks:
        sent = [await slow.kiq(), await shop.price.kiq("pen")]
        running = asyncio.create_task(tasks.run_all())
        await started.wait()
        if how == "result":
            assert await asyncio.gather(*(one.result() for one in sent)) == ["slow", "pen 1 pool"]
        else:
            waiting = (one.wait_result(check_interval=0.001) for one in sent)
            assert [one.is_err for one in await asyncio.gather(*waiting)] == [False, False]
        await running


async def test_waiting_for_what_waits_for_this(shop: Shop) -> None:
    """A task that waits for one which is to run after it is told."""

    @shop.ft.task("outer")
    async def outer() -> None:
        await (await shop.price.kiq("pen")).result()

    async with asyncio.timeout(PATIENCE), shop.ft.testing("later") as tasks:
        await outer.kiq()
        await tasks.run_all()
        [sent] = tasks.sent_to(outer)
        assert isinstance(sent.error, TaskNotRunError)


class Saving(TaskiqMiddleware):
    """Notes what was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[Any] = []

    def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.saved.append(result.return_value)


class Rounding(JSONSerializer):
    """Writes only whole numbers."""

    def dumpb(self, value: Any) -> bytes:
        if "return_value" in value:
            value = {"return_value": round(value["return_value"])}
        return super().dumpb(value)


@pytest.mark.parametrize(
    ("returned", "stored"),
    [
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (DAY, "2026-01-02T00:00:00Z"),
        (Item("pen", DAY), None),
    ],
)
@pytest.mark.parametrize("annotated", [False, True])
async def test_result_as_bytes(shop: Shop, returned: Any, stored: Any, annotated: bool) -> None:
    """Results of Taskiq's own tasks come back from JSON, in the type that is annotated."""

    async def plain() -> Any:
        return returned

    if annotated:
        plain.__annotations__["return"] = type(returned)
    task = shop.broker.register_task(plain, "plain")
    stored = stored or {"name": "pen", "at": "2026-01-02T00:00:00Z"}
    async with shop.ft.testing() as tasks:
        read = (await (await task.kiq()).wait_result(timeout=1)).return_value
        assert read == tasks.sent[0].result == (returned if annotated else stored)
        assert read is not returned


async def test_result_that_cannot_be_stored(shop: Shop) -> None:
    """What a result backend could not store fails the task, and no middleware sees it saved."""
    saving = Saving()
    shop.broker.add_middlewares(saving)

    async def plain() -> Any:
        return object()

    task = shop.broker.register_task(plain, "plain")
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with shop.ft.testing() as tasks:
            sent = await task.kiq()
            assert tasks.sent[0].state == "failed"
            async with asyncio.timeout(PATIENCE):
                assert (await sent.wait_result()).is_err
            tasks.sent[0].is_looked_at = False
    [error] = caught.value.exceptions
    assert "Unable to serialize unknown type" in str(error)
    assert "result backend could not store" in error.__notes__[0]
    assert saving.saved == []


@pytest.mark.parametrize("owner", ["broker", "result backend"])
async def test_serializer(shop: Shop, owner: str) -> None:
    """The serializer is that of the result backend, or else of the broker, in nested tests too."""

    async def plain() -> Any:
        return 1.5

    if owner == "broker":
        shop.broker.with_serializer(Rounding())
    else:
        backend: Any = shop.broker.result_backend
        backend.serializer = Rounding()
    task = shop.broker.register_task(plain, "plain")
    async with shop.ft.testing() as tasks, shop.ft.testing() as inner:
        await task.kiq()
        assert (inner.sent[0].result, tasks.sent) == (2, [])
