"""Files that can't be used: one clear error each, and nothing lost."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastask import BrokerUnavailableError, FastTask, NotSentError, StorageError
from fastask.brokers.sqlite import errors
from fastask.brokers.sqlite.database import SCHEMA_VERSION, Storage
from fastask.brokers.sqlite.store import Store
from tests.behaviour.sqlite_files import WAIT, made, message, taken, texts, up
from tests.behaviour.test_sqlite_writer import insert


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for only shortly."""
    patiently = errors.patiently

    def shortly(attempt: object, patience: float = 0.05) -> object:
        return patiently(attempt, patience)  # type: ignore[arg-type]

    for module in ("database", "writer"):
        monkeypatch.setattr(f"fastask.brokers.sqlite.{module}.patiently", shortly)


async def refusal(folder: Path, name: str = "tasks.db", **query: Any) -> str:
    """Say why a file can't be used, as a start tells it."""
    with pytest.raises(BrokerUnavailableError) as caught:
        async with asyncio.timeout(WAIT):
            await made(folder, name, **query).startup()
    return str(caught.value)


async def test_newer_schema(tmp_path: Path) -> None:
    """A file of a newer fastask is left as it is."""
    async with up(made(tmp_path)):
        pass
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    told = await refusal(tmp_path)
    assert f"its tables are version {SCHEMA_VERSION + 1}" in told
    assert "update fastask here" in told


async def test_file_of_another_program(tmp_path: Path) -> None:
    """Somebody's database is not written to."""
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
        connection.execute("CREATE TABLE messages (id)")
    before = (tmp_path / "tasks.db").read_bytes()
    assert "another program's database" in await refusal(tmp_path)
    assert (tmp_path / "tasks.db").read_bytes() == before


async def test_no_database(tmp_path: Path) -> None:
    """A file of another kind is left as it is."""
    (tmp_path / "tasks.db").write_text("no database, " * 1000)
    assert "it is no SQLite database" in await refusal(tmp_path)
    assert (tmp_path / "tasks.db").read_text() == "no database, " * 1000


async def test_damaged(tmp_path: Path) -> None:
    """A damaged file is told of, with what can be done."""
    async with up(broker := made(tmp_path)):
        for number in range(200):
            await broker.kick(message(f"{number}" * 100))
    header = (tmp_path / "tasks.db").read_bytes()[:100]
    (tmp_path / "tasks.db").write_bytes(header + b"\xff" * 100_000)
    told = await refusal(tmp_path)
    assert "it is damaged" in told
    assert ".recover" in told


async def test_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").mkdir()
    assert "it is a folder" in await refusal(tmp_path)


async def test_no_folder(tmp_path: Path) -> None:
    """It is told at once, however long a start would wait, and with no other advice."""
    told = await refusal(tmp_path, "no/such/tasks.db", wait=60)
    assert told.endswith(f"mkdir -p {tmp_path}/no/such)")


async def test_name_that_is_too_long(tmp_path: Path) -> None:
    """What the system says of a name is passed on."""
    with pytest.raises(StorageError, match=r"says 'File name too long'; name another file\)?$"):
        Storage(str(tmp_path / f"{'a' * 300}.db")).open()


async def test_made_by_another_process_meanwhile(tmp_path: Path) -> None:
    """Who opens a file in the moment in which another one makes the tables finds them."""
    path = str(tmp_path / "tasks.db")

    class Late:
        """A connection that reads what tables there are after another process made them."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection
            self._is_first = True

        def execute(self, statement: str, *more: Any) -> sqlite3.Cursor:
            if "sqlite_master" in statement and self._is_first:
                self._is_first = False
                Storage(path).open().close()
            return self._connection.execute(statement, *more)

    class Slow(Storage):
        def _prepare(self, connection: sqlite3.Connection) -> None:
            late: Any = Late(connection)
            super()._prepare(late)

    with closing(Slow(path).open()) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)


async def test_folder_that_can_not_be_entered_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that can't be seen is not taken for one that is gone: what is open goes on."""
    broker = made(tmp_path)
    stat = os.stat

    def refused(path: Any, *more: Any, **options: Any) -> os.stat_result:
        if str(path) == str(tmp_path / "tasks.db"):
            raise PermissionError(13, "Permission denied")
        return stat(path, *more, **options)

    async with up(broker):
        await broker.kick(message("a"))
        monkeypatch.setattr(os, "stat", refused)
        await broker.kick(message("b"))
        monkeypatch.undo()
        await broker.kick(message("c"))
        assert texts(await taken(broker, 3)) == ["a", "b", "c"]
    assert "was deleted" not in caplog.text


