"""Taskiq by itself: a task with no dependency."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import bare
from counting import ran

VERSION = f"taskiq {version('taskiq')}"

broker = bare.made()


@broker.task("nothing")
async def nothing() -> None:
    ran()


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    await broker.startup()
    yield nothing.kiq
    await broker.shutdown()
