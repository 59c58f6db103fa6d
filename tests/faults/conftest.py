"""One server of each kind for the session, a queue of its own for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.faults.harness import Bench, Client
from tests.faults.servers import KINDS, RedisServer, Server, made
from tests.integration.processes import Process

Make = Callable[..., Bench]
IS_DISTRIBUTED = "PYTEST_XDIST_WORKER" in os.environ


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each row with every kind."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", KINDS)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Give the server of a kind, which is started for the first who asks."""
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def get(kind: str) -> Server:
            if kind not in running:
                folder = tmp_path_factory.mktemp(kind)
                running[kind] = stack.enter_context(made(kind, folder))
            if not running[kind].is_running:  # a test has failed after it had stopped it
                running[kind].start()
            return running[kind]

        yield get


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RedisServer]]:
    """Give the server that keeps the results of those that keep none."""
    running: list[RedisServer] = []
    with ExitStack() as stack:

        def get() -> RedisServer:
            if not running:
                server = RedisServer(tmp_path_factory.mktemp("results"))
                running.append(stack.enter_context(server))
            if not running[0].is_running:
                running[0].start()
            return running[0]

        yield get


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A program that sends tasks, for the whole session."""
    with Client(tmp_path_factory.mktemp("client") / "log") as sending:
        yield sending


@dataclass
class Idle:
    """A worker that has nothing to do.

    Attributes:
        bench: whose worker.
        worker: the worker.
        since: when it ran its last task, by the monotonic clock.
    """

    bench: Bench
    worker: Process
    since: float


@pytest.fixture(scope="session")
def idle(
    servers: Callable[[str], Server],
    results: Callable[[], RedisServer],
    client: Client,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[str], Idle]]:
    """Give an idle worker. Those of all kinds are idle together, to save time."""
    workers: dict[str, Idle | BaseException] = {}
    with ExitStack() as stack:

        def start(kind: str) -> Idle:
            kept = results() if kind == "amqp" else None
            bench = _made(servers(kind), kept, client, tmp_path_factory.mktemp("idle"), {})
            bench.open()
            stack.callback(client.ask, "close", url=bench.url)
            worker = stack.enter_context(bench.worker())
            bench.journal.wait("end", bench.send_keys("quick", "before", 1))
            return Idle(bench, worker, monotonic())

        def get(kind: str) -> Idle:
            asked = {kind} if workers or IS_DISTRIBUTED else _kinds_of(request, "test_idle")
            for each in asked | {kind}:
                if each not in workers:
                    try:
                        workers[each] = start(each)
                    except (Exception, pytest.skip.Exception) as error:
                        workers[each] = error
            found = workers[kind]
            if isinstance(found, BaseException):
                raise found
            return found

        yield get


def _kinds_of(request: pytest.FixtureRequest, name: str) -> set[str]:
    """Give the kinds with which this session runs a test."""
    return {
        kind for kind in KINDS for item in request.session.items if item.name == f"{name}[{kind}]"
    }


@pytest.fixture
def make(
    servers: Callable[[str], Server],
    results: Callable[[], RedisServer],
    client: Client,
    tmp_path: Path,
) -> Iterator[Make]:
    """Make a bench: `make(kind, deadline=3)`; with `own_results`, those are kept elsewhere."""
    benches: list[Bench] = []

    def of(kind: str, is_open: bool = True, own_results: bool = False, **settings: Any) -> Bench:
        kept = results() if kind == "amqp" or own_results else None
        bench = _made(servers(kind), kept, client, tmp_path, settings)
        benches.append(bench)
        if is_open:
            bench.open()
        return bench

    yield of
    for bench in benches:
        for number, worker in enumerate(bench.workers, 1):
            print(f"--- worker {number} of {bench.kind}:\n{worker.log[-20000:]}")  # if it failed
        with suppress(AssertionError):
            client.ask("close", url=bench.url)


def _made(
    server: Server,
    kept: RedisServer | None,
    client: Client,
    folder: Path,
    settings: dict[str, Any],
) -> Bench:
    queue = f"faults_{uuid.uuid4().hex[:12]}"
    url = server.url(**{"queue": queue, "deadline": 3, **settings})
    kept_at = None if kept is None else kept.url(queue=queue)
    return Bench(server, client, folder, queue, url, kept_at)
