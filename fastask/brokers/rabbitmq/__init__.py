"""`amqp://`: RabbitMQ, by way of taskiq-aio-pika."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from taskiq import AsyncResultBackend

from fastask.brokers.rabbitmq.broker import RabbitBroker
from fastask.brokers.url import BrokerURL
from fastask.exceptions import BrokerURLError

__all__ = ["RabbitBroker", "broker", "results"]


def broker(url: BrokerURL) -> RabbitBroker:
    """Make the broker of a URL. Its results are not kept, unless it is given a backend.

    Raises:
        BrokerURLError: the URL names no server.
    """
    if not urlsplit(url.address).hostname:
        example = f"{url.scheme}://user:password@host/"
        raise BrokerURLError(url.scheme, f"it names no server; write it as {example}")
    return RabbitBroker(url)


def results(url: BrokerURL) -> AsyncResultBackend[Any]:
    """Refuse to make a result backend.

    Raises:
        BrokerURLError: always, as RabbitMQ keeps no results.
    """
    raise BrokerURLError(
        url.scheme,
        "RabbitMQ keeps no results; name another place for them, such as "
        "results='redis://localhost'",
    )
