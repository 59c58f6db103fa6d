# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""User code that type checkers must accept: lifespans, `FastTask` itself, and testing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypedDict, assert_type

from fastapi import Depends, FastAPI
from taskiq import AsyncBroker, TaskiqScheduler

from fastask import FastTask

ft = FastTask("app:app")


class Pool: ...


def get_pool() -> Pool:
    return Pool()


@ft.task
async def count(key: str) -> int:
    return len(key)


# Lifespans.


class State(TypedDict):
    pool: Pool


@ft.lifespan
@asynccontextmanager
async def decorated(app: FastAPI) -> AsyncGenerator[None, None]:
    yield


@ft.lifespan
@asynccontextmanager
async def decorated_with_state(app: FastAPI) -> AsyncGenerator[State]:
    yield {"pool": Pool()}


@ft.lifespan
@asynccontextmanager
async def decorated_with_mapping(app: FastAPI) -> AsyncGenerator[Mapping[str, Any], None]:
    yield {"pool": Pool()}


@ft.lifespan
async def generator(app: FastAPI) -> AsyncGenerator[None, None]:
    yield


@ft.lifespan
async def generator_with_state(app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
    yield {"pool": Pool()}


@ft.lifespan
async def generator_with_typed_state(app: FastAPI) -> AsyncGenerator[State, None]:
    yield {"pool": Pool()}


@asynccontextmanager
async def user_lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Pool], None]:
    yield {"pool": Pool()}


async def user_generator(app: FastAPI) -> AsyncGenerator[dict[str, Any] | None, None]:
    yield None


def user_class(app: FastAPI) -> AbstractAsyncContextManager[None]:
    return Opened()


class Opened:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...


apps = [
    FastAPI(lifespan=decorated),
    FastAPI(lifespan=decorated_with_state),
    FastAPI(lifespan=decorated_with_mapping),
    FastAPI(lifespan=generator),
    FastAPI(lifespan=generator_with_state),
    FastAPI(lifespan=generator_with_typed_state),
    FastAPI(lifespan=ft.lifespan(user_lifespan)),
    FastAPI(lifespan=ft.lifespan(user_generator)),
    FastAPI(lifespan=ft.lifespan(user_class)),
    FastAPI(lifespan=ft.lifespan()),
    FastAPI(lifespan=ft.lifespan(None)),
]


# What `FastTask` is made from, and what it has.


def make_app() -> FastAPI:
    return FastAPI(lifespan=ft.lifespan())


of_app = FastTask(FastAPI())
of_factory = FastTask(make_app)
of_url = FastTask("app:app", "memory://", dependencies=[Depends(get_pool)])


def shows() -> None:
    assert_type(ft.broker, AsyncBroker)
    assert_type(ft.app, FastAPI)
    assert_type(ft.scheduler, TaskiqScheduler)


def tests() -> None:
    with ft.testing():
        pass
    with ft.testing() as testing:
        assert testing is not None


async def atests() -> None:
    async with ft.testing():
        sent = await count.kiq("a")
        assert_type(await sent.result(), int)
    async with ft.testing() as testing:
        assert testing is not None
