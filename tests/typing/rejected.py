# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""User code that type checkers must reject, and what each of them says.

`# error: [mypy's code] words | [pyright's rule] words` belongs to the next line of code. The
words are part of the message; a line may have several errors; `-` stands for none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI
from taskiq import AsyncBroker, ScheduleSource

from fastask import INJECTED, FastTask, TaskRouter
from fastask.task import AsyncTask, Enqueued, SyncTask

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


# Sending.


async def lacks_an_argument(source: ScheduleSource, at: datetime) -> None:
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store.kiq()
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store_sync.kiq()
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store.kiq(count=2)
    # error: [call-arg] Missing named argument "name" | [reportCallIssue] for parameter "name"
    await routed.kiq({})
    # error: [call-arg] Missing positional argument "pool" | [reportCallIssue] for parameter "pool"
    await without_default.kiq("a")
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store.kicker().with_labels(queue="mail").kiq()
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store.run()
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store()
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    store_sync()
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store.schedule_by_time(source, at)
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store_sync.schedule_by_cron(source, "* * * * *")
    # error: [call-arg] Missing positional argument "key" | [reportCallIssue] for parameter "key"
    await store.kicker().schedule_by_interval(source, 60)


async def has_an_unknown_argument(source: ScheduleSource, at: datetime) -> None:
    # error: [call-arg] Unexpected keyword argument "ky" | [reportCallIssue] named "ky"
    await store.kiq("a", ky="b")
    # error: [call-arg] Unexpected keyword argument "ky" | [reportCallIssue] named "ky"
    await store_sync.kiq("a", ky="b")
    # error: [call-arg] Unexpected keyword argument "ky" | [reportCallIssue] named "ky"
    await routed.kiq({}, name="a", ky="b")
    # error: [call-arg] Unexpected keyword argument "ky" | [reportCallIssue] named "ky"
    await store.kicker().with_task_id("a").kiq("a", ky="b")
    # error: [call-arg] Unexpected keyword argument "ky" | [reportCallIssue] named "ky"
    await store.run("a", ky="b")
    # error: [call-arg] Unexpected keyword argument "ky" | [reportCallIssue] named "ky"
    await store.schedule_by_interval(source, 60, "a", ky="b")
    # error: [call-arg] Unexpected keyword argument "ky" | [reportCallIssue] named "ky"
    await store.kicker().schedule_by_time(source, at, "a", ky="b")
    # error: [call-arg] Too many arguments | [reportCallIssue] Expected 3 positional arguments
    await store_sync.kiq("a", 1, Pool(), 2)
    # error: [misc] multiple values for keyword argument "key" | [reportCallIssue] "key" is already
    await store.kiq("a", key="a")


async def has_an_argument_of_a_wrong_type(source: ScheduleSource, at: datetime) -> None:
    # error: [arg-type] Argument 1 to "kiq" | [reportArgumentType] parameter "key" of type "str"
    await store.kiq(1)
    # error: [arg-type] Argument "count" to "kiq" | [reportArgumentType] parameter "count"
    await store.kiq("a", count="b")
    # error: [arg-type] Argument 2 to "kiq" | [reportArgumentType] parameter "count" of type "int"
    await store_sync.kiq("a", "b")
    # error: [arg-type] expected "dict[str, Any]" | [reportArgumentType] type "dict[str, Any]"
    await routed.kiq([], name="a")
    # error: [arg-type] Argument 2 to "kiq" | [reportArgumentType] parameter "count" of type "int"
    await store.kicker().with_labels(queue="mail").kiq("a", "b")
    # error: [arg-type] Argument "key" to "run" | [reportArgumentType] parameter "key" of type "str"
    await store_sync.run(key=1)
    # error: [arg-type] Argument 3 | [reportArgumentType] parameter "key" of type "str"
    await store.schedule_by_cron(source, "* * * * *", 1)
    # error: [arg-type] Argument 3 | [reportArgumentType] parameter "key" of type "str"
    await store.kicker().schedule_by_time(source, at, 1)


async def passes_the_dependency() -> None:
    # error: [call-arg] Too many positional | [reportCallIssue] Expected 2 positional arguments
    await store.kiq("a", 1, Pool())
    # error: [call-arg] Too many positional | [reportCallIssue] Expected 2 positional arguments
    await store.run("a", 1, INJECTED)
    # error: [arg-type] expected "Pool" | [reportArgumentType] parameter "pool" of type "PoolDep"
    await store.kiq("a", pool=Other())
    # error: [arg-type] expected "Pool" | [reportArgumentType] parameter "pool" of type "Pool"
    await store_sync.kiq("a", 1, Other())


