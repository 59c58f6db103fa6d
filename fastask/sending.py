"""What a message that was not sent says, and that a test does not wait for a broker."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from anyio import fail_after
from taskiq import AsyncBroker, InMemoryBroker, SendTaskError

from fastask.brokers.memory import MemoryBroker
from fastask.exceptions import FastaskError, NotSentError, StorageError
from fastask.masking import masked

__all__ = ["in_time", "is_guarded", "raise_not_sent"]

T = TypeVar("T")

_PATIENCE = 5.0  # seconds that a test waits for a broker to take a message


def is_guarded(broker: AsyncBroker) -> bool:
    """Whether a test sends to a broker that may need a server.

    Not so within `ft.testing()`, which replaces `kick`, and where the tasks run at once.
    """
    is_here = "kick" in vars(broker) or isinstance(broker, (MemoryBroker, InMemoryBroker))
    return "PYTEST_CURRENT_TEST" in os.environ and not is_here


async def in_time(sending: Coroutine[Any, Any, T]) -> T:
    """Send, and give up after 5 s.

    Raises:
        taskiq.SendTaskError: the broker did not take the message in time.
    """
    try:
        with fail_after(_PATIENCE):
            return await sending
    except TimeoutError as error:
        raise SendTaskError from error


def raise_not_sent(task: str, broker: AsyncBroker, error: SendTaskError) -> NoReturn:
    """Say which message the broker did not take, and why.

    Args:
        task: the task's name.
        broker: the broker.
        error: Taskiq's error, whose cause is the broker's.

    Raises:
        NotSentError: always, but for what `ft.testing()` raises, which has replaced `kick`.
    """
    cause = error.__cause__ or error
    is_told = isinstance(cause, FastaskError) and not isinstance(cause, StorageError)
    if is_told or "kick" in vars(broker):
        raise cause from cause.__cause__
    words = " ".join(masked(str(cause)).split())
    reason = f"{type(cause).__name__}: {words}" if words else type(cause).__name__
    raise NotSentError(task, type(broker).__name__, reason, in_test=is_guarded(broker)) from cause
