"""Brokers: what a URL, an object or nothing stands for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from taskiq import AsyncBroker, AsyncResultBackend

from fastask.brokers.memory import MemoryBroker
from fastask.brokers.url import BrokerURL, parsed, resolved
from fastask.exceptions import BrokerURLError

__all__ = ["MemoryBroker", "broker_from"]

# Where a broker and its result backend are made, and what has to be installed for it.
_MADE_IN = {
    "sqlite": ("fastask.brokers.sqlite", ""),
    "redis": ("fastask.brokers.redis", "redis"),
    "rediss": ("fastask.brokers.redis", "redis"),
    "nats": ("fastask.brokers.nats", "nats"),
    "tls": ("fastask.brokers.nats", "nats"),
    "amqp": ("fastask.brokers.rabbitmq", "rabbitmq"),
    "amqps": ("fastask.brokers.rabbitmq", "rabbitmq"),
}


def broker_from(
    broker: AsyncBroker | str | None, results: AsyncResultBackend[Any] | str | None = None
) -> AsyncBroker:
    """Give the broker that a `FastTask` was told to use, with its result backend.

    Args:
        broker: a Taskiq broker, which is used as it is; a URL; `"env:NAME"`, the URL that an
            environment variable holds; nothing, which is `"memory://"`.
        results: where results are kept, if not where the broker's URL says: a Taskiq result
            backend, or a URL in one of these forms.

    Raises:
        BrokerURLError: a URL that can't be used, or whose extra is not installed.
        TypeError: something else.
    """
    made = _made(broker)
    if results is None:
        return made
    if isinstance(results, str):
        results = _results(results)
    if not isinstance(results, AsyncResultBackend):
        raise TypeError(
            f"results must be a Taskiq result backend or a URL, not {type(results).__name__}"
        )
    return made.with_result_backend(results)


def _made(broker: AsyncBroker | str | None) -> AsyncBroker:
    if broker is None:
        return MemoryBroker()
    if isinstance(broker, AsyncBroker):
        return broker
    if not isinstance(broker, str):
        raise TypeError(f"broker must be a Taskiq broker or a URL, not {type(broker).__name__}")
    url = parsed(resolved(broker))
    if url.scheme == "memory":
        if url.address != "memory://":
            raise BrokerURLError("memory", "it names no place; write memory://")
        return MemoryBroker(results_ttl=url.settings.results_ttl)
    made: AsyncBroker = _maker(url, "broker")(url)
    return made


def _results(text: str) -> AsyncResultBackend[Any]:
    url = parsed(resolved(text), is_of_results=True)
    if url.scheme == "memory":
        raise BrokerURLError("memory", "results kept in one process can't be seen by others")
    made: AsyncResultBackend[Any] = _maker(url, "results")(url)
    return made


def _maker(url: BrokerURL, name: str) -> Callable[[BrokerURL], Any]:
    if url.scheme not in _MADE_IN:
        known = ", ".join(f"{scheme}://" for scheme in ("memory", *_MADE_IN))
        raise BrokerURLError(url.scheme, f"no broker is made from it; there are {known}")
    module, extra = _MADE_IN[url.scheme]
    try:
        made: Callable[[BrokerURL], Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("fastask"):
            raise
        reason = f"it needs {error.name}; run pip install 'taskiq-fastask[{extra}]'"
        raise BrokerURLError(url.scheme, reason) from error
    return made
