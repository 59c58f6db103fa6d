"""What a process has leased, and which of it is still held by somebody."""

from __future__ import annotations

from math import inf
from random import SystemRandom
from time import monotonic, time
from weakref import ref

__all__ = ["Lease", "Leases"]

_OUTAGE = 2.0  # seconds without use, at least, that are taken for an outage
_LEAP = 1.0  # seconds by which a clock was set at least
_START = 1.5  # seconds, at most, in which those that run may say so to one that starts


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

    After an outage, such as a lock that lasted, all leases look as if their workers had
    died. So this also knows when the file could be used last, and for how long the leases
    of others are to be left alone, for their workers to extend them first. The same holds
    when the host's clock was set: who runs sees that within a second and extends them, and
    who starts waits for a little more.

    Args:
        deadline: seconds for which a message is leased.

    Attributes:
        owner: what stands in the database beside them, another number in each process.
    """

    def __init__(self, deadline: float) -> None:
        self.owner: int = SystemRandom().randrange(1, 2**62)
        self._leases: dict[int, ref[Lease]] = {}
        self._grace = deadline / 2
        self._outage = max(_OUTAGE, deadline / 2)
        self._used = inf
        self._sparing_until = 0.0
        self._offset = time() - monotonic()

    def __bool__(self) -> bool:
        return bool(self._leases)

    def note_use(self) -> float:
        """Note that the file can be used; give the seconds for which leases are left alone.

        It is called each second by a worker that has nothing to do, and each third of the
        deadline by one that has.
        """
        now, clock = time(), monotonic()  # a clock that was set makes leases run out, too
        if now - self._used > self._outage:
            self._sparing_until = clock + self._grace
        elif self._used == inf:
            self._sparing_until = clock + min(_START, self._grace)
        self._used = now
        return max(0.0, self._sparing_until - clock)

    def was_clock_set(self) -> bool:
        """Whether the clock leapt ahead since this was asked last, and leases have run out."""
        former, self._offset = self._offset, time() - monotonic()
        return self._offset - former > _LEAP

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
