# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""User code that type checkers must reject, and what they tell of it; see `marks.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI
from taskiq import AsyncBroker, ScheduleSource

from fastask import INJECTED, Enqueued, FastTask, TaskRouter
from fastask.kicker import Kicker, Schedule
from fastask.task import AsyncTask, SyncTask

ft = FastTask("app:app")
router = TaskRouter()


class Pool: ...


class Other: ...


def get_pool() -> Pool:
    return Pool()


async def open_pool() -> Pool:
    return Pool()


def lend_pool() -> Iterator[Pool]:
    yield Pool()


async def alend_pool() -> AsyncIterator[Pool]:
    yield Pool()


PoolDep = Annotated[Pool, ft.depends(get_pool)]


@ft.task
async def store(key: str, count: int = 1, *, pool: PoolDep = INJECTED) -> str:
    return key * count


@ft.task(timeout=5)
def store_sync(key: str, count: int = 1, pool: Pool = ft.depends(get_pool)) -> str:
    return key * count


@router.task("routed")
async def routed(values: dict[str, Any], *, name: str) -> dict[str, Any]:
    return {name: values}


@router.task
async def without_default(key: str, pool: PoolDep) -> str:
    return key


@router.task(retries=3)
def routed_sync(key: str, *, pool: PoolDep = INJECTED) -> str:
    return key


class Service:
    @staticmethod
    @ft.task("service:ping")
    async def ping(host: str) -> float:
        return float(len(host))

    def ping_from(self, host: str) -> float:
        return float(len(host))


ping_from = ft.task(Service().ping_from)


# Sending.


async def lacks_an_argument(source: ScheduleSource, at: datetime) -> None:
    await store.kiq()  # error: missing "key"
    await store_sync.kiq()  # error: missing "key"
    await store.kiq(count=2)  # error: missing "key"
    await routed.kiq({})  # error: missing "name"
    await without_default.kiq("a")  # error: missing "pool"
    await routed_sync.kiq()  # error: missing "key"
    await Service.ping.kiq()  # error: missing "host"
    await ping_from.kiq()  # error: missing "host"
    await store.kicker().kiq()  # error: missing "key"
    await store.kicker().with_labels(queue="mail").kiq()  # error: missing "key"
    await store_sync.kicker().with_task_id("a").kiq(count=2)  # error: missing "key"
    await store.run()  # error: missing "key"
    await store_sync.run()  # error: missing "key"
    await store()  # error: missing "key"
    store_sync()  # error: missing "key"
    await store.schedule_by_cron(source, "* * * * *")  # error: missing "key"
    await store.schedule_by_interval(source, 60)  # error: missing "key"
    await store.schedule_by_time(source, at)  # error: missing "key"
    await store_sync.schedule_by_cron(source, "* * * * *")  # error: missing "key"
    await store.kicker().schedule_by_cron(source, "* * * * *")  # error: missing "key"
    await store.kicker().schedule_by_interval(source, 60)  # error: missing "key"
    await store.kicker().schedule_by_time(source, at)  # error: missing "key"


async def has_an_unknown_argument(source: ScheduleSource, at: datetime) -> None:
    await store.kiq("a", ky="b")  # error: unknown "ky"
    await store_sync.kiq("a", ky="b")  # error: unknown "ky"
    await routed.kiq({}, name="a", ky="b")  # error: unknown "ky"
    await routed_sync.kiq("a", ky="b")  # error: unknown "ky"
    await Service.ping.kiq("a", ky="b")  # error: unknown "ky"
    await store.kicker().with_task_id("a").kiq("a", ky="b")  # error: unknown "ky"
    await store.run("a", ky="b")  # error: unknown "ky"
    await store("a", ky="b")  # error: unknown "ky"
    await store.schedule_by_cron(source, "* * * * *", "a", ky="b")  # error: unknown "ky"
    await store.schedule_by_interval(source, 60, "a", ky="b")  # error: unknown "ky"
    await store.kicker().schedule_by_time(source, at, "a", ky="b")  # error: unknown "ky"
    await store_sync.kiq("a", 1, Pool(), 2)  # error: too-many
    await routed_sync.kicker().kiq("a", 1)  # error: too-many
    await store.kiq("a", key="a")  # error: twice "key"