async def is_not_awaited() -> None:
    # error: [unused-coroutine] must be used | [reportUnusedCoroutine] use "await"
    store.kiq("a")
    # error: [unused-coroutine] must be used | [reportUnusedCoroutine] use "await"
    store_sync.run("a")
    # error: [unused-coroutine] must be used | [reportUnusedCoroutine] use "await"
    store("a")
    # error: [misc] actual type "str" | [reportGeneralTypeIssues] "str" is not awaitable
    await store_sync("a")
    # error: [attr-defined] no attribute "result" | [reportAttributeAccessIssue] attribute "result"
    # error: - | [reportUnknownMemberType] Type of "result"
    store.kiq("a").result()


async def uses_the_kicker(source: ScheduleSource, broker: AsyncBroker) -> None:
    # error: [arg-type] "queue" to "with_labels" | [reportArgumentType] parameter "queue"
    await store.kicker().with_labels(queue=["mail"]).kiq("a")
    # error: [arg-type] expected "AsyncBroker" | [reportArgumentType] parameter "broker"
    await store.kicker().with_broker("redis://").kiq("a")
    # error: [arg-type] expected "datetime" | [reportArgumentType] parameter "time"
    await store.schedule_by_time(source, "tomorrow", "a")
    # error: [arg-type] expected "ScheduleSource" | [reportArgumentType] parameter "source"
    await store.schedule_by_cron(broker, "* * * * *", "a")
    # error: [call-arg] Too many arguments for "kiq" | [reportCallIssue] Expected 0 positional
    await (await store.schedule_by_cron(source, "* * * * *", "a")).kiq("a")


# Results.


async def takes_results(source: ScheduleSource, at: datetime) -> None:
    sent = await store.kiq("a")
    schedule = await store_sync.schedule_by_time(source, at, "a")
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _result: int = await sent.result()
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _of_sync: int = await (await store_sync.kiq("a")).result()
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _value: int = (await sent.wait_result()).return_value
    # error: [assignment] type "Enqueued[str]" | [reportAssignmentType] "Enqueued[str]"
    _sent: Enqueued[int] = await store.kiq("a")
    # error: [assignment] type "dict[str, Any]" | [reportAssignmentType] "dict[str, Any]"
    _list: list[str] = await (await routed.kiq({}, name="a")).result()
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _kicked: int = await (await store.kicker().with_task_id("a").kiq("a")).result()
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _scheduled: int = await (await schedule.kiq()).result()
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _ran: int = await store.run("a")
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _awaited: int = await store("a")
    # error: [assignment] has type "str", variable has type "int" | [reportAssignmentType] "str"
    _called: int = store_sync("a")
    # error: [call-arg] Too many positional | [reportCallIssue] Expected 0 positional arguments
    await sent.result(5)
    # error: [arg-type] "timeout" to "result" | [reportArgumentType] parameter "timeout"
    await sent.result(timeout="5")


# error: [assignment] type "AsyncTask[ | [reportAssignmentType] to declared type "SyncTask[
as_sync: SyncTask[..., str] = store
# error: [assignment] type "SyncTask[ | [reportAssignmentType] to declared type "AsyncTask[
as_async: AsyncTask[..., str] = store_sync
# error: [assignment] KwArg(Any)], int]" | [reportAssignmentType] type "AsyncTask[..., int]"
as_number: AsyncTask[..., int] = store


# Options of a task.


# error: [call-overload] "timeot" | [reportCallIssue] No overloads for "task"
ft.task(timeot=5)
# error: [call-overload] "queue" | [reportCallIssue] No overloads
ft.task(queue="mail")
# error: [call-overload] "retris" [call-overload] No overload | [reportCallIssue] No overloads
router.task("many", retris=3)
# error: [call-overload] "nam" | [reportCallIssue] No overloads
ft.task(nam="named")
# error: [call-overload] type "str" | [reportArgumentType] parameter "timeout"
ft.task(timeout="5")
# error: [call-overload] type "list[str]" | [reportArgumentType] parameter "labels"
router.task(labels=["mail"])
# error: [list-item] expected "Depends" | [reportArgumentType] parameter "dependencies"
ft.task(dependencies=[get_pool])
# error: [list-item] expected "Depends" | [reportArgumentType] parameter "dependencies"
router.task(dependencies=[get_pool])
# error: [call-overload] "Callable[[], Pool]", "int" | [reportArgumentType] "() -> Pool"
ft.task(get_pool, timeout=5)


