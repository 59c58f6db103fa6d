"""streaq, with its defaults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from counting import URL, ran
from streaq import Worker

VERSION = f"streaq {version('streaq')}"

worker: Any = Worker(redis_url=URL)


@worker.task
async def nothing() -> None:
    ran()


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    async with worker:
        yield nothing.enqueue
