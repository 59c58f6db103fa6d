"""saq, with its defaults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from counting import URL, ran
from saq import Queue

VERSION = f"saq {version('saq')}"

queue = Queue.from_url(URL)


async def nothing(context: Any) -> None:
    ran()


settings = {"queue": queue, "functions": [nothing]}


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    await queue.connect()
    yield partial(queue.enqueue, "nothing")
    await queue.disconnect()
