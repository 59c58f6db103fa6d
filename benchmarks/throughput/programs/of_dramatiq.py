"""Dramatiq, with its defaults, which store no results."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import dramatiq
from counting import URL, ran
from dramatiq.brokers.redis import RedisBroker

VERSION = f"dramatiq {version('dramatiq')}"

broker: Any = RedisBroker(url=URL)
dramatiq.set_broker(broker)


@dramatiq.actor
def nothing() -> None:
    ran()


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    yield nothing.send
