"""arq, with its defaults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from counting import URL, ran

VERSION = f"arq {version('arq')}"


async def nothing(context: dict[Any, Any]) -> None:
    ran()


class WorkerSettings:
    functions = (nothing,)
    redis_settings = RedisSettings.from_dsn(URL)


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    pool = await create_pool(WorkerSettings.redis_settings)
    yield partial(pool.enqueue_job, "nothing")
    await pool.aclose()