# error: [call-overload] "timeot" | [reportCallIssue] No overloads for "task"
# error: [untyped-decorator] "misspelled" | [reportUntypedFunctionDecorator] obscures type
@ft.task(timeot=5)
async def misspelled() -> None: ...


# Dependencies.


# error: [assignment] type "Pool" | [reportArgumentType] type "Pool"
def default_of_function(other: Other = ft.depends(get_pool)) -> None: ...


# error: [assignment] type "Pool" | [reportArgumentType] type "Pool"
def default_of_coroutine(other: Other = ft.depends(open_pool)) -> None: ...


# error: [assignment] type "Pool" | [reportArgumentType] type "Pool"
def default_of_generator(other: Other = ft.depends(lend_pool)) -> None: ...


# error: [assignment] type "Pool" | [reportArgumentType] type "Pool"
def default_of_async_generator(other: Other = ft.depends(alend_pool)) -> None: ...


# error: [assignment] type "Pool" | [reportArgumentType] type "Pool"
def default_of_class(other: Other = ft.depends(Pool)) -> None: ...


# error: [assignment] type "int" | [reportArgumentType] type "int"
def default_of_lambda(other: Other = ft.depends(lambda: 3)) -> None: ...


# error: [assignment] type "Pool" | [reportArgumentType] type "Pool"
def default_of_router(other: Other = router.depends(get_pool)) -> None: ...


# mypy takes the parameter's type for the function's result here.
# error: - | [reportArgumentType] type "Pool"
def default_of_wrapped(pool: Iterator[Pool] = ft.depends(lend_pool)) -> None: ...


# error: [arg-type] "Callable[[], Pool]" | [reportArgumentType] type "Pool"
def default_of_one(pool: list[Pool] = ft.depends(get_pool)) -> None: ...


@ft.task
# error: [assignment] type "Pool" | [reportArgumentType] type "Pool"
async def default_of_task(other: Other = ft.depends(get_pool)) -> None: ...


# error: [call-overload] type "int" | [reportCallIssue] No overloads [reportArgumentType] "Literal
ft.depends(3)
# error: [call-overload] "cache" [call-overload] No overload | [reportCallIssue] No overloads
ft.depends(get_pool, cache=False)
# error: [call-overload] "str" | [reportCallIssue] No overloads [reportArgumentType] "scope"
ft.depends(get_pool, scope="app")
# error: [call-overload] "bool" | [reportCallIssue] No overloads
ft.depends(get_pool, False)


# Lifespans, and what `FastTask` is made from.


# error: [arg-type] Coroutine[Any, Any, None]] | [reportArgumentType] CoroutineType[Any, Any, None]
@ft.lifespan
async def plain(app: FastAPI) -> None: ...


# error: [arg-type] GeneratorContextManager | [reportArgumentType] GeneratorContextManager
@ft.lifespan
@contextmanager
def blocking(app: FastAPI) -> Generator[None, None, None]:
    yield


# error: [arg-type] "Callable[[], AsyncGenerator[None | [reportArgumentType] "() -> AsyncGenerator
@ft.lifespan
async def without_app() -> AsyncGenerator[None, None]:
    yield


# error: [arg-type] AsyncGenerator[int, None] | [reportArgumentType] AsyncGenerator[int, None]
@ft.lifespan
async def with_wrong_state(app: FastAPI) -> AsyncGenerator[int, None]:
    yield 3


# error: [call-arg] Missing positional argument "app" | [reportCallIssue] for parameter "app"
FastTask()
# error: [arg-type] Argument 1 to "FastTask" | [reportArgumentType] parameter "app"
FastTask(3)
# error: [arg-type] Argument 2 to "FastTask" | [reportArgumentType] parameter "broker"
FastTask("app:app", 3)
# error: [call-arg] Unexpected keyword argument "brocker" | [reportCallIssue] named "brocker"
FastTask("app:app", brocker="memory://")
# error: [list-item] expected "Depends" | [reportArgumentType] parameter "dependencies"
FastTask("app:app", dependencies=[get_pool])
# error: [list-item] expected "Depends" | [reportArgumentType] parameter "dependencies"
TaskRouter(dependencies=[get_pool])
# error: [arg-type] expected "TaskRouter" | [reportArgumentType] parameter "router"
ft.include_router(FastAPI())
