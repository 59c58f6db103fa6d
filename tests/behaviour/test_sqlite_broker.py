"""The SQLite broker: messages in a file."""

import asyncio
import gc
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from taskiq import ResultGetError, TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress, TaskState

from fastask import BrokerURLError
from fastask.brokers import broker_from
from fastask.brokers.once import ONCE
from fastask.brokers.sqlite import SQLiteBroker, SQLiteResults
from fastask.brokers.sqlite import messages as sql
from tests.behaviour.sqlite_files import WAIT, made, message, taken, texts, up


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "tasks.db")) as connection:
        return connection.execute(query).fetchall()


async def expire(folder: Path) -> None:
    """Have the deadlines of all messages pass."""
    with closing(sqlite3.connect(folder / "tasks.db", isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET until = 0 WHERE state IN (1, 2)")


async def test_in_order_and_deleted(tmp_path: Path) -> None:
    """Messages come as they were sent, and are gone when they are acknowledged."""
    broker = made(tmp_path)
    async with up(broker):
        for text in "abc":
            await broker.kick(message(text))
        found = await taken(broker, 3)
        assert texts(found) == ["a", "b", "c"]
        assert not any(each.is_again for each in found)
        await asyncio.gather(*(broker.acknowledge(each) for each in found))
        assert rows(tmp_path, "SELECT * FROM messages") == []


async def test_kept(tmp_path: Path) -> None:
    """What was sent is there when all processes have ended."""
    first = made(tmp_path)
    async with up(first):
        await first.kick(message("a"))
    second = made(tmp_path)
    async with up(second):
        assert texts(await taken(second)) == ["a"]


async def test_priorities(tmp_path: Path) -> None:
    """Higher ones first; equal ones as they were sent."""
    broker = made(tmp_path)
    async with up(broker):
        for text, priority in (("a", 0), ("b", "5"), ("c", -1), ("d", 5)):
            await broker.kick(message(text, priority=priority))
        assert texts(await taken(broker, 4, most=2)) == ["b", "d", "a", "c"]


async def test_queues_are_apart(tmp_path: Path) -> None:
    """Several programs may use one file."""
    mail, other = made(tmp_path, queue="mail"), made(tmp_path, queue="other")
    async with up(mail, other):
        await mail.kick(message("a"))
        assert not await other.take(1)
        assert texts(await taken(mail)) == ["a"]


async def test_dead_workers_messages(tmp_path: Path) -> None:
    """What a worker has not answered for in time is given to another, as a repetition."""
    dead, alive = made(tmp_path), made(tmp_path)
    async with up(dead, alive):
        await dead.kick(message("a"))
        [first] = await taken(dead)
        assert not await alive.take(1)
        await expire(tmp_path)
        [again] = await taken(alive)
        assert (again.data, again.is_again, again.starts) == (b"a", True, 0)
        assert [await alive.count_start(again) for _ in range(2)] == [1, 2]
        assert await dead.count_start(first) == 0  # it has lost the message
        await dead.give_back([first], is_fresh=True)
        await dead.bury(first)
        assert rows(tmp_path, "SELECT state, starts FROM messages") == [(1, 2)]


async def test_own_messages_are_not_given_again(tmp_path: Path) -> None:
    """A worker that is there to ask holds what it has, however late it says so."""
    broker = made(tmp_path)
    async with up(broker):
        await broker.kick(message("a"))
        held = await taken(broker)
        await expire(tmp_path)
        assert not await broker.take(1)
        await broker.acknowledge(held[0])


async def test_deadline_passes(tmp_path: Path) -> None:
    """Without a sign of life the deadline of the URL is what counts."""
    dead, alive = made(tmp_path, deadline=1), made(tmp_path, deadline=1)
    async with up(dead, alive):
        await dead.kick(message("a"))
        leased = await taken(dead)
        dead._store.writer.jobs.clear()  # its thread is as good as dead
        assert texts(await taken(alive)) == ["a"]
        assert leased


async def test_deadline_moves_while_the_loop_is_blocked(tmp_path: Path) -> None:
    """The writer's thread keeps the lease of a task that blocks the event loop."""
    broker = made(tmp_path, deadline=1)
    async with up(broker):
        await broker.kick(message("a"))
        held = await taken(broker)
        [(before,)] = rows(tmp_path, "SELECT until FROM messages")
        give_up = time.monotonic() + WAIT
        while rows(tmp_path, "SELECT until FROM messages") == [(before,)]:
            assert time.monotonic() < give_up
            time.sleep(0.01)  # blocks the loop, which is the point
        await broker.acknowledge(held[0])


async def test_dropped_lease(tmp_path: Path) -> None:
    """A message that nobody holds any more is made ready again, and stays counted."""
    broker = made(tmp_path, deadline=1)
    async with up(broker):
        await broker.kick(message("a"))
        await taken(broker)
        gc.collect()
        [again] = await taken(broker)
        assert (again.data, again.is_again) == (b"a", True)


@pytest.mark.parametrize(("is_fresh", "starts"), [(True, 0), (False, 2)])
async def test_handed_back(tmp_path: Path, is_fresh: bool, starts: int) -> None:
    """What is handed back is ready at once; in order, as if it was never taken."""
    first, second = made(tmp_path), made(tmp_path)
    async with up(first, second):
        await first.kick(message("a"))
        [found] = await taken(first)
        for _ in range(2):
            await first.count_start(found)
        await first.give_back([found], is_fresh=is_fresh)
        [again] = await taken(second)
        assert (again.is_again, again.starts) == (not is_fresh, starts)


async def test_stopping_strands_nothing(tmp_path: Path) -> None:
    """What was taken and not given out is there for others when listening ends."""
    first, second = made(tmp_path), made(tmp_path)
    async with up(first, second):
        for text in "abcd":
            await first.kick(message(text))
        messages = first.listen()
        async with asyncio.timeout(WAIT):
            given = await anext(messages)
            await messages.aclose()
        assert texts(await taken(second, 3)) == ["b", "c", "d"]
        answer: Any = given.ack()
        await answer
    assert rows(tmp_path, "SELECT data FROM messages ORDER BY id") == [(b"b",), (b"c",), (b"d",)]


async def test_delayed(tmp_path: Path) -> None:
    """A delayed message comes when it is due, and not before."""
    broker = made(tmp_path)
    async with up(broker):
        start = time.time()
        await broker.kick(message("later", delay=0.6))
        await broker.kick(message("soon", delay="0.3"))
        await broker.kick(message("now"))
        assert texts(await taken(broker, 3)) == ["now", "soon", "later"]
        assert time.time() - start >= 0.6


@pytest.mark.parametrize("delay", [0, 0.1])
async def test_once(tmp_path: Path, delay: float) -> None:
    """A message with an id of the sender's choice is sent once, also when it is done."""
    broker = made(tmp_path)
    async with up(broker):
        labels = {ONCE: "1", "delay": delay}
        for _ in range(2):
            await broker.kick(message("a", "chosen", **labels))
        [found] = await taken(broker)
        await broker.acknowledge(found)
        await broker.kick(message("a", "chosen", **labels))
        await broker.kick(message("b", "other", **labels))
        assert texts(await taken(broker)) == ["b"]
        # For as long as the URL says.
        await broker._store.writer.do(_forget_keys, None)
        await broker.kick(message("a", "chosen", **labels))
        assert texts(await taken(broker)) == ["a"]


def _forget_keys(transaction: Any, batch: Any) -> list[None]:
    transaction.execute("UPDATE sent SET expires = 0")
    return [None] * len(batch)


async def test_once_and_a_sending_that_fails(tmp_path: Path) -> None:
    """A message that could not be kept is not taken for one that was sent."""
    broker = made(tmp_path)
    async with up(broker):
        broken: Any = message("a", "chosen", **{ONCE: "1"})
        broken.message = object()
        with pytest.raises(Exception, match="has no len"):
            await broker.kick(broken)
        await broker.kick(message("a", "chosen", **{ONCE: "1"}))
        assert texts(await taken(broker)) == ["a"]


@pytest.mark.parametrize("size", [10, 5000])
async def test_buried(tmp_path: Path, size: int) -> None:
    """A dead letter is kept, and given to nobody; after a week it is deleted."""
    broker = made(tmp_path)
    async with up(broker):
        await broker.kick(message("a" * size))
        [found] = await taken(broker)
        await broker.bury(found)
        assert not await broker.take(1)
        [(until,)] = rows(tmp_path, "SELECT until FROM messages WHERE state = 3")
        assert until > time.time() + 6 * 86_400
        await broker._store.writer.do(_purge_dead, None)
        assert rows(tmp_path, "SELECT id FROM messages UNION SELECT id FROM bodies") == []


def _purge_dead(transaction: Any, batch: Any) -> list[None]:
    transaction.execute("UPDATE messages SET until = 0 WHERE state = 3")
    assert not sql.purge(transaction, "taskiq")
    return [None] * len(batch)


async def test_large(tmp_path: Path) -> None:
    """Ten mebibytes that are no text come back to the byte, and leave nothing behind."""
    data = os.urandom(10 * 2**20)
    broker = made(tmp_path)
    async with up(broker):
        await broker.kick(message(data))
        [found] = await taken(broker)
        assert found.data == data
        await broker.give_back([found], is_fresh=False)
        [found] = await taken(broker)
        assert found.data == data
        await broker.acknowledge(found)
        assert rows(tmp_path, "SELECT count(*) FROM bodies") == [(0,)]


async def test_woken_up_by_another_process(tmp_path: Path) -> None:
    """Who waits learns of a message by a datagram, before it looks by itself."""
    waiting, sending = made(tmp_path), made(tmp_path)
    async with up(waiting, sending):
        bell = await waiting._listening()
        rung: list[float] = []
        wait = bell.wait

        async def noted(seconds: float) -> None:
            started.set()
            await wait(30)  # it would not look by itself for long
            rung.append(seconds)

        started = asyncio.Event()
        bell.wait = noted  # type: ignore[method-assign]
        taking = asyncio.create_task(taken(waiting))
        async with asyncio.timeout(WAIT):
            await started.wait()
            await sending.kick(message("a"))
            assert texts(await taking) == ["a"]
        assert rung


async def test_listeners_are_removed(tmp_path: Path) -> None:
    """A worker that stops is not woken up any more; one that died, not for long."""
    broker, other = made(tmp_path), made(tmp_path)
    async with up(other):
        async with up(broker):
            await broker._listening()
            assert len(rows(tmp_path, "SELECT port FROM listeners")) == 1
        assert rows(tmp_path, "SELECT port FROM listeners") == []
        await other._store.writer.do(_listen_long_ago, None)
        assert rows(tmp_path, "SELECT port FROM listeners") == []


def _listen_long_ago(transaction: Any, batch: Any) -> list[None]:
    transaction.execute("INSERT INTO listeners VALUES ('taskiq', 9, 1, 0)")
    sql.purge(transaction, "taskiq")
    return [None] * len(batch)


async def test_results(tmp_path: Path) -> None:
    """Results are kept beside the messages, for as long as the URL says."""
    broker = made(tmp_path, results_ttl=1000)
    backend: Any = broker.result_backend
    result: TaskiqResult[Any] = TaskiqResult(
        is_err=False, return_value={"a": [1, "ü"]}, execution_time=0.1, labels={"b": 2}
    )
    async with up(broker):
        assert not await backend.is_result_ready("id")
        with pytest.raises(ResultGetError, match="there is no result yet"):
            await backend.get_result("id")
        await backend.set_result("id", result)
        assert await backend.is_result_ready("id")
        assert await backend.get_result("id") == result
        [(expires,)] = rows(tmp_path, "SELECT expires FROM results")
        assert 900 < expires - time.time() <= 1000
        await broker._store.writer.do(_expire_results, None)
        assert not await backend.is_result_ready("id")
        assert rows(tmp_path, "SELECT * FROM results") == []


def _expire_results(transaction: Any, batch: Any) -> list[None]:
    transaction.execute("UPDATE results SET expires = 0")
    sql.purge(transaction, "taskiq")
    return [None] * len(batch)


async def test_expired_results_are_not_seen(tmp_path: Path) -> None:
    """Before they are purged, too; and many are asked for at once."""
    broker = made(tmp_path, results_ttl=1)
    backend: Any = broker.result_backend
    result: TaskiqResult[Any] = TaskiqResult(is_err=False, return_value=1, execution_time=0)
    async with up(broker):
        for task_id in ("a", "b"):
            await backend.set_result(task_id, result)
        asked = await asyncio.gather(*(backend.is_result_ready(each) for each in "abc"))
        assert asked == [True, True, False]
        await broker._store.writer.do(_age_results, None)
        assert not await backend.is_result_ready("a")
        with pytest.raises(ResultGetError):
            await backend.get_result("a")
        asked = await asyncio.gather(*(backend.is_result_ready(each) for each in "abc"))
        assert asked == [False, False, False]


def _age_results(transaction: Any, batch: Any) -> list[None]:
    transaction.execute("UPDATE results SET expires = expires - 10")
    return [None] * len(batch)


async def test_progress(tmp_path: Path) -> None:
    """How far a task is, as Taskiq's progress tracker says it."""
    broker = made(tmp_path)
    async with up(broker):
        assert await broker.result_backend.get_progress("id") is None
        progress: TaskProgress[Any] = TaskProgress(state=TaskState.STARTED, meta={"done": 5})
        await broker.result_backend.set_progress("id", progress)
        assert await broker.result_backend.get_progress("id") == progress


async def test_results_in_another_file(tmp_path: Path) -> None:
    """`results=` names another file."""
    broker = broker_from(f"sqlite:///{tmp_path}/tasks.db", f"sqlite:///{tmp_path}/results.db")
    assert isinstance(broker, SQLiteBroker)
    backend: Any = broker.result_backend
    assert isinstance(backend, SQLiteResults)
    async with up(broker):
        result: TaskiqResult[Any] = TaskiqResult(is_err=False, return_value=1, execution_time=0)
        await backend.set_result("id", result)
        assert (await backend.get_result("id")).return_value == 1
        await broker.kick(message("a"))
    assert rows(tmp_path, "SELECT count(*) FROM results") == [(0,)]
    assert (tmp_path / "results.db").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://tasks.db", "write three slashes before a file"),
        ("sqlite://", "write three slashes before a file"),
        ("sqlite:///", "name a file"),
        ("sqlite:///folder/", "name a file"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite://:memory:", "use memory://"),
        ("sqlite:///%ff", "not percent-encoded UTF-8"),
        ("sqlite:///a%00b", "name a file"),
    ],
)
def test_urls_that_name_no_file(url: str, told: str) -> None:
    """A URL without a file says how to write one."""
    with pytest.raises(BrokerURLError, match=told):
        broker_from(url)


async def test_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where the program starts, or in full; percent-encoded."""
    monkeypatch.chdir(tmp_path)
    relative, odd = broker_from("sqlite:///tasks.db"), broker_from("sqlite:///t%20a%3Fsks%25.db")
    assert isinstance(relative, SQLiteBroker)
    assert isinstance(odd, SQLiteBroker)
    monkeypatch.chdir("/")
    async with up(relative, odd):
        await odd.kick(message("a"))
    assert {"tasks.db", "t a?sks%.db"} <= {each.name for each in tmp_path.iterdir()}
