# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""User code that type checkers must accept: sending, scheduling and running tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, assert_type

from fastapi import Depends, Request
from pydantic import BaseModel
from taskiq import (
    AsyncBroker,
    AsyncTaskiqDecoratedTask,
    InMemoryBroker,
    ScheduleSource,
    TaskiqResult,
)
from taskiq.kicker import AsyncKicker
from taskiq.scheduler.created_schedule import CreatedSchedule
from taskiq.scheduler.scheduled_task import CronSpec
from taskiq.task import AsyncTaskiqTask

from fastask import INJECTED, FastTask, Task, TaskRouter
from fastask.enqueued import Enqueued
from fastask.kicker import Kicker, Schedule
from fastask.retries import RetryPolicy
from fastask.task import AsyncTask, SyncTask

ft = FastTask("app:app")
router = TaskRouter()


class Pool:
    def fetch(self, key: str) -> str:
        return key


def get_pool(request: Request) -> Pool:
    return Pool()


class Item(BaseModel):
    key: str
    count: int = 1


@dataclass
class Mail:
    to: str


class Row(TypedDict):
    key: str


@ft.task
async def bare(count: int, /) -> str:
    return str(count)


@ft.task
def bare_sync(count: int, /) -> str:
    return str(count)


@ft.task("all", timeout=None, labels=None, dependencies=(Depends(get_pool),))
async def with_all(count: int, /) -> str:
    return str(count)


@ft.task("all_sync", timeout=5, labels={}, dependencies=[])
def with_all_sync(count: int, /) -> str:
    return str(count)


@router.task
async def routed(count: int, /) -> str:
    return str(count)


@router.task("routed", timeout=5, labels={"queue": "mail"}, dependencies=[Depends(get_pool)])
async def routed_all(count: int, /) -> str:
    return str(count)


@router.task("routed_sync", timeout=5, labels={}, dependencies=[Depends(get_pool)])
def routed_all_sync(count: int, /) -> str:
    return str(count)


ft.include_router(router)

# Parameters and results of many types.


@ft.task
async def nothing() -> None: ...


@ft.task
def nothing_sync() -> None: ...


@ft.task
async def any_values(values: dict[str, Any], /) -> dict[str, Any]:
    return values


@ft.task
def any_values_sync(values: dict[str, Any], /) -> dict[str, Any]:
    return values


@ft.task
async def any_value(value: Any, /) -> Any:
    return value


@ft.task
async def any_parameters(values: dict[str, Any], more: list[Any], /, *rest: Any) -> int:
    return len(values) + len(more) + len(rest)


@ft.task
async def models(item: Item, mail: Mail, row: Row, /) -> list[Item]:
    return [item]


@ft.task
def models_sync(item: Item, mail: Mail, row: Row, /) -> tuple[Mail, Row]:
    return mail, row


@ft.task
async def maybe(key: str | None, /) -> Item | None:
    return Item(key=key) if key else None


@ft.task
def many(keys: Sequence[str], sizes: Mapping[str, int], /) -> set[int]:
    return {sizes[key] for key in keys}


@ft.task
async def makes_function(count: int, /) -> Callable[[int], int]:
    return lambda number: number + count


assert_type(nothing, AsyncTask[[], None])
assert_type(nothing_sync, SyncTask[[], None])
assert_type(any_values, AsyncTask[[dict[str, Any]], dict[str, Any]])
assert_type(any_values_sync, SyncTask[[dict[str, Any]], dict[str, Any]])
assert_type(any_value, AsyncTask[[Any], Any])
assert_type(models, AsyncTask[[Item, Mail, Row], list[Item]])
assert_type(models_sync, SyncTask[[Item, Mail, Row], tuple[Mail, Row]])
assert_type(maybe, AsyncTask[[str | None], Item | None])
assert_type(many, SyncTask[[Sequence[str], Mapping[str, int]], set[int]])
assert_type(makes_function, AsyncTask[[int], Callable[[int], int]])


# Tasks as they are written most often.


