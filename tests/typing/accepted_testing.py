"""User code with `ft.testing()`, accepted by type checkers as it is, and typed in full."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, assert_type

from fastapi import FastAPI
from taskiq import InMemoryBroker

from fastask import INJECTED, FastTask, TaskRouter
from fastask.testing import AsyncTasks, SentTask, Tasks, Testing

broker = InMemoryBroker()
ft = FastTask(FastAPI(), broker)
router = TaskRouter()
testing = ft.testing()


class Pool: ...


def get_pool() -> Pool:
    return Pool()


async def open_pool() -> Pool:
    return Pool()


PoolDep = Annotated[Pool, ft.depends(get_pool)]


@ft.task
async def store(key: str, count: int = 1, *, pool: PoolDep = INJECTED) -> list[str]:
    return [key] * count


@ft.task("store_sync", retries=3)
def store_sync(key: str, pool: Pool = ft.depends(get_pool)) -> int:
    return len(key)


@router.task
async def routed(*, name: str) -> dict[str, int]:
    return {name: 1}


@broker.task
async def plain(n: int) -> int:
    return n


def ways_to_make_it() -> None:
    assert_type(testing, Testing)
    assert_type(ft.testing("later"), Testing)
    ft.testing(run="inline")
    ft.testing(run="never", raise_errors=False, lifespan=False)


def a_plain_function(moment: datetime) -> None:
    with ft.testing() as tasks:
        assert_type(tasks, Tasks)
        assert_type(tasks.run(store, "key"), list[str])
        assert_type(tasks.run(store, "key", count=2), list[str])
        assert_type(tasks.run(store_sync, "key"), int)
        assert_type(tasks.run(routed, name="key"), dict[str, int])
        assert_type(tasks.run_all(), list[SentTask])
        assert_type(tasks.run_all(limit=5), list[SentTask])
        assert_type(tasks.due(at=moment), list[SentTask])
        assert_type(tasks.due(between=(moment, moment)), list[SentTask])
        what_was_sent(tasks)


async def a_coroutine_function(moment: datetime) -> None:
    async with ft.testing() as tasks:
        assert_type(tasks, AsyncTasks)
        assert_type(await tasks.run(store, "key"), list[str])
        assert_type(await tasks.run(store_sync, key="key"), int)
        assert_type(await tasks.run(routed, name="key"), dict[str, int])
        assert_type(await tasks.run_all(), list[SentTask])
        assert_type(await tasks.run_all(limit=5), list[SentTask])
        assert_type(await tasks.due(at=moment), list[SentTask])
        assert_type(await tasks.due(between=(moment, moment)), list[SentTask])
        what_was_sent(tasks)


def what_was_sent(tasks: Tasks | AsyncTasks) -> None:
    assert_type(tasks.sent, list[SentTask])
    assert_type(tasks.sent_to(store), list[SentTask])
    assert_type(tasks.sent_to(store_sync), list[SentTask])
    assert_type(tasks.sent_to(routed), list[SentTask])
    assert_type(tasks.sent_to(plain), list[SentTask])
    assert_type(tasks.sent_to("store_sync"), list[SentTask])
    tasks.override(get_pool, Pool)
    tasks.override(get_pool, open_pool)
    print(str(tasks))
    for sent in tasks.sent:
        of_one(sent)


def of_one(sent: SentTask) -> None:
    assert_type(sent.name, str)
    assert_type(sent.id, str)
    assert_type(sent.args, tuple[Any, ...])
    assert_type(sent.kwargs, dict[str, Any])
    assert_type(sent.labels, dict[str, Any])
    assert_type(sent.attempts, int)
    assert_type(sent.duration, float | None)
    assert_type(sent.error, BaseException | None)
    assert_type(sent.sent, list[SentTask])
    assert_type(sent.sender, SentTask | None)
    assert_type(sent.due_at, datetime | None)
    is_waiting: bool = sent.state == "waiting"
    result: list[str] = sent.result
    print(is_waiting, result, sent.task)
