"""Queues in which messages wait until they are due."""

from __future__ import annotations

from math import ceil
from typing import Any

__all__ = ["LONGEST_DELAY", "delay_arguments", "rounded"]

_SHORTEST = 100  # milliseconds
_SPARE = 120_000  # milliseconds for which an empty queue is kept
LONGEST_DELAY = 48 * 86_400.0
"""Seconds: the server counts milliseconds in 32 bits."""


def rounded(delay: float) -> int:
    """Give the milliseconds for which a message is delayed: two digits, rounded up.

    Each length has a queue of its own, as a queue is left at its head alone: a message would
    wait for the longer one before it. Delays with jitter must not make thousands of them.

    Args:
        delay: seconds.
    """
    milliseconds = max(_SHORTEST, ceil(round(delay * 1000, 3)))
    step: int = 10 ** (len(str(milliseconds)) - 2)
    return -(-milliseconds // step) * step


def delay_arguments(milliseconds: int, queue: str) -> dict[str, Any]:
    """Give the arguments of a delay queue, which moves what is due into `queue`.

    The server deletes it some time after it was last declared, with what is in it: that has
    to be later than the last message leaves.
    """
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": milliseconds,
        "x-expires": milliseconds + _SPARE,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        # A message leaves only when it has arrived (RabbitMQ 3.10 and newer).
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
