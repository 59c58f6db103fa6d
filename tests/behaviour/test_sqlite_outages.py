"""The SQLite broker when its file could not be used for a while, or was deleted."""

import sys
import time
from pathlib import Path

import pytest

from fastask.brokers.sqlite import SQLiteBroker, leases, messages
from tests.behaviour.sqlite_files import made, message, taken, texts, up
from tests.behaviour.test_sqlite_broker import expire


@pytest.mark.parametrize("is_alive", [True, False])
async def test_leases_after_an_outage(tmp_path: Path, is_alive: bool) -> None:
    """All look dead for a moment: who lives has half a deadline to say so."""
    holder, other = made(tmp_path, deadline=1), made(tmp_path, deadline=1)
    async with up(holder, other):
        await holder.kick(message("a"))
        held = await taken(holder)
        assert not await other.take(1)
        if not is_alive:
            holder._store.writer.jobs.clear()
        other._queue.leases._used -= 10  # as if the file had been locked
        await expire(tmp_path)
        start = time.monotonic()
        found = list(await other.take(1))
        while not found and time.monotonic() - start < 2:
            found = list(await other.take(1))
        assert texts(found) == ([] if is_alive else ["a"])
        assert time.monotonic() - start >= 0.4
        assert held


async def test_file_that_was_deleted(tmp_path: Path) -> None:
    """What a task acknowledges whose file is gone is no message of the next file."""
    broker = made(tmp_path)
    async with up(broker):
        await broker.kick(message("old"))
        [old] = await taken(broker)
        for each in tmp_path.glob("tasks.db*"):
            each.unlink()
        for text in "abc":
            await broker.kick(message(text))
        await broker.acknowledge(old)
        assert texts(await taken(broker, 3)) == ["a", "b", "c"]


async def test_clock_that_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that leaps ahead gives a living worker's task to nobody, nor to who starts then."""
    now, leap = time.time, 0.0
    broker_module = sys.modules[SQLiteBroker.__module__]
    for module in (messages, leases, broker_module):
        monkeypatch.setattr(module, "time", lambda: now() + leap)
    monkeypatch.setattr(broker_module, "_LOOK", 0.05)
    monkeypatch.setattr(leases, "_START", 0.5)
    holder, idle, late = (made(tmp_path, deadline=30) for _ in range(3))
    async with up(holder, idle, late):
        await holder.kick(message("a"))
        held = await taken(holder)
        await idle.take(1)
        leap = 3600.0
        found: list[str] = []
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            found += texts([*await late.take(1), *await idle.take(1)])
        assert found == []
        await holder.acknowledge(held[0])
