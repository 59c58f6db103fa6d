"""Messages that may kill their worker: started again and again, and never at an end."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from time import monotonic
from typing import Generic, TypeVar

__all__ = ["Suspects"]

M = TypeVar("M")


class Suspects(Generic[M]):
    """Messages whose workers died in their task, or beside it, and which run alone.

    So those that kill their worker are told from those that ran beside them. Something that
    runs for long must not stop a worker, so the others wait for a deadline at most.

    Args:
        patience: seconds.
    """

    def __init__(self, patience: float) -> None:
        self.waiting: deque[M] = deque()
        self._patience = patience
        self._alone: M | None = None
        self._until = 0.0

    def add(self, message: M) -> None:
        """Keep a message until it is its turn."""
        if not self.waiting:
            self._until = max(self._until, monotonic() + self._patience)
        self.waiting.append(message)

    def next(self, held: Collection[M]) -> M | None:
        """Give a message if none of them runs."""
        if not self.waiting or self._alone in held:
            return None
        self._alone = self.waiting.popleft()
        self._until = monotonic() + self._patience
        return self._alone

    def pause(self, held: Collection[M], others: int) -> float:
        """Say for how long nothing is to be started, unless something comes to its end.

        Args:
            held: all that was taken and is not answered for.
            others: how many of them wait for their turn, besides those kept here.
        """
        running = len(held) - others - len(self.waiting)
        is_busy = self._alone in held or (self.waiting and running > 0)
        return self._until - monotonic() if is_busy else 0.0

    def clear(self) -> None:
        """Forget all of them."""
        self.waiting.clear()