async def has_an_argument_of_a_wrong_type(source: ScheduleSource, at: datetime) -> None:
    await store.kiq(1)  # error: positional "key" ^1
    await store.kiq("a", count="b")  # error: keyword "count"
    await store_sync.kiq("a", "b")  # error: positional "count" ^"b"
    await routed.kiq([], name="a")  # error: positional "values" ^[]
    await routed.kiq({}, name=None)  # error: keyword "name"
    await routed_sync.kiq(key=None)  # error: keyword "key"
    await Service.ping.kiq(1)  # error: positional "host" ^1
    await ping_from.kiq(host=1)  # error: keyword "host"
    await store.kicker().with_labels(queue="mail").kiq("a", "b")  # error: positional "count" ^"b"
    await store_sync.run(key=1)  # error: keyword "key"
    await store(1)  # error: positional "key" ^1
    store_sync(key=1)  # error: keyword "key"
    await store.schedule_by_cron(source, "* * * * *", 1)  # error: positional "key" ^1
    await store.schedule_by_interval(source, 60, key=1)  # error: keyword "key"
    await store_sync.schedule_by_time(source, at, "a", count="b")  # error: keyword "count"
    await store.kicker().schedule_by_time(source, at, 1)  # error: positional "key" ^1


async def passes_the_dependency(source: ScheduleSource) -> None:
    await store.kiq("a", 1, Pool())  # error: too-many
    await store.kicker().kiq("a", 1, Pool())  # error: too-many
    await store.schedule_by_interval(source, 60, "a", 1, Pool())  # error: too-many
    await store.run("a", 1, INJECTED)  # error: too-many
    await routed_sync.kiq("a", Pool())  # error: too-many
    await store.kiq("a", pool=Other())  # error: keyword "pool"
    await store_sync.kiq("a", 1, Other())  # error: positional "pool" ^Other()


async def is_not_awaited() -> None:
    store.kiq("a")  # error: unawaited
    store_sync.kiq("a")  # error: unawaited
    store_sync.run("a")  # error: unawaited
    # ty is silent: it asks to await the results of coroutine functions only
    store("a")  # error: unawaited
    await store_sync("a")  # error: awaited "str"
    store.kiq("a").result()  # error: attribute "result"


async def uses_the_kicker(source: ScheduleSource, broker: AsyncBroker) -> None:
    await store.kicker().with_labels(queue=["mail"]).kiq("a")  # error: keyword "queue"
    await store.kicker().with_task_id(3).kiq("a")  # error: positional "task_id" ^3
    await store.kicker(idempotency_key=5).kiq("a")  # error: keyword "idempotency_key"
    await store.kicker().with_schedule_id(None).kiq("a")  # error: positional "schedule_id" ^None
    await store.kicker().with_broker("redis://").kiq("a")  # error: positional "broker" ^"redis
    store.kicker().with_label("mail")  # error: attribute "with_label"
    store.kicker("mail")  # error: too-many


async def schedules(source: ScheduleSource, broker: AsyncBroker) -> None:
    await store.schedule_by_cron(broker, "* * * * *", "a")  # error: positional "source" ^broker
    await store.schedule_by_cron(source, 5, "a")  # error: positional "cron" ^5
    await store.schedule_by_interval(source, "60", "a")  # error: positional "interval" ^"60"
    await store.schedule_by_time(source, "tomorrow", "a")  # error: positional "time" ^"tom
    await store.schedule_by_time(source)  # error: missing "time"
    await (await store.schedule_by_interval(source, 60, "a")).kiq("a")  # error: too-many


# Results.


async def takes_results(source: ScheduleSource, at: datetime) -> None:
    sent = await store.kiq("a")
    sent_sync = await store_sync.kiq("a")
    schedule = await store_sync.schedule_by_time(source, at, "a")
    kicked = await store.kicker().with_task_id("a").kiq("a")
    _result: int = await sent.result()  # error: assigned "str" "int"
    _result_sync: int = await sent_sync.result()  # error: assigned "str" "int"
    _value: int = (await sent.wait_result()).return_value  # error: assigned "str" "int"
    _value_sync: int = (await sent_sync.wait_result()).return_value  # error: assigned "str" "int"
    _got: int = (await sent.get_result()).return_value  # error: assigned "str" "int"
    _sent: Enqueued[int] = await store.kiq("a")  # error: assigned Enqueued[str] Enqueued[int]
    _list: list[str] = await (await routed.kiq({}, name="a")).result()  # error: assigned dict[str
    _kicked: int = await kicked.result()  # error: assigned "str" "int"
    _kicked_value: int = (await kicked.wait_result()).return_value  # error: assigned "str" "int"
    _scheduled: int = await (await schedule.kiq()).result()  # error: assigned "str" "int"
    _schedule: Schedule[int] = schedule  # error: assigned Schedule[str] Schedule[int]
    _ran: int = await store.run("a")  # error: assigned "str" "int"
    _ran_sync: int = await store_sync.run("a")  # error: assigned "str" "int"
    _awaited: int = await store("a")  # error: assigned "str" "int"
    _called: int = store_sync("a")  # error: assigned "str" "int"
    await sent.result(5)  # error: too-many
    await sent.result(timeout="5")  # error: keyword "timeout"