@ft.task
async def store(key: str, value: str = "", *, pool: Pool = ft.depends(get_pool)) -> int:
    return len(pool.fetch(key)) + len(value)


@ft.task
def store_sync(key: str, value: str = "", pool: Pool = INJECTED) -> int:
    return len(pool.fetch(key)) + len(value)


@router.task(timeout=5)
async def store_all(*keys: str, suffix: str = "", **sizes: int) -> int:
    return len(keys) + len(suffix) + len(sizes)


class Service:
    """A class may keep tasks, and its methods may be tasks."""

    @staticmethod
    @ft.task("service:ping")
    async def ping(host: str, /) -> float:
        return float(len(host))

    async def fetch(self, key: str, /) -> Item:
        return Item(key=key)

    def fetch_sync(self, key: str, /) -> Item:
        return Item(key=key)

    @classmethod
    async def fetch_all(cls, *keys: str) -> list[Item]:
        return [Item(key=key) for key in keys]


fetch = ft.task(Service().fetch)
fetch_sync = router.task("fetch_sync", timeout=5)(Service().fetch_sync)
fetch_all = ft.task("fetch_all")(Service.fetch_all)

assert_type(Service.ping, AsyncTask[[str], float])
assert_type(Service().ping, AsyncTask[[str], float])
assert_type(fetch, AsyncTask[[str], Item])
assert_type(fetch_sync, SyncTask[[str], Item])


async def sends() -> None:
    assert_type(await store.kiq("a"), Enqueued[int])
    assert_type(await store.kiq("a", "b"), Enqueued[int])
    assert_type(await store.kiq("a", value="b"), Enqueued[int])
    assert_type(await store.kiq(key="a", value="b"), Enqueued[int])
    assert_type(await store.kiq(value="b", key="a"), Enqueued[int])
    assert_type(await store_sync.kiq("a"), Enqueued[int])
    assert_type(await store_sync.kiq(key="a", value="b"), Enqueued[int])
    assert_type(await store_all.kiq(), Enqueued[int])
    assert_type(await store_all.kiq("a", "b", suffix="c", d=1), Enqueued[int])
    assert_type(await nothing.kiq(), Enqueued[None])
    assert_type(await any_values.kiq({"a": 1}), Enqueued[dict[str, Any]])
    assert_type(await any_values_sync.kiq({"a": 1}), Enqueued[dict[str, Any]])
    assert_type(await any_parameters.kiq({}, [], 1, "a"), Enqueued[int])
    assert_type(await models.kiq(Item(key="a"), Mail("b"), {"key": "c"}), Enqueued[list[Item]])
    assert_type(await maybe.kiq(None), Enqueued[Item | None])
    assert_type(await Service.ping.kiq("a"), Enqueued[float])
    assert_type(await fetch.kiq("a"), Enqueued[Item])
    assert_type(await fetch_sync.kiq("a"), Enqueued[Item])
    assert_type(await fetch_all.kiq("a", "b"), Enqueued[list[Item]])
    sending: Coroutine[Any, Any, Enqueued[int]] = store.kiq("a")
    await sending


async def waits() -> None:
    sent = await store.kiq("a")
    assert_type(sent, Enqueued[int])
    assert_type(sent.task_id, str)
    assert_type(await sent.is_ready(), bool)
    assert_type(await sent.result(), int)
    assert_type(await sent.result(timeout=5), int)
    assert_type(await sent.result(timeout=None), int)
    assert_type(await sent.wait_result(), TaskiqResult[int])
    assert_type(await sent.get_result(), TaskiqResult[int])
    assert_type((await sent.wait_result(timeout=5)).return_value, int)
    assert_type((await sent.get_result()).return_value, int)

    assert_type(await (await bare.kiq(1)).result(), str)
    assert_type(await (await bare_sync.kiq(1)).result(), str)
    assert_type(await (await routed_all.kiq(1)).result(), str)
    assert_type(await (await routed_all_sync.kiq(1)).result(), str)
    assert_type((await (await bare.kiq(1)).wait_result()).return_value, str)
    assert_type((await (await bare_sync.kiq(1)).wait_result()).return_value, str)
    assert_type((await (await routed_all.kiq(1)).wait_result()).return_value, str)
    assert_type((await (await any_values.kiq({})).wait_result()).return_value, dict[str, Any])
    assert_type((await (await routed_all_sync.kiq(1)).wait_result()).return_value, str)
    assert_type((await (await store_sync.kiq("a")).wait_result()).return_value, int)
    assert_type((await (await nothing_sync.kiq()).wait_result()).return_value, None)
    assert_type((await (await maybe.kiq("a")).wait_result()).return_value, Item | None)
    assert_type((await (await many.kiq([], {})).wait_result()).return_value, set[int])
    assert_type((await (await fetch_sync.kiq("a")).wait_result()).return_value, Item)
    assert_type(await (await any_values.kiq({})).result(), dict[str, Any])
    assert_type(
        await (await models.kiq(Item(key="a"), Mail("b"), {"key": ""})).result(), list[Item]
    )
    assert_type(await (await maybe.kiq("a")).result(), Item | None)


