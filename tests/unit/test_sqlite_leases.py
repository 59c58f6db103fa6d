"""What a process has leased."""

from fastask.brokers.sqlite.leases import Leases


def test_held_and_dropped() -> None:
    """A lease that nobody has any more is told of once."""
    leases = Leases()
    held, dropped = leases.add(1), leases.add(2)
    del dropped
    assert leases.looked_through() == ([1], [2])
    assert leases.looked_through() == ([1], [])
    leases.drop(held)
    assert not leases


def test_leased_again() -> None:
    """Who had a message before does not drop the lease of who has it now."""
    leases = Leases()
    former = leases.add(1)
    present = leases.add(1)
    leases.drop(former)
    assert leases.looked_through() == ([1], [])
    leases.drop(present)
    assert not leases


def test_owners_differ() -> None:
    assert Leases().owner != Leases().owner
