"""The threads behind the SQLite broker: shared commits, failures, loops, forks."""

import asyncio
import contextlib
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastask import StorageError
from fastask.brokers.sqlite.database import Storage
from fastask.brokers.sqlite.store import Store
from fastask.brokers.sqlite.writer import Job, Transaction
from tests.behaviour.sqlite_files import WAIT, made, message, taken, texts, up


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    store = Store(str(tmp_path / "tasks.db"))
    try:
        yield store
    finally:
        async with asyncio.timeout(WAIT):
            await store.close()


def insert(transaction: Transaction, batch: Sequence[Any]) -> list[int]:
    """Insert keys; one that is there already is an error."""
    for key in batch:
        transaction.execute("INSERT INTO sent VALUES (?, 1)", (key,))
    return [len(batch)] * len(batch)


def keys(transaction: Transaction, batch: Sequence[Any]) -> list[list[str]]:
    found = [key for (key,) in transaction.execute("SELECT key FROM sent ORDER BY key")]
    return [found] * len(batch)


async def blocked(store: Store) -> threading.Event:
    """Have the writer wait, so that operations gather behind it."""
    started, release = threading.Event(), threading.Event()

    def wait(transaction: Transaction, batch: Sequence[Any]) -> list[None]:
        started.set()
        assert release.wait(WAIT)
        return [None] * len(batch)

    blocking = asyncio.create_task(store.writer.do(wait, None))
    blocking.add_done_callback(lambda done: done.result())
    await asyncio.to_thread(started.wait, WAIT)
    return release


async def test_one_commit_for_many(store: Store) -> None:
    """What gathers while the writer is busy is done in one go."""
    release = await blocked(store)
    doing = [asyncio.create_task(store.writer.do(insert, key)) for key in "abcde"]
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*doing) == [5] * 5
    assert await store.reader.do(keys, None) == list("abcde")


async def test_one_that_fails_fails_alone(store: Store) -> None:
    """The others of its commit are done, each exactly once."""
    release = await blocked(store)
    doing = [asyncio.create_task(store.writer.do(insert, key)) for key in "abac"]
    await asyncio.sleep(0)
    release.set()
    done = await asyncio.gather(*doing, return_exceptions=True)
    assert [type(each) for each in done] == [int, int, StorageError, int]
    assert await store.reader.do(keys, None) == ["a", "b", "c"]


async def test_cancelled_before_it_was_done(store: Store) -> None:
    """What nobody waits for any more is not done, if it says so: a message, for one."""
    release = await blocked(store)
    dropped = asyncio.create_task(store.writer.do(insert, "dropped", is_droppable=True))
    kept = asyncio.create_task(store.writer.do(insert, "kept"))
    await asyncio.sleep(0)
    dropped.cancel()
    kept.cancel()
    await asyncio.wait([dropped, kept], timeout=WAIT)
    release.set()
    await store.writer.do(insert, "last")
    assert await store.reader.do(keys, None) == ["kept", "last"]