async def runs(pool: Pool) -> None:
    assert_type(await bare.run(1), str)
    assert_type(await bare_sync.run(1), str)
    assert_type(await routed_all.run(1), str)
    assert_type(await routed_all_sync.run(1), str)
    assert_type(await store.run("a"), int)
    assert_type(await store.run(key="a", value="b"), int)
    assert_type(await store_sync.run("a"), int)
    assert_type(await nothing.run(), None)
    assert_type(await any_values.run({"a": 1}), dict[str, Any])
    assert_type(await maybe.run("a"), Item | None)

    running: Coroutine[Any, Any, str] = bare(1)
    await running
    assert_type(await bare(1), str)
    assert_type(bare_sync(1), str)
    assert_type(await with_all(1), str)
    assert_type(with_all_sync(1), str)
    assert_type(await routed_all(1), str)
    assert_type(routed_all_sync(1), str)
    assert_type(await store("a", "b", pool=pool), int)
    assert_type(store_sync("a", "b", pool), int)
    assert_type(await any_values({"a": 1}), dict[str, Any])
    assert_type(any_values_sync({"a": 1}), dict[str, Any])
    assert_type(await Service.ping("a"), float)


async def kicks(broker: AsyncBroker) -> None:
    kicker = bare.kicker()
    assert_type(kicker, Kicker[[int], str])
    assert_type(bare_sync.kicker(), Kicker[[int], str])
    assert_type(routed_all.kicker(), Kicker[[int], str])
    assert_type(any_values.kicker(), Kicker[[dict[str, Any]], dict[str, Any]])
    assert_type(kicker.with_labels(queue="mail", priority=1), Kicker[[int], str])
    assert_type(kicker.with_task_id("a"), Kicker[[int], str])
    assert_type(kicker.with_task_id(None), Kicker[[int], str])
    assert_type(kicker.with_schedule_id("a"), Kicker[[int], str])
    assert_type(kicker.with_broker(broker), Kicker[[int], str])

    sent = (
        await store.kicker()
        .with_labels(queue="mail")
        .with_task_id("a")
        .with_schedule_id("b")
        .with_broker(broker)
        .kiq("a", value="b")
    )
    assert_type(sent, Enqueued[int])
    assert_type(await sent.result(), int)
    assert_type(await kicker.kiq(1), Enqueued[str])
    assert_type(await kicker.with_labels().kiq(1), Enqueued[str])
    assert_type(await store.kicker().kiq(key="a"), Enqueued[int])
    assert_type(await store.kicker(idempotency_key="order-5").kiq(key="a"), Enqueued[int])
    assert_type(await store_sync.kicker().with_task_id("a").kiq("a"), Enqueued[int])
    assert_type((await (await kicker.kiq(1)).wait_result()).return_value, str)
    assert_type((await (await bare_sync.kicker().kiq(1)).wait_result()).return_value, str)


