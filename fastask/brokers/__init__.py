"""Brokers: what a URL, an object or nothing stands for."""

from __future__ import annotations

from taskiq import AsyncBroker

from fastask.brokers.memory import MemoryBroker
from fastask.exceptions import BrokerURLError

__all__ = ["MemoryBroker", "broker_from"]


def broker_from(broker: AsyncBroker | str | None) -> AsyncBroker:
    """Give the broker that a `FastTask` was told to use.

    Args:
        broker: a Taskiq broker, which is used as it is; `"memory://"` or nothing, the
            broker that runs tasks in the web process.

    Raises:
        BrokerURLError: a URL of another scheme.
        TypeError: something else.
    """
    if broker is None:
        return MemoryBroker()
    if isinstance(broker, AsyncBroker):
        return broker
    if not isinstance(broker, str):
        raise TypeError(f"broker must be a Taskiq broker or a URL, not {type(broker).__name__}")
    scheme, colon, _ = broker.partition("://")
    if scheme == "memory":
        return MemoryBroker()
    reason = "no broker is made from it; pass a Taskiq broker object, such as RedisStreamBroker"
    # Without a scheme, nothing of it is shown: it may be a password.
    raise BrokerURLError(scheme if colon and scheme.isalnum() else "?", reason)
