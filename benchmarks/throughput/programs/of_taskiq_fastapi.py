"""taskiq-fastapi: a task with one dependency on `Request`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import bare
import taskiq_fastapi
from counting import ran
from fastapi import FastAPI, Request
from taskiq import TaskiqDepends

VERSION = f"taskiq-fastapi {version('taskiq-fastapi')}"

app = FastAPI()
broker = bare.made()
taskiq_fastapi.init(broker, "of_taskiq_fastapi:app")


async def state(request: Request = TaskiqDepends()) -> Any:
    return request.app.state


@broker.task("nothing")
async def nothing(found: Any = TaskiqDepends(state)) -> None:
    ran()


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    await broker.startup()
    yield nothing.kiq
    await broker.shutdown()
