"""What must not be open, or locked, while the process is forked.

SQLite knows which locks a process has by the file, and a forked process inherits that
knowledge, but not the locks: even a connection of its own would then go unlocked.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from weakref import WeakSet

__all__ = ["Guarded"]

_PATIENCE = 5.0  # seconds for a thread to come to the end of what it does


class Guarded(ABC):
    """Something with a lock, that is closed for a fork and opened again when it is needed.

    Attributes:
        lock: held by who uses it.
    """

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        with _registering:
            _guarded.add(self)

    @abstractmethod
    def close_for_fork(self) -> None:
        """Close what a forked process must not inherit; called with the lock held."""


_registering = threading.Lock()
_guarded: WeakSet[Guarded] = WeakSet()
_locked: list[Guarded] = []


def _before() -> None:
    _registering.acquire()
    for each in list(_guarded):
        if each.lock.acquire(timeout=_PATIENCE):
            _locked.append(each)
            each.close_for_fork()


def _after() -> None:
    while _locked:
        _locked.pop().lock.release()
    _registering.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
