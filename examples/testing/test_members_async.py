"""Tests with an async client, in a database that stays: each test is rolled back.

A database in memory could be as fresh as in the other tests. A file stands here for the server
that most projects test with: its tables are made once, and no test leaves anything in them.

python -m pytest examples/testing/test_members_async.py
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from examples.testing.app import app, ft
from examples.testing.database import Base, Member, Sessions, get_sessions
from examples.testing.fakes import Outbox
from examples.testing.mail import get_mailer
from examples.testing.tasks import welcome
from fastask.testing import AsyncTasks


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "members.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture
async def sessions(database: Path) -> AsyncIterator[Sessions]:
    """Sessions whose commits end in one transaction, which is rolled back."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    begin_by_hand(engine)
    async with engine.connect() as connection, connection.begin() as transaction:
        yield async_sessionmaker(
            connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        )
        await transaction.rollback()
    await engine.dispose()


def begin_by_hand(engine: AsyncEngine) -> None:
    """Python's SQLite driver begins transactions too late for savepoints; others need no such."""

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


@pytest.fixture
async def tasks(sessions: Sessions, outbox: Outbox) -> AsyncIterator[AsyncTasks]:
    async with ft.testing() as tasks:
        tasks.override(get_sessions, lambda: sessions)
        tasks.override(get_mailer, lambda: outbox)
        yield tasks


@pytest.fixture
async def client(tasks: AsyncTasks) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("time", ["first", "second"])
async def test_each_test_finds_the_tables_empty(
    client: httpx.AsyncClient, sessions: Sessions, outbox: Outbox, time: str
) -> None:
    """The second time finds nothing of the first, though route and task have committed."""
    async with sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Member)) == 0
    answer = await client.post("/members", json={"email": "ann@example.org"})
    member_id = answer.json()["id"]
    assert (await client.get(f"/members/{member_id}")).json()["is_welcomed"]
    assert len(outbox.mails) == 1


async def test_task_with_data_of_the_test(tasks: AsyncTasks, sessions: Sessions) -> None:
    """A test may write what a task is to find."""
    async with sessions.begin() as session:
        session.add(Member(id=5, email="bob@example.org", joined=func.current_date()))
    await tasks.run(welcome, 5)
    async with sessions() as session:
        assert (await session.get_one(Member, 5)).is_welcomed