as_sync: SyncTask[..., str] = store  # error: assigned AsyncTask[ SyncTask[
as_async: AsyncTask[..., str] = store_sync  # error: assigned AsyncTask[ SyncTask[
as_number: AsyncTask[..., int] = store  # error: assigned AsyncTask[ str] int]
as_kicker: Kicker[..., int] = store.kicker()  # error: assigned Kicker[ str] int]


# Options of a task: each with a value of a wrong type, and names of none.

ft.task(3)  # error: overload
ft.task(name=3)  # error: option "name"
ft.task(timeout="5")  # error: option "timeout"
ft.task(retries="3")  # error: option "retries"
ft.task(retries=1.5)  # error: option "retries"
ft.task(retries=3, retry_delay="1")  # error: option "retry_delay"
ft.task(retries=3, retry_backoff="2")  # error: option "retry_backoff"
ft.task(retries=3, retry_jitter="1")  # error: option "retry_jitter"
ft.task(retries=3, retry_on="OSError")  # error: option "retry_on"
ft.task(retries=3, retry_on=Pool)  # error: option "retry_on"
ft.task(cron=5)  # error: option "cron"
ft.task(interval="60")  # error: option "interval"
ft.task(interval=1.5)  # error: option "interval"
ft.task(cron="* * * * *", timezone=1)  # error: option "timezone"
ft.task(interval=60, schedule_args=3)  # error: option "schedule_args"
ft.task(ack_type="later")  # error: option "ack_type"
ft.task(dependencies=[get_pool])  # error: option "dependencies"
ft.task(dependencies=None)  # error: option "dependencies"
ft.task(labels=["mail"])  # error: option "labels"
# ty says: positional ^get_pool
ft.task(get_pool, timeout=5)  # error: option "target"
ft.task("a", 5)  # error: overload
# ty is silent: it takes any name for an unpacked `TypedDict`
ft.task(timeot=5)  # error: no-option "timeot"
# ty is silent: it takes any name for an unpacked `TypedDict`
ft.task("a", retris=3)  # error: no-option "retris"
# ty is silent: it takes any name for an unpacked `TypedDict`
ft.task(queue="mail")  # error: no-option "queue"
# ty is silent: it takes any name for an unpacked `TypedDict`
ft.task(nam="a")  # error: no-option "nam"
# ty is silent: it takes any name for an unpacked `TypedDict`
ft.task(task_name="a")  # error: no-option "task_name"

router.task(3)  # error: overload
router.task(name=3)  # error: option "name"
router.task(timeout="5")  # error: option "timeout"
router.task(retries="3")  # error: option "retries"
router.task(retries=1.5)  # error: option "retries"
router.task(retries=3, retry_delay="1")  # error: option "retry_delay"
router.task(retries=3, retry_backoff="2")  # error: option "retry_backoff"
router.task(retries=3, retry_jitter="1")  # error: option "retry_jitter"
router.task(retries=3, retry_on="OSError")  # error: option "retry_on"
router.task(retries=3, retry_on=Pool)  # error: option "retry_on"
router.task(cron=5)  # error: option "cron"
router.task(interval="60")  # error: option "interval"
router.task(interval=1.5)  # error: option "interval"
router.task(cron="* * * * *", timezone=1)  # error: option "timezone"
router.task(interval=60, schedule_args=3)  # error: option "schedule_args"
router.task(ack_type="later")  # error: option "ack_type"
router.task(dependencies=[get_pool])  # error: option "dependencies"
router.task(dependencies=None)  # error: option "dependencies"
router.task(labels=["mail"])  # error: option "labels"
# ty says: positional ^get_pool
router.task(get_pool, timeout=5)  # error: option "target"
router.task("a", 5)  # error: overload
# ty is silent: it takes any name for an unpacked `TypedDict`
router.task(timeot=5)  # error: no-option "timeot"
# ty is silent: it takes any name for an unpacked `TypedDict`
router.task("a", retris=3)  # error: no-option "retris"
# ty is silent: it takes any name for an unpacked `TypedDict`
router.task(queue="mail")  # error: no-option "queue"
# ty is silent: it takes any name for an unpacked `TypedDict`
router.task(nam="a")  # error: no-option "nam"
# ty is silent: it takes any name for an unpacked `TypedDict`
router.task(task_name="a")  # error: no-option "task_name"


