"""What a process has leased, and which of it is still held by somebody."""

from __future__ import annotations

from random import SystemRandom
from weakref import ref

__all__ = ["Lease", "Leases"]


class Lease:
    """A message that was leased: whoever has this, holds it.

    Args:
        id: the id of the message.
    """

    __slots__ = ("__weakref__", "id")

    def __init__(self, id: int) -> None:
        self.id: int = id


class Leases:
    """What was leased and not answered for.

    The writer's thread extends the leases, as an event loop may be blocked by a task. It
    must not extend those that nobody holds any more, or their messages would never be run
    again: so this knows who is held by a weak reference.

    Attributes:
        owner: what stands in the database beside them, another number in each process.
    """

    def __init__(self) -> None:
        self.owner: int = SystemRandom().randrange(1, 2**62)
        self._leases: dict[int, ref[Lease]] = {}

    def __bool__(self) -> bool:
        return bool(self._leases)

    def add(self, id: int) -> Lease:
        """Note that a message was leased."""
        lease = Lease(id)
        self._leases[id] = ref(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Forget a lease that was answered for."""
        known = self._leases.get(lease.id)
        if known is not None and known() is lease:  # it may have been leased again
            del self._leases[lease.id]

    def looked_through(self) -> tuple[list[int], list[int]]:
        """Give the ids of those that are held, and of those that were dropped; forget these."""
        held: list[int] = []
        dropped: list[int] = []
        for number, lease in list(self._leases.items()):
            (dropped if lease() is None else held).append(number)
        for number in dropped:
            self._leases.pop(number, None)
        return held, dropped
