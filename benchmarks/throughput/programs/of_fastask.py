"""fastask on a URL: a task with one dependency on `Request`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from counting import PREFETCH, QUEUE, URL, ran
from fastapi import FastAPI, Request

from fastask import FastTask

VERSION = f"fastask {version('taskiq-fastask')}"

ft = FastTask(FastAPI(), f"{URL}?queue={QUEUE}&prefetch={PREFETCH}")
broker = ft.broker


async def state(request: Request) -> Any:
    return request.app.state


@ft.task("nothing")
async def nothing(found: Any = ft.depends(state)) -> None:
    ran()


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    await broker.startup()
    yield nothing.kiq
    await broker.shutdown()