async def test_loop_goes_on_while_the_file_is_locked(store: Store, tmp_path: Path) -> None:
    """The event loop does not wait for a lock, nor do readers."""
    await store.writer.do(insert, "a")
    other = sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    doing = asyncio.create_task(store.writer.do(insert, "b"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert await store.reader.do(keys, None) == ["a"]
    assert not doing.done()
    other.execute("COMMIT")
    other.close()
    async with asyncio.timeout(WAIT):
        await doing


async def test_several_event_loops(store: Store) -> None:
    """Each loop gets its own answers."""

    def elsewhere(key: str) -> int:
        answered: int = asyncio.run(store.writer.do(insert, key))
        return answered

    answers = await asyncio.gather(*(asyncio.to_thread(elsewhere, key) for key in "abc"))
    assert all(answer >= 1 for answer in answers)
    assert await store.reader.do(keys, None) == ["a", "b", "c"]


async def test_loop_that_is_gone(store: Store) -> None:
    """A loop that has ended before its answer came disturbs nobody."""
    release = await blocked(store)

    def elsewhere() -> None:
        loop = asyncio.new_event_loop()
        doing = loop.create_task(store.writer.do(insert, "a"))
        loop.call_soon(loop.stop)
        loop.run_forever()
        doing.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(doing)
        loop.close()

    await asyncio.to_thread(elsewhere)
    release.set()
    await store.writer.do(insert, "b")
    assert await store.reader.do(keys, None) == ["a", "b"]


async def test_used_again_after_it_was_closed(store: Store) -> None:
    """Closing ends the threads; the next operation starts them."""
    for key in "ab":
        await store.writer.do(insert, key)
        thread = store.writer._thread
        assert thread is not None
        assert thread.is_alive()
        await store.close()
        assert not thread.is_alive()
    assert await store.reader.do(keys, None) == ["a", "b"]


async def test_jobs(store: Store) -> None:
    """A job is done again and again; one that fails does not end the others."""
    done = threading.Semaphore(0)

    def work(transaction: Transaction) -> bool:
        done.release()
        return False

    def fail(transaction: Transaction) -> bool:
        transaction.execute("SELECT no such thing")
        return False

    store.writer.jobs += [Job(0.01, fail), Job(0.01, work), Job(0.01, fail, lambda: False)]
    await store.writer.do(insert, "a")
    for _ in range(3):
        assert await asyncio.to_thread(done.acquire, timeout=WAIT)


async def test_file_that_was_replaced(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that somebody has deleted is made anew, and told of."""
    await store.writer.do(insert, "a")
    for each in tmp_path.glob("tasks.db*"):
        each.unlink()
    await store.writer.do(insert, "b")
    assert await store.reader.do(keys, None) == ["b"]
    assert "was deleted or replaced" in caplog.text


async def test_file_deleted_without_its_log(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SQLite keeps beside a file outlives it; errors of that pass, and cost no message."""
    await store.writer.do(insert, "a")
    (tmp_path / "tasks.db").unlink()
    _fail_to_open(monkeypatch, 3)
    assert await asyncio.gather(*(store.writer.do(insert, key) for key in "bc")) == [2, 2]
    assert await store.reader.do(keys, None) == ["b", "c"]


async def test_file_that_stays_broken(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told if they last."""
    monkeypatch.setattr("fastask.brokers.sqlite.database.PATIENCE", 0.1)
    await store.writer.do(insert, "a")
    (tmp_path / "tasks.db").unlink()
    _fail_to_open(monkeypatch, 10_000)
    with pytest.raises(StorageError, match="reading or writing it has failed"):
        await store.writer.do(insert, "b")


def _fail_to_open(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    prepare = Storage._prepare
    left = times

    def failing(storage: Storage, connection: sqlite3.Connection) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHORT_READ
            raise error
        prepare(storage, connection)

    monkeypatch.setattr(Storage, "_prepare", failing)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it is seen in /proc")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
async def test_fork(tmp_path: Path) -> None:
    """A process that was forked uses the file as any other; nothing of it is shared."""
    broker = made(tmp_path)
    async with up(broker):
        await broker.kick(message("parent"))
        await broker._listening()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                # SQLite forgets its locks where a connection was inherited.
                assert not any(name.endswith("tasks.db") for name in _open_files())
                threading.Thread(target=_in_child, args=[broker], daemon=True).start()
                status = 0 if _sent_in_child.wait(WAIT) else 2
            finally:
                os._exit(status)
        async with asyncio.timeout(WAIT):
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await broker.kick(message("after"))
        assert texts(await taken(broker, 2)) == ["child", "after"]


_sent_in_child = threading.Event()


def _in_child(broker: Any) -> None:
    async def work() -> None:
        port = (await broker._listening()).port
        assert port in _bound_ports()
        [found] = await taken(broker)
        await broker.acknowledge(found)
        await broker.kick(message("child"))

    parents = broker._bell.port
    asyncio.run(work())
    assert broker._bell.port != parents
    _sent_in_child.set()


def _open_files() -> list[str]:
    names = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(str(each.readlink()))
    return names


def _bound_ports() -> set[int]:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}


def _sends(path: str, start: Any, count: int) -> None:
    async def send() -> None:
        broker = made(Path(path))
        async with up(broker):
            start.wait(WAIT)
            for number in range(count):
                await broker.kick(message(f"{os.getpid()}-{number}"))

    asyncio.run(send())


def _runs(path: str, start: Any, count: int, out: Any) -> None:
    async def run() -> None:
        broker = made(Path(path))
        async with up(broker):
            start.wait(WAIT)
            while True:
                found = await broker.take(7)
                for each in found:
                    out.put(each.data.decode())
                    await broker.acknowledge(each)
                if any(each.data == b"stop" for each in found):
                    return

    asyncio.run(run())


async def test_several_processes(tmp_path: Path) -> None:
    """Three that send and three that run, at once: each message is run exactly once."""
    spawned = multiprocessing.get_context("spawn")
    start, out, count = spawned.Event(), spawned.Queue(), 100
    processes = [
        spawned.Process(target=_sends, args=(str(tmp_path), start, count)) for _ in range(3)
    ] + [spawned.Process(target=_runs, args=(str(tmp_path), start, count, out)) for _ in range(3)]
    try:
        for process in processes:
            process.start()
        start.set()
        ran = [await asyncio.to_thread(out.get, timeout=60) for _ in range(3 * count)]
        broker = made(tmp_path)
        async with up(broker):
            for _ in range(3):
                await broker.kick(message("stop"))
                assert await asyncio.to_thread(out.get, timeout=60) == "stop"
        for process in processes:
            await asyncio.to_thread(process.join, 60)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
        out.close()
    assert len(set(ran)) == len(ran) == 3 * count
