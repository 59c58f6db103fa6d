# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""User code that type checkers must accept: every spelling of the decorator."""

from __future__ import annotations

from typing import assert_type

from fastapi import Depends, Request

from fastask import FastTask, TaskRouter
from fastask.declare import TaskDecorator
from fastask.task import AsyncTask, SyncTask

ft = FastTask("app:app")
router = TaskRouter()


class Pool:
    def fetch(self, key: str) -> str:
        return key


def get_pool(request: Request) -> Pool:
    return Pool()


async def require_tenant(request: Request) -> None: ...


# Every spelling of the decorator. Parameters are positional-only where the whole type of the
# task is asserted: names of parameters can't be written in a `ParamSpec`'s arguments.


@ft.task
async def bare(count: int, /) -> str:
    return str(count)


@ft.task
def bare_sync(count: int, /) -> str:
    return str(count)


@ft.task()
async def called(count: int, /) -> str:
    return str(count)


@ft.task()
def called_sync(count: int, /) -> str:
    return str(count)


@ft.task("named")
async def named(count: int, /) -> str:
    return str(count)


@ft.task("named_sync")
def named_sync(count: int, /) -> str:
    return str(count)


@ft.task(None)
async def unnamed(count: int, /) -> str:
    return str(count)


@ft.task(timeout=5)
async def with_timeout(count: int, /) -> str:
    return str(count)


@ft.task(timeout=0.5)
def with_timeout_sync(count: int, /) -> str:
    return str(count)


@ft.task(labels={"queue": "mail", "priority": 3})
async def with_labels(count: int, /) -> str:
    return str(count)


@ft.task(labels={"queue": "mail"})
def with_labels_sync(count: int, /) -> str:
    return str(count)


@ft.task(dependencies=[Depends(require_tenant)])
async def with_dependencies(count: int, /) -> str:
    return str(count)


@ft.task(dependencies=[Depends(require_tenant)])
def with_dependencies_sync(count: int, /) -> str:
    return str(count)


@ft.task("all", timeout=None, labels=None, dependencies=(Depends(get_pool),))
async def with_all(count: int, /) -> str:
    return str(count)


@ft.task("all_sync", timeout=5, labels={}, dependencies=[])
def with_all_sync(count: int, /) -> str:
    return str(count)


async def plain(count: int, /) -> str:
    return str(count)


def plain_sync(count: int, /) -> str:
    return str(count)


decorator = ft.task("handed_on", timeout=5)
handed_on = decorator(plain)
handed_on_sync = ft.task("handed_on_sync")(plain_sync)
direct = ft.task(plain)
direct_sync = ft.task(plain_sync)

assert_type(bare, AsyncTask[[int], str])
assert_type(bare_sync, SyncTask[[int], str])
assert_type(called, AsyncTask[[int], str])
assert_type(called_sync, SyncTask[[int], str])
assert_type(named, AsyncTask[[int], str])
assert_type(named_sync, SyncTask[[int], str])
assert_type(unnamed, AsyncTask[[int], str])
assert_type(with_timeout, AsyncTask[[int], str])
assert_type(with_timeout_sync, SyncTask[[int], str])
assert_type(with_labels, AsyncTask[[int], str])
assert_type(with_labels_sync, SyncTask[[int], str])
assert_type(with_dependencies, AsyncTask[[int], str])
assert_type(with_dependencies_sync, SyncTask[[int], str])
assert_type(with_all, AsyncTask[[int], str])
assert_type(with_all_sync, SyncTask[[int], str])
assert_type(decorator, TaskDecorator)
assert_type(handed_on, AsyncTask[[int], str])
assert_type(handed_on_sync, SyncTask[[int], str])
assert_type(direct, AsyncTask[[int], str])
assert_type(direct_sync, SyncTask[[int], str])


@router.task
async def routed(count: int, /) -> str:
    return str(count)


@router.task
def routed_sync(count: int, /) -> str:
    return str(count)


@router.task()
async def routed_called(count: int, /) -> str:
    return str(count)


@router.task()
def routed_called_sync(count: int, /) -> str:
    return str(count)


@router.task("routed", timeout=5, labels={"queue": "mail"}, dependencies=[Depends(get_pool)])
async def routed_all(count: int, /) -> str:
    return str(count)


@router.task("routed_sync", timeout=5, labels={}, dependencies=[Depends(get_pool)])
def routed_all_sync(count: int, /) -> str:
    return str(count)


assert_type(routed, AsyncTask[[int], str])
assert_type(routed_sync, SyncTask[[int], str])
assert_type(routed_called, AsyncTask[[int], str])
assert_type(routed_called_sync, SyncTask[[int], str])
assert_type(routed_all, AsyncTask[[int], str])
assert_type(routed_all_sync, SyncTask[[int], str])
assert_type(router.task(), TaskDecorator)

nested = TaskRouter(dependencies=[Depends(require_tenant)])
router.include_router(nested)
ft.include_router(router)
