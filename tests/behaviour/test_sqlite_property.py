"""Any order of sending, taking, answering and dying: nothing is lost, nothing is held by two."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastask.brokers.inbox import Taken
from fastask.brokers.sqlite import SQLiteBroker, leases
from fastask.brokers.sqlite.messages import Claim, claim
from tests.behaviour.sqlite_files import made, message

WORKERS = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "take", "acknowledge", "return", "return fresh", "bury", "die"]),
        st.integers(0, WORKERS - 1),
        st.integers(1, 3),
    ),
    max_size=30,
)


@pytest.fixture(autouse=True, scope="module")
def at_once() -> Iterator[None]:
    """Who starts waits for nobody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "_START", 0.0)
        yield


class World:
    """Workers on one file, and what must be true of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[SQLiteBroker] = [made(folder) for _ in range(WORKERS)]
        self.held: list[list[Taken]] = [[] for _ in range(WORKERS)]
        self.sent = 0
        self.open: set[bytes] = set()  # sent, and neither acknowledged nor buried

    async def do(self, step: str, number: int, count: int) -> None:
        worker, held = self.workers[number], self.held[number]
        if step == "send":
            await worker.kick(message(f"{self.sent}", delay=0))
            self.open.add(f"{self.sent}".encode())
            self.sent += 1
        elif step == "take":
            await self.take(number, count)
        elif step == "die":
            self.held[number] = []
            await worker._store.writer.do(_expire, worker._queue.leases.owner)
            worker._queue = worker._new_queue()
        elif held:
            chosen = [held.pop() for _ in range(min(count, len(held)))]
            await self.answer(worker, step, chosen)

    async def take(self, number: int, count: int) -> list[Taken]:
        worker = self.workers[number]
        found, _ = await worker._store.writer.do(claim, Claim(worker._queue, count))
        elsewhere = {each.data for held in self.held for each in held}
        assert not elsewhere & {each.data for each in found}
        assert {each.data for each in found} <= self.open
        self.held[number] += found
        given: list[Taken] = found
        return given

    async def answer(self, worker: SQLiteBroker, step: str, chosen: Sequence[Taken]) -> None:
        if step in ("return", "return fresh"):
            await worker.give_back(chosen, is_fresh=step == "return fresh")
            return
        for each in chosen:
            await (worker.acknowledge if step == "acknowledge" else worker.bury)(each)
            self.open.discard(each.data)

    async def check(self) -> None:
        """When all have died, one worker gets everything that is open."""
        for number in range(WORKERS):
            await self.do("die", number, 1)
        found = await self.take(0, 1000)
        assert {each.data for each in found} == self.open
        assert len(found) == len(self.open)


def _expire(transaction: Any, owners: Sequence[int]) -> list[None]:
    for owner in owners:
        transaction.execute("UPDATE messages SET until = 0 WHERE state = 1 AND owner = ?", (owner,))
    return [None] * len(owners)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_nothing_is_lost(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens in whatever order."""

    async def run(folder: str) -> None:
        world = World(Path(folder))
        try:
            for step in steps:
                await world.do(*step)
            await world.check()
        finally:
            for worker in world.workers:
                await worker.shutdown()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(folder))
