"""What a process has leased."""

import pytest

from fastask.brokers.sqlite import leases as module
from fastask.brokers.sqlite.leases import Leases


def test_held_and_dropped() -> None:
    """A lease that nobody has any more is told of once."""
    leases = Leases(60)
    held, dropped = leases.add(1), leases.add(2)
    del dropped
    assert leases.looked_through() == ([1], [2])
    assert leases.looked_through() == ([1], [])
    leases.drop(held)
    assert not leases


def test_leased_again() -> None:
    """Who had a message before does not drop the lease of who has it now."""
    leases = Leases(60)
    former = leases.add(1)
    present = leases.add(1)
    leases.drop(former)
    assert leases.looked_through() == ([1], [])
    leases.drop(present)
    assert not leases


def test_owners_differ() -> None:
    assert Leases(60).owner != Leases(60).owner


@pytest.mark.parametrize(
    ("deadline", "pauses", "spared"),
    [
        (60, [1, 1, 20, 29], False),  # looks of an idle worker, signs of life of a busy one
        (60, [31], True),
        (3, [1.9], False),
        (3, [2.1], True),
        (1, [1, 1], False),
        (1, [3], True),
    ],
)
def test_outages(
    monkeypatch: pytest.MonkeyPatch, deadline: float, pauses: list[float], spared: bool
) -> None:
    """When the file could not be used for long, the leases of others are left alone a while."""
    clock = 1000.0
    monkeypatch.setattr(module, "time", lambda: clock)
    monkeypatch.setattr(module, "monotonic", lambda: clock)
    leases = Leases(deadline)
    left = leases.note_use()
    assert left == min(1.5, deadline / 2)  # a start is no outage, but a clock may have been set
    for pause in pauses:
        clock += pause
        left = leases.note_use()
    assert left == (deadline / 2 if spared else 0)
    clock += deadline / 2
    assert not leases.note_use()


def test_clock_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once that the clock leapt ahead; as it goes on, and back, it is not told."""
    now, clock = 5000.0, 1000.0
    monkeypatch.setattr(module, "time", lambda: now)
    monkeypatch.setattr(module, "monotonic", lambda: clock)
    leases = Leases(60)
    told = []
    for leap in (0, 0.5, 3600, 0, -3600, 0, 1.5):
        clock += 1
        now += 1 + leap
        told.append(leases.was_clock_set())
    assert told == [False, False, True, False, False, False, True]
