"""Results in a NATS bucket, on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from taskiq import TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress, TaskState

from fastask import BrokerUnavailableError
from fastask.brokers.nats import NATSResults, results
from fastask.brokers.nats.results import ResultIsMissingError
from fastask.brokers.url import parsed
from tests.integration.nats_server import WAIT, NatsServer, client, nats_server, up

MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as started:
        yield started


def backend(server: NatsServer, queue: str, ttl: int = 60) -> NATSResults[Any]:
    return results(parsed(f"{server.url}?queue={queue}&results_ttl={ttl}"))


@pytest.fixture
async def kept(server: NatsServer, queue: str) -> AsyncGenerator[NATSResults[Any], None]:
    made = backend(server, queue)
    async with up(made):
        yield made


def result(value: Any, log: str | None = None) -> TaskiqResult[Any]:
    return TaskiqResult(is_err=False, log=log, return_value=value, execution_time=0.5)


@pytest.mark.parametrize("task_id", ["a" * 32, "a b", "a.b.*.>", "ü", "x" * 300, "", "=a/b"])
async def test_result(kept: NATSResults[Any], task_id: str) -> None:
    """Any id can have a result, and no other id has it."""
    assert not await kept.is_result_ready(task_id)
    with pytest.raises(ResultIsMissingError, match="there is no result yet"):
        await kept.get_result(task_id)
    await kept.set_result(task_id, result({"a": [1, "ü", None]}, log="said"))
    assert await kept.is_result_ready(task_id)
    assert not await kept.is_result_ready(f"{task_id}b")
    read = await kept.get_result(task_id)
    assert (read.return_value, read.log, read.execution_time) == ({"a": [1, "ü", None]}, None, 0.5)
    assert (await kept.get_result(task_id, with_logs=True)).log == "said"
    await kept.set_result(task_id, result(2))
    assert (await kept.get_result(task_id)).return_value == 2


async def test_progress(kept: NATSResults[Any]) -> None:
    """Progress is kept beside the result."""
    assert await kept.get_progress("a") is None
    await kept.set_progress("a", TaskProgress(state=TaskState.STARTED, meta={"done": 3}))
    read = await kept.get_progress("a")
    assert read is not None
    assert (read.state, read.meta) == (TaskState.STARTED, {"done": 3})
    assert not await kept.is_result_ready("a")


@pytest.mark.parametrize("size", [262_000, 263_000, MIB, 5 * MIB])
async def test_long_results(kept: NATSResults[Any], size: int) -> None:
    """A result may be longer than a message may be (1 MiB here); it is seen whole or not."""
    await kept.set_result("a", result("x" * size))
    await kept.set_result("a", result("y" * size))
    assert await kept.is_result_ready("a")
    assert (await kept.get_result("a")).return_value == "y" * size
    await kept.set_result("a", result("short"))
    assert (await kept.get_result("a")).return_value == "short"


async def test_ttl(server: NatsServer, queue: str) -> None:
    """Results are kept for their time, which a later release may change."""
    long, short = backend(server, queue, 60), backend(server, queue, 1)
    async with up(long, short):
        await long.set_result("a", result(1))
        await short.set_result("b", result("x" * 600_000))
        assert (await long.get_result("b")).return_value
        end = time.monotonic() + WAIT
        while await long.is_result_ready("a") or await long.is_result_ready("b"):
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        with pytest.raises(ResultIsMissingError):
            await long.get_result("b")


async def test_bucket_is_deleted(server: NatsServer, kept: NATSResults[Any], queue: str) -> None:
    """The bucket is made again, by who writes and by who reads."""
    for write in (True, False):
        await kept.set_result("a", result(1))
        async with client(server) as own:
            await own.jetstream().delete_key_value(f"{queue}_results")
        if write:
            await kept.set_result("b", result(2))
        assert not await kept.is_result_ready("a")
        assert await kept.is_result_ready("b") is write


async def test_server_is_away(tmp_path: Path) -> None:
    """Whoever saves or reads a result while the server is away is told so soon."""
    with nats_server(tmp_path) as server:
        kept, late = backend(server, "q"), backend(server, "q")
        async with up(kept):
            await kept.set_result("a", result(1))
            server.stop()
            for call in (
                kept.set_result("a", result(2)),
                kept.is_result_ready("a"),
                kept.get_result("a"),
                kept.set_progress("a", TaskProgress(state="x", meta=None)),
            ):
                start = time.monotonic()
                with pytest.raises((ConnectionError, TimeoutError)):
                    await call
                assert time.monotonic() - start < 5
            with pytest.raises(BrokerUnavailableError, match="Connect call failed"):
                await late.startup()
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(WAIT):
                while True:
                    try:
                        assert (await kept.get_result("a")).return_value == 1
                        break
                    except (ConnectionError, TimeoutError):
                        await asyncio.sleep(0.05)