async def test_locked_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock may be waited for; the error says how."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    async with up(made(tmp_path)):
        pass
    with closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told = await refusal(tmp_path)
        assert told.endswith("; add wait=60 to the URL's query to have it waited for")
        async with asyncio.timeout(WAIT):
            starting = asyncio.create_task((broker := made(tmp_path, wait=60)).startup())
            await asyncio.sleep(0)
            other.execute("COMMIT")
            await starting
    await broker.shutdown()


async def test_file_system_without_locks(tmp_path: Path) -> None:
    """Where the write-ahead log does not work, as on a network, the start is refused."""
    with pytest.raises(StorageError, match="put it on a disk of this host"):
        Storage(str(tmp_path / "tasks.db"), vfs="unix-none").open()


@pytest.mark.usefixtures("impatient")
async def test_locked(tmp_path: Path) -> None:
    """A lock that lasts is an error that says who may hold it; later it works again."""
    broker = made(tmp_path)
    async with up(broker):
        await broker.kick(message("a"))
        with closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError, match="another program has kept it locked"):
                await broker.kick(message("lost"))
        await broker.kick(message("b"))
        assert texts(await taken(broker, 2)) == ["a", "b"]


async def test_disk_full(tmp_path: Path) -> None:
    """What does not fit any more is refused; what was accepted is there."""
    store = Store(str(tmp_path / "tasks.db"))
    await store.writer.do(insert, "a")
    await store.close()
    broker = made(tmp_path)
    async with up(broker):
        await broker.kick(message("kept"))
        await broker._store.writer.do(_full, None)
        with pytest.raises(StorageError, match="the disk is full"):
            await broker.kick(message(os.urandom(1_000_000)))
        await broker._store.writer.do(_roomy, None)
        await broker.kick(message("after"))
        assert texts(await taken(broker, 2)) == ["kept", "after"]


def _full(transaction: Any, batch: Any) -> list[None]:
    transaction.execute("PRAGMA max_page_count=1")
    return [None] * len(batch)


def _roomy(transaction: Any, batch: Any) -> list[None]:
    transaction.execute("PRAGMA max_page_count=1000000")
    return [None] * len(batch)


async def test_sender_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kiq` names the task and the broker, keeps the cause, and has no server looked for."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    (tmp_path / "tasks.db").mkdir()
    ft = FastTask("a:b", f"sqlite:///{tmp_path}/tasks.db")

    @ft.task("add")
    async def add(a: int) -> int:
        return a

    with pytest.raises(
        NotSentError,
        match=r"task 'add' was not sent, SQLiteBroker did not.*a folder; name a file in it\)$",
    ):
        await add.kiq(1)
    await ft.broker.shutdown()


NOBODY = """
import asyncio, os, sys
from fastask.brokers import broker_from
broker = broker_from(sys.argv[1])  # while everything can be read
import fastask.brokers.sqlite.errors, getpass, pwd
os.setgid(65534)
os.setuid(65534)
async def main():
    try:
        await broker.startup()
        print("started")
    except Exception as error:
        print(error)
    await broker.shutdown()
asyncio.run(main())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("what", ["folder", "file", "locked folder"])
async def test_no_permission(tmp_path: Path, what: str) -> None:
    """Who may not write is named, and what has to be allowed."""
    async with up(made(tmp_path)):
        pass
    if what == "folder":
        (tmp_path / "tasks.db").unlink()
    for each in (tmp_path, *tmp_path.parents):
        if each.is_relative_to(tempfile.gettempdir()) and str(each) != tempfile.gettempdir():
            each.chmod(each.stat().st_mode | 0o055)
    if what == "locked folder":
        tmp_path.chmod(0o700)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        NOBODY,
        f"sqlite:///{tmp_path}/tasks.db",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        told, _ = await process.communicate()
    assert "'nobody' can't write it" in told.decode()
