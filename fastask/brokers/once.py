"""Messages that are sent once, however often their sender sends them."""

from __future__ import annotations

from typing import Any

from taskiq import AsyncBroker, BrokerMessage

__all__ = ["ONCE", "SentOnce", "once_key", "sends_once"]

ONCE = "fastask_once"
"""The label of a message whose id its sender has chosen."""

_KEPT = 10_000  # messages


def sends_once(broker: AsyncBroker) -> bool:
    """Whether a broker drops a message that it was sent before."""
    return getattr(broker, "sends_once", False) is True


def once_key(message: BrokerMessage) -> str | None:
    """Give what a message is sent once by; `None` if it may be sent again.

    A retry, and one that is handed on to other workers, is another message; so is one of the
    same id for another task.
    """
    labels = message.labels
    if ONCE not in labels:
        return None
    again: list[Any] = [labels.get(name, 0) for name in ("_retries", "X-Taskiq-requeue")]
    return f"{message.task_id}:{again[0]}:{again[1]}:{message.task_name}"


class SentOnce:
    """What a process has sent with an id of its own choice, the last 10,000."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def is_repeated(self, message: BrokerMessage) -> bool:
        """Whether a message was sent before; note it if not."""
        key = once_key(message)
        if key is None:
            return False
        if key in self._keys:
            return True
        self._keys[key] = None
        if len(self._keys) > _KEPT:
            del self._keys[next(iter(self._keys))]
        return False