# ty is silent: it takes any name for an unpacked `TypedDict`
@ft.task(timeot=5)  # error: no-option "timeot"
async def misspelled() -> None: ...


# ty is silent: it takes any name for an unpacked `TypedDict`
@router.task("misspelled", retris=5)  # error: no-option "retris"
def misspelled_sync() -> None: ...


# Dependencies.


def of_another_type(
    function: Other = ft.depends(get_pool),  # error: default "Pool" "Other"
    coroutine: Other = ft.depends(open_pool),  # error: default "Pool" "Other"
    generator: Other = ft.depends(lend_pool),  # error: default "Pool" "Other"
    async_generator: Other = ft.depends(alend_pool),  # error: default "Pool" "Other"
    of_class: Other = ft.depends(Pool),  # error: default "Pool" "Other"
    of_lambda: Other = ft.depends(lambda: int("3")),  # error: default "int" "Other"
    of_router: Other = router.depends(get_pool),  # error: default "Pool" "Other"
    # mypy is silent: it takes the parameter's type for the function's result
    wrapped: Iterator[Pool] = ft.depends(lend_pool),  # error: default "Pool" Iterator[Pool]
    # mypy says: positional list[Pool]
    one: list[Pool] = ft.depends(get_pool),  # error: default "Pool" list[Pool]
) -> None: ...


@ft.task
async def of_task(
    key: str,
    pool: Other = ft.depends(get_pool),  # error: default "Pool" "Other"
) -> None: ...


@router.task
def of_task_sync(
    key: str,
    *,
    pool: Annotated[Other, ft.depends(get_pool)] = Pool(),  # error: default "Pool" "Other"
) -> None: ...


ft.depends(3)  # error: overload
ft.depends(get_pool, cache=False)  # error: no-option "cache"
ft.depends(get_pool, use_cache="no")  # error: overload "use_cache"
ft.depends(get_pool, scope="app")  # error: overload "scope"
ft.depends(get_pool, False)  # error: overload
router.depends(get_pool, scope="app")  # error: overload "scope"


# Lifespans, and what `FastTask` is made from.


@ft.lifespan  # error: positional "user_lifespan"
async def plain(app: FastAPI) -> None: ...


@ft.lifespan  # error: positional "user_lifespan"
@contextmanager
def blocking(app: FastAPI) -> Generator[None, None, None]:
    yield


@ft.lifespan  # error: positional "user_lifespan"
async def without_app() -> AsyncGenerator[None, None]:
    yield


@ft.lifespan  # error: positional "user_lifespan"
async def with_wrong_state(app: FastAPI) -> AsyncGenerator[int, None]:
    yield 3


FastTask()  # error: missing "app"
FastTask(3)  # error: positional "app" ^3
FastTask("app:app", 3)  # error: positional "broker" ^3
FastTask("app:app", brocker="memory://")  # error: unknown "brocker"
FastTask("app:app", base_url=3)  # error: keyword "base_url"
FastTask("app:app", threads="4")  # error: keyword "threads"
FastTask("app:app", dependencies=[get_pool])  # error: items "dependencies"
TaskRouter(dependencies=[get_pool])  # error: items "dependencies"
TaskRouter([])  # error: too-many
ft.include_router(FastAPI())  # error: positional "router" ^FastAPI()
ft.include_router(router, prefix=3)  # error: keyword "prefix"
router.include_router(ft)  # error: positional "router" ^ft


# Tests.


ft.testing("x")  # error: positional "run"
ft.testing(run="x")  # error: keyword "run"
ft.testing(raise_errors="no")  # error: keyword "raise_errors"


def test_sync(moment: datetime) -> None:
    with ft.testing() as tasks:
        tasks.run(store, 3)  # error: positional ^3
        tasks.run(store, "key", cuont=3)  # error: unknown "cuont"
        tasks.run("store")  # error: positional "task"
        tasks.sent_to(3)  # error: positional "task"
        tasks.due(between=(moment,))  # error: keyword "between"
        _: int = tasks.run(store, "key")  # error: assigned "str" "int"


async def test_async() -> None:
    async with ft.testing() as tasks:
        tasks.run_all()  # error: unawaited
        tasks.run(store, "key")  # error: unawaited
        # mypy says: positional ^store
        _: int = await tasks.run(store, "key")  # error: assigned "str" "int"