async def schedules(source: ScheduleSource, at: datetime, broker: AsyncBroker) -> None:
    assert_type(await bare.schedule_by_cron(source, "* * * * *", 1), Schedule[str])
    assert_type(await bare.schedule_by_cron(source, CronSpec(minutes=5), 1), Schedule[str])
    assert_type(await bare.schedule_by_interval(source, 60, 1), Schedule[str])
    assert_type(await bare.schedule_by_interval(source, timedelta(hours=1), 1), Schedule[str])
    assert_type(await bare.schedule_by_time(source, at, 1), Schedule[str])
    assert_type(await bare_sync.schedule_by_cron(source, "* * * * *", 1), Schedule[str])
    assert_type(await bare_sync.schedule_by_interval(source, 60, 1), Schedule[str])
    assert_type(await bare_sync.schedule_by_time(source, at, 1), Schedule[str])
    assert_type(await routed.schedule_by_time(source, at, 1), Schedule[str])
    assert_type(await store.schedule_by_cron(source, "* * * * *", key="a"), Schedule[int])
    assert_type(await store.schedule_by_interval(source, 60, "a", value="b"), Schedule[int])
    assert_type(await store_sync.schedule_by_time(source, at, key="a"), Schedule[int])
    assert_type(await any_values.schedule_by_time(source, at, {}), Schedule[dict[str, Any]])

    kicker = store.kicker().with_schedule_id("a").with_broker(broker)
    assert_type(await kicker.schedule_by_cron(source, "* * * * *", "a"), Schedule[int])
    assert_type(await kicker.schedule_by_cron(source, CronSpec(), "a"), Schedule[int])
    assert_type(await kicker.schedule_by_interval(source, timedelta(days=1), "a"), Schedule[int])
    assert_type(await kicker.schedule_by_time(source, at, key="a", value="b"), Schedule[int])

    schedule = await store.schedule_by_time(source, at, "a")
    assert_type(schedule.schedule_id, str)
    assert_type(await schedule.kiq(), Enqueued[int])
    assert_type(await (await schedule.kiq()).result(), int)
    assert_type((await (await schedule.kiq()).wait_result()).return_value, int)
    assert_type(await (await (await bare_sync.schedule_by_time(source, at, 1)).kiq()).result(), str)
    await schedule.unschedule()


# Taskiq's own types, and types that a user's code asks for.

bound_broker: AsyncBroker = bare.broker
task_name: str = bare.task_name
is_bound: bool = bare.is_bound
as_taskiqs: AsyncTaskiqDecoratedTask[[int], Any] = bare
as_taskiqs_sync: AsyncTaskiqDecoratedTask[[int], Any] = bare_sync
as_task: Task[[int], str] = bare
as_any_task: Task[..., int] = store
all_tasks: list[Task[..., Any]] = [bare, bare_sync, store, store_all, nothing, models]
as_function: Callable[[int], Coroutine[Any, Any, str]] = bare
as_function_sync: Callable[[int], str] = bare_sync
by_url = FastTask("app:app", "sqlite:///tasks.db", results="sqlite:///results.db")
reminder = FastTask("app:app", InMemoryBroker(), base_url="https://example.org", threads=4)


def shows(task: Task[[int], str]) -> None:
    assert_type(task.task_name, str)
    assert_type(task.broker, AsyncBroker)
    assert_type(task.labels, dict[str, Any])
    assert_type(task.retry, RetryPolicy | None)
    assert_type(task.func, Callable[..., Any])
    assert_type(task.is_bound, bool)
    assert_type(task.compile(), None)
    assert_type(task.kicker(), Kicker[[int], str])


async def takes_any_task(task: Task[..., int], kicker: AsyncKicker[..., Any]) -> int:
    sent: AsyncTaskiqTask[int] = await task.kiq("a")
    assert_type(await (await task.kiq("a")).result(), int)
    assert_type(await task.run("a"), int)
    return await task.run(await sent.get_result())


async def takes_taskiqs(source: ScheduleSource, at: datetime) -> None:
    schedule: CreatedSchedule[Any] = await bare.schedule_by_time(source, at, 1)
    await schedule.unschedule()
    await takes_any_task(store, store.kicker())
    await takes_any_task(store_sync, store_sync.kicker())
