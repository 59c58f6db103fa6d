"""The messages that were dealt with last, by a worker whose answer may have been lost."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["Recent"]

_SIZE = 10_000  # messages


class Recent:
    """The last messages that were acknowledged.

    After an outage a server gives out again what was acknowledged meanwhile.
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[Hashable, None] = {}  # a set that knows which one came first

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def add(self, key: Hashable) -> None:
        """Remember a message by what is the same each time it is delivered."""
        self._keys[key] = None
        if len(self._keys) > _SIZE:
            del self._keys[next(iter(self._keys))]
