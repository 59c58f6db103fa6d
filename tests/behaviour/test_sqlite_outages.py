"""The SQLite broker when its file could not be used for a while, or was deleted."""

import time
from pathlib import Path

import pytest

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
