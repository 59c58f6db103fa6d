"""Processes that can't make sockets, as when they have no file descriptors left."""

import asyncio
import errno
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastask.brokers.sqlite import notices
from tests.behaviour.sqlite_files import made, message, taken, texts, up
from tests.behaviour.test_sqlite_writer import blocked


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give what ends it that none can be made."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    def begin() -> None:
        stand_in = SimpleNamespace(**{**vars(socket), "socket": refuse})
        monkeypatch.setattr(notices, "socket", stand_in)

    return begin


async def test_sent_once(tmp_path: Path, no_sockets: Any) -> None:
    """A worker that can't be woken up costs a second; nothing fails or is sent twice by it."""
    worker, sender = made(tmp_path), made(tmp_path)
    async with up(worker, sender):
        await worker._listening()
        release = await blocked(sender._store)
        no_sockets()
        kicking = [asyncio.create_task(sender.kick(message(text))) for text in "abc"]
        await asyncio.sleep(0)
        release.set()
        assert await asyncio.gather(*kicking, return_exceptions=True) == [None] * 3
        assert texts(await taken(worker, 3)) == ["a", "b", "c"]
        assert not await worker.take(1)


async def test_worker(tmp_path: Path, no_sockets: Any) -> None:
    """A worker without a socket looks by itself."""
    broker = made(tmp_path)
    no_sockets()
    async with up(broker):
        taking = asyncio.create_task(taken(broker))
        await asyncio.sleep(0)
        await broker.kick(message("a"))
        assert texts(await taking) == ["a"]
