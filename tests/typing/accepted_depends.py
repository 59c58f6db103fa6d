# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""User code that type checkers must accept: dependencies, in tasks and in routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Generic, Protocol, TypeVar, assert_type

from fastapi import APIRouter, Depends, Request
from taskiq import ScheduleSource

from fastask import INJECTED, FastTask, TaskRouter
from fastask.enqueued import Enqueued
from fastask.kicker import Schedule
from fastask.task import AsyncTask, SyncTask

T = TypeVar("T")

ft = FastTask("app:app")
task_router = TaskRouter()


class Pool:
    def fetch(self, key: str) -> str:
        return key


class Settings:
    def __init__(self, request: Request) -> None:
        self.url = str(request.url)


@dataclass
class Paging:
    limit: int = 10


class Repository(Generic[T]):
    def all(self) -> list[T]:
        return []


class Lines:
    """A class whose objects are iterators is still a class."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raise StopIteration


class Opener(Protocol):
    def __call__(self, request: Request) -> Pool: ...


# What provides a value.


def get_pool(request: Request) -> Pool:
    return Pool()


async def open_pool(request: Request) -> Pool:
    return Pool()


def lend_pool(request: Request) -> Iterator[Pool]:
    yield Pool()


def generate_pool(request: Request) -> Generator[Pool, None, None]:
    yield Pool()


async def alend_pool(request: Request) -> AsyncIterator[Pool]:
    yield Pool()


async def agenerate_pool(request: Request) -> AsyncGenerator[Pool, None]:
    yield Pool()


async def agenerate_pool_short() -> AsyncGenerator[Pool]:
    yield Pool()


async def find_pool(pool: Annotated[Pool, Depends(get_pool)]) -> Pool | None:
    return pool


def get_limits(low: int = 0) -> dict[str, Any]:
    return {"low": low}


async def get_names() -> list[str]:
    return []


def get_anything(request: Request) -> Any:
    return request.state.anything


class Getter:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def __call__(self, request: Request) -> Pool:
        return self.pool

    def method(self, request: Request) -> Pool:
        return self.pool

    async def amethod(self, request: Request) -> Pool:
        return self.pool

    def lend(self) -> Iterator[Pool]:
        yield self.pool

    async def alend(self) -> AsyncIterator[Pool]:
        yield self.pool

    @classmethod
    def made(cls, request: Request) -> Getter:
        return cls(Pool())

    @staticmethod
    def unbound(request: Request) -> Pool:
        return Pool()


class AsyncGetter:
    async def __call__(self, request: Request) -> Pool:
        return Pool()


class Lender:
    def __call__(self) -> Iterator[Pool]:
        yield Pool()


class AsyncLender:
    async def __call__(self) -> AsyncGenerator[Pool, None]:
        yield Pool()


async def get_pool_of(size: int, request: Request) -> Pool:
    return Pool()


getter = Getter(Pool())
opener: Opener = getter

assert_type(ft.depends(get_pool), Pool)
assert_type(ft.depends(open_pool), Pool)
assert_type(ft.depends(lend_pool), Pool)
assert_type(ft.depends(generate_pool), Pool)
assert_type(ft.depends(alend_pool), Pool)
assert_type(ft.depends(agenerate_pool), Pool)
assert_type(ft.depends(agenerate_pool_short), Pool)
assert_type(ft.depends(find_pool), Pool | None)
assert_type(ft.depends(get_limits), dict[str, Any])
assert_type(ft.depends(get_names), list[str])
assert_type(ft.depends(get_anything), Any)

assert_type(ft.depends(Pool), Pool)
assert_type(ft.depends(Settings), Settings)
assert_type(ft.depends(Paging), Paging)
assert_type(ft.depends(Lines), Lines)
assert_type(ft.depends(Repository[int]), Repository[int])
assert_type(ft.depends(Repository[list[str]]), Repository[list[str]])

assert_type(ft.depends(getter), Pool)
assert_type(ft.depends(opener), Pool)
assert_type(ft.depends(AsyncGetter()), Pool)
assert_type(ft.depends(Lender()), Pool)
assert_type(ft.depends(AsyncLender()), Pool)
assert_type(ft.depends(getter.method), Pool)
assert_type(ft.depends(getter.amethod), Pool)
assert_type(ft.depends(getter.lend), Pool)
assert_type(ft.depends(getter.alend), Pool)
assert_type(ft.depends(Getter.made), Getter)
assert_type(ft.depends(Getter.unbound), Pool)

assert_type(ft.depends(partial(get_pool_of, 3)), Pool)
assert_type(ft.depends(partial(get_limits, low=3)), dict[str, Any])
# ty errs: it doesn't know what a partial of a dataclass makes
assert_type(ft.depends(partial(Paging, limit=3)), Paging)
assert_type(ft.depends(lambda: int("3")), int)
assert_type(ft.depends(lambda: Pool()), Pool)  # noqa: PLW0108

assert_type(ft.depends(), Any)
assert_type(ft.depends(None), Any)
assert_type(ft.depends(use_cache=False), Any)
assert_type(ft.depends(get_pool, use_cache=False), Pool)
assert_type(ft.depends(lend_pool, scope="function"), Pool)
assert_type(ft.depends(alend_pool, use_cache=True, scope="request"), Pool)
assert_type(ft.depends(dependency=get_pool), Pool)
assert_type(ft.depends(Settings, use_cache=False, scope=None), Settings)
assert_type(FastTask.depends(get_pool), Pool)
assert_type(task_router.depends(alend_pool), Pool)


# As a default value, in tasks, in routes and in dependencies.


@ft.task
async def with_defaults(
    key: str,
    pool: Pool = ft.depends(get_pool),
    opened: Pool = ft.depends(alend_pool, scope="function"),
    settings: Settings = ft.depends(Settings),
    anywhere: Paging = ft.depends(),
    found: Pool | None = ft.depends(find_pool),
    widened: Sequence[str] = ft.depends(get_names),
    limits: Mapping[str, Any] = ft.depends(get_limits),
) -> int:
    return len(pool.fetch(key))


@ft.task
def with_keyword_default(key: str, *, pool: Pool = ft.depends(lend_pool)) -> int:
    return len(pool.fetch(key))


@ft.task(dependencies=[Depends(get_pool)])
async def with_fastapis(key: str, pool: Pool = Depends(get_pool)) -> int:
    return len(pool.fetch(key))


def nested(pool: Pool = ft.depends(get_pool), size: int = ft.depends(lambda: 3)) -> Paging:
    return Paging(size)


router = APIRouter()


@router.get("/values/{key}")
async def read_value(key: str, pool: Pool = ft.depends(get_pool)) -> str:
    return pool.fetch(key)


# Inside `Annotated`.

PoolDep = Annotated[Pool, ft.depends(get_pool)]
OpenedDep = Annotated[Pool, ft.depends(alend_pool, use_cache=False, scope="function")]
SettingsDep = Annotated[Settings, ft.depends()]
FastapisDep = Annotated[Pool, Depends(get_pool)]


@ft.task
async def with_annotated(
    key: str,
    *,
    pool: PoolDep = INJECTED,
    opened: OpenedDep = INJECTED,
    settings: SettingsDep = INJECTED,
    fastapis: FastapisDep = INJECTED,
    inline: Annotated[Paging, ft.depends(nested)] = INJECTED,
) -> int:
    assert_type(pool, Pool)
    assert_type(settings, Settings)
    assert_type(inline, Paging)
    return len(pool.fetch(key))


@ft.task(timeout=5)
def with_annotated_sync(key: str, *, pool: PoolDep = INJECTED) -> int:
    assert_type(pool, Pool)
    return len(pool.fetch(key))


@task_router.task(retries=3)
async def routed_annotated(key: str, *, pool: PoolDep = INJECTED) -> int:
    assert_type(pool, Pool)
    return len(pool.fetch(key))


@ft.task
async def with_nothing_else(*, pool: PoolDep = INJECTED) -> None: ...


@ft.task
async def without_default(pool: PoolDep, key: str = "") -> int:
    """Callable with its dependency; `kiq` needs `INJECTED`."""
    return len(pool.fetch(key))


@router.post("/values")
async def post_value(key: str, pool: PoolDep, *, settings: SettingsDep = INJECTED) -> str:
    assert_type(pool, Pool)
    return (await with_annotated.kiq(key)).task_id


async def sends() -> None:
    assert_type(await with_defaults.kiq("a"), Enqueued[int])
    assert_type(await with_defaults.kiq(key="a"), Enqueued[int])
    assert_type(await with_keyword_default.kiq("a"), Enqueued[int])
    assert_type(await with_fastapis.kiq(key="a"), Enqueued[int])
    assert_type(await with_annotated.kiq("a"), Enqueued[int])
    assert_type(await with_annotated.kiq(key="a"), Enqueued[int])
    assert_type(await with_annotated_sync.kiq("a"), Enqueued[int])
    assert_type(await with_nothing_else.kiq(), Enqueued[None])
    assert_type(await with_annotated.kicker().with_task_id("a").kiq("a"), Enqueued[int])
    assert_type(await routed_annotated.kiq("a"), Enqueued[int])
    assert_type(await routed_annotated.kicker().with_labels(queue="a").kiq("a"), Enqueued[int])
    assert_type((await (await with_defaults.kiq("a")).wait_result()).return_value, int)
    assert_type((await (await with_annotated.kiq("a")).wait_result()).return_value, int)
    assert_type((await (await with_annotated_sync.kiq("a")).wait_result()).return_value, int)
    assert_type(await with_annotated.run("a"), int)
    assert_type(await with_annotated_sync.run(key="a"), int)


async def schedules(source: ScheduleSource, at: datetime) -> None:
    assert_type(await with_defaults.schedule_by_time(source, at, "a"), Schedule[int])
    assert_type(await with_annotated.schedule_by_cron(source, "* * * * *", "a"), Schedule[int])
    assert_type(await with_annotated_sync.schedule_by_interval(source, 60, "a"), Schedule[int])
    assert_type(await with_nothing_else.schedule_by_interval(source, 60), Schedule[None])
    kicker = routed_annotated.kicker()
    assert_type(await kicker.schedule_by_time(source, at, key="a"), Schedule[int])


async def calls(pool: Pool, settings: Settings) -> None:
    """The plain functions take their dependencies from the caller."""
    assert_type(await with_defaults("a", pool), int)
    assert_type(await with_defaults("a", pool=pool, settings=settings, anywhere=Paging()), int)
    assert_type(await with_annotated("a", pool=pool, settings=settings), int)
    assert_type(with_annotated_sync("a", pool=pool), int)
    assert_type(await without_default(pool), int)
    assert_type(nested(pool, 3), Paging)


@ft.task
async def injects_alone(pool: Pool = ft.depends(get_pool), /) -> int:
    return 1


@ft.task
def injects_alone_sync(number: int, pool: Pool = INJECTED, /) -> int:
    return number


# pyrefly errs: it wants the parameters of a generic class to be the same
# ty errs: it wants the parameters of a generic class to be the same
as_function: AsyncTask[[Pool], int] = injects_alone
# pyrefly errs: it wants the parameters of a generic class to be the same
# ty errs: it wants the parameters of a generic class to be the same
as_shorter: AsyncTask[[], int] = injects_alone
# pyrefly errs: it wants the parameters of a generic class to be the same
# ty errs: it wants the parameters of a generic class to be the same
as_function_sync: SyncTask[[int], int] = injects_alone_sync
