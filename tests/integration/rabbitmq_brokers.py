"""What the tests of the RabbitMQ broker share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aio_pika import connect
from aio_pika.abc import AbstractChannel
from taskiq import BrokerMessage

from fastask.brokers import broker_from
from fastask.brokers.inbox import Taken
from fastask.brokers.rabbitmq import RabbitBroker

__all__ = ["WAIT", "channel", "depth", "made", "message", "nothing", "taken", "texts", "up"]

WAIT = 15.0  # seconds, at most


def made(url: str, queue: str, **query: Any) -> RabbitBroker:
    """A broker as a worker has it, not started."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    broker = broker_from(f"{url}?queue={queue}{more}")
    assert isinstance(broker, RabbitBroker)
    broker.is_worker_process = True
    return broker


@asynccontextmanager
async def up(*brokers: Any) -> AsyncGenerator[None, None]:
    for broker in brokers:
        await broker.startup()
    try:
        yield
    finally:
        for broker in brokers:
            await broker.shutdown()


def message(text: str, task_id: str = "id", **labels: Any) -> BrokerMessage:
    return BrokerMessage(task_id=task_id, task_name="a:b", message=text.encode(), labels=labels)


async def taken(broker: RabbitBroker, count: int = 1, most: int = 100) -> list[Taken]:
    """Take until `count` have come."""
    found: list[Taken] = []
    async with asyncio.timeout(WAIT):
        while len(found) < count:
            found += await broker.take(most)
    return found


async def nothing(broker: RabbitBroker) -> None:
    """Take for a second; nothing comes."""
    assert list(await broker.take(10)) == []


def texts(found: list[Taken]) -> list[str]:
    return [each.data.decode() for each in found]


@asynccontextmanager
async def channel(url: str) -> AsyncGenerator[AbstractChannel, None]:
    """A client of the test's own."""
    async with await connect(url) as connection:
        yield await connection.channel()


async def depth(url: str, queue: str) -> int:
    """How many messages wait in a queue; those that a worker holds are not among them."""
    async with channel(url) as own:
        found = await own.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0
