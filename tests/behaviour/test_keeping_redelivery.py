"""Results that can't be saved for long, in a worker that does nothing else."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from fastapi import FastAPI
from taskiq.receiver import Receiver

from fastask import FastTask
from fastask.brokers import keeping
from fastask.brokers.inbox import MAX_STARTS
from fastask.brokers.keeping import ResultKeeper
from fastask.brokers.lifecycle import BrokerLifecycle
from tests.behaviour.sqlite_files import WAIT

TIMES = MAX_STARTS + 2


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_PATIENCE", 0.02)
    monkeypatch.setattr(keeping, "_REST", 0.02)


@asynccontextmanager
async def working(ft: FastTask) -> AsyncGenerator[None, None]:
    """Have Taskiq's own receiver work, with results kept as in a worker."""
    await ft.broker.startup()
    keeper = ResultKeeper(ft.broker, BrokerLifecycle.of(ft.broker))
    keeper.install()
    finish = asyncio.Event()
    receiver = Receiver(ft.broker, max_async_tasks=10, run_startup=False)
    listening = asyncio.create_task(receiver.listen(finish))
    try:
        yield
    finally:
        finish.set()
        async with asyncio.timeout(WAIT):
            await listening
            keeper.remove()
            await ft.broker.shutdown()


class Runs:
    """Counts the runs of a task."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def add(self) -> None:
        self.count += 1
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(WAIT):
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()


async def test_runs_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The task runs until its result is saved, and that is never taken for a worker's death.

    No other message comes that would have Taskiq forget the last one.
    """
    kept, away = tmp_path / "kept", tmp_path / "away"
    kept.mkdir()
    tasks = f"sqlite:///{tmp_path}/tasks.db"
    ft = FastTask(FastAPI(), tasks, results=f"sqlite:///{kept}/results.db")
    runs = Runs()

    @ft.task("add")
    async def add(a: int) -> int:
        runs.add()
        return a

    async with working(ft):
        kept.rename(away)
        sent = await add.kiq(5)
        await runs.until(TIMES)
        away.rename(kept)
        assert await sent.result(timeout=WAIT) == 5
        with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
            [(starts,)] = connection.execute("SELECT coalesce(sum(starts), 0) FROM messages")
        assert starts == 0
    assert "its folder is not there" in caplog.text
    assert "dead letter" not in caplog.text


async def test_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a pause before it runs again."""
    monkeypatch.setattr(keeping, "_REST", 0.5)
    ft = FastTask(FastAPI(), f"sqlite:///{tmp_path}/tasks.db")
    runs = Runs()

    async def fail(*_: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(ft.broker.result_backend, "set_result", fail)

    @ft.task("add")
    async def add() -> None:
        runs.add()

    loop = asyncio.get_running_loop()
    async with working(ft):
        start = loop.time()
        await add.kiq()
        await runs.until(2)
        assert loop.time() - start >= 0.5
