"""What the tests of the SQLite broker share."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskiq import BrokerMessage

from fastask.brokers import broker_from
from fastask.brokers.inbox import Taken
from fastask.brokers.sqlite import SQLiteBroker

WAIT = 10.0  # seconds, at most


def made(folder: Path, name: str = "tasks.db", **query: Any) -> SQLiteBroker:
    settings = "&".join(f"{key}={value}" for key, value in query.items())
    broker = broker_from(f"sqlite:///{folder / name}?{settings}")
    assert isinstance(broker, SQLiteBroker)
    return broker


@asynccontextmanager
async def up(*brokers: SQLiteBroker) -> AsyncGenerator[None, None]:
    for broker in brokers:
        await broker.startup()
    try:
        yield
    finally:
        async with asyncio.timeout(WAIT):
            for broker in brokers:
                await broker.shutdown()


def message(text: str | bytes, task_id: str = "id", **labels: Any) -> BrokerMessage:
    data = text.encode() if isinstance(text, str) else text
    return BrokerMessage(task_id=task_id, task_name="a:b", message=data, labels=labels)


async def taken(broker: SQLiteBroker, count: int = 1, most: int = 10) -> list[Taken]:
    """Take until there are `count`."""
    found: list[Taken] = []
    async with asyncio.timeout(WAIT):
        while len(found) < count:
            found += await broker.take(most)
    return found


def texts(found: list[Taken]) -> list[str]:
    return [each.data.decode() for each in found]
