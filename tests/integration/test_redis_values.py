"""The Redis example across real processes: uvicorn, `taskiq worker` and a Redis server."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.integration.processes import (
    Process,
    call,
    found,
    free_port,
    server,
    wait_for_server,
    worker,
)

APP = "examples.redis_values.app"


class Running(NamedTuple):
    url: str
    web: Process
    worker: Process


@pytest.fixture
def running(redis_url: str, queue: str) -> Iterator[Running]:
    """The example, served and worked for."""
    port = free_port()
    with ExitStack() as stack:
        web = stack.enter_context(server(f"{APP}:app", port, REDIS_URL=redis_url, QUEUE=queue))
        working = stack.enter_context(
            worker(f"{APP}:broker", "--workers", "1", REDIS_URL=redis_url, QUEUE=queue)
        )
        wait_for_server(f"http://127.0.0.1:{port}")
        working.wait_for("Listening started")
        yield Running(f"http://127.0.0.1:{port}", web, working)


@pytest.mark.redis
@pytest.mark.parametrize("style", ["", "/older"], ids=["plain FastAPI", "older bridge"])
def test_value_written_by_a_task_is_read_by_a_route(running: Running, style: str) -> None:
    """POST enqueues a task that writes through the pool, GET reads through the same one."""
    status, ref = call(f"{running.url}{style}/val", {"key": f"k{style}", "val": "v"})
    assert status == 202, ref
    assert found(f"{running.url}{style}/val?key=k{style}") == "v"
    running.worker.wait_for(f"Executing task {APP}:save.* with ID: {ref['id']}")
    assert "Traceback" not in running.worker.log + running.web.log


@pytest.mark.redis
def test_worker_says_what_it_serves_and_ends_on_sigterm(running: Running) -> None:
    """A worker names its app at start, and on SIGTERM it ends by itself with status 0."""
    running.worker.wait_for(rf"worker of {APP}:app: 2 tasks, RedisBroker \(redis://127.0.0.1:")
    running.worker.send(signal.SIGTERM)
    assert running.worker.wait() == 0
    assert "Shutting down the broker" in running.worker.log
    assert "Traceback" not in running.worker.log


@pytest.mark.redis
def test_wrong_argument_is_refused_before_it_is_sent(running: Running) -> None:
    """FastAPI's own 422 for the route's body; nothing reaches the worker."""
    assert call(f"{running.url}/val", {"key": "k"})[0] == 422
    assert "Executing task" not in running.worker.log
