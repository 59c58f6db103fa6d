"""Servers that are stopped, killed, started late: of brokers, and of results."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from fastask.brokers.inbox import MAX_STARTS
from tests.faults.conftest import Make
from tests.faults.harness import LISTENING, LONG, PATIENCE, SLACK, Bench, wait_while
from tests.faults.servers import ProcessServer, RedisServer, Server
from tests.integration.processes import wait_until

pytestmark = pytest.mark.faults

OUTAGE = 10 if LONG else 6  # seconds: longer than the deadline and the timeouts of sockets
IMPORT = 3 * PATIENCE  # seconds that a worker process takes to import its program
SECRET = "s3cret-of-the-url"


def test_server_restarts(make: Make, kind: str) -> None:
    """A server stops for some seconds in the middle: nothing is lost, no worker is deaf."""
    bench = make(kind)
    with bench.worker("--workers", "2", "--max-async-tasks", "4") as worker:
        worker.wait_for(LISTENING, 2)
        keys = bench.send_keys("slow", "long", 1, OUTAGE + 1)
        keys += bench.send_keys("slow", "before", 40, 0.3)
        bench.journal.wait_for_any("end", "before", 8)
        bench.server.stop()
        wait_while(worker, OUTAGE)
        bench.server.start()
        bench.journal.wait("end", keys)
        _check_both_work(bench)
        assert "restarted with pid" not in worker.log, worker.log


def test_server_is_killed(make: Make, kind: str) -> None:
    """A server gets SIGKILL and starts again at once."""
    if kind == "sqlite":
        pytest.skip("it has no server to kill")
    bench = make(kind)
    with bench.worker("--workers", "2", "--max-async-tasks", "4") as worker:
        worker.wait_for(LISTENING, 2)
        if kind == "amqp":  # RabbitMQ 3.10 loses a quorum queue that was just declared
            wait_while(worker, 2)
        keys = bench.send_keys("slow", "before", 40, 0.3)
        bench.journal.wait_for_any("end", "before", 8)
        bench.server.kill()
        bench.server.start()
        bench.journal.wait("end", keys)
        _check_both_work(bench)


def test_server_freezes(make: Make, kind: str) -> None:
    """A server hangs for some seconds: then it is used as before, at once and by both workers."""
    bench = make(kind)
    server = bench.server
    if not isinstance(server, ProcessServer):
        pytest.skip("it is no single process")
    with bench.worker("--workers", "2", "--max-async-tasks", "4") as worker:
        worker.wait_for(LISTENING, 2)
        keys = bench.send_keys("slow", "long", 4, OUTAGE + 1)
        bench.journal.wait("start", keys)
        server.freeze()
        try:
            wait_while(worker, OUTAGE)
        finally:
            server.thaw()
        bench.send_until_taken("quick", "first")
        bench.journal.wait("end", ["first"], SLACK)
        bench.journal.wait("end", keys)
        _check_both_work(bench)


def _check_both_work(bench: Bench) -> None:
    """Check that both processes run what is sent now."""
    bench.send_until_taken("quick", "probe")
    keys = bench.send_keys("slow", "after", 40, 0.2)
    bench.journal.wait("end", [*keys, "probe"])
    assert len(bench.journal.pids("end", "after")) == 2, "a worker is deaf"


def test_not_there_at_start(make: Make, kind: str) -> None:
    """A server is not there when a web process and a worker start.

    That is an error that says so; with `wait` in the URL they wait, and log that they do.
    """
    if kind == "sqlite":
        pytest.skip("it has no server to wait for")
    at_once, patient = make(kind, is_open=False), make(kind, is_open=False, wait=60)
    at_once.server.stop()
    _check_error(at_once)
    _check_wait(patient)


def _check_error(bench: Bench) -> None:
    scheme, _, rest = bench.url.partition("://")
    place = rest.rpartition("@")[2]
    bench.url = f"{scheme}://user:{SECRET}@{place}"
    answer = bench.client.ask("open", url=bench.url, results=bench.results)
    assert answer.error is not None
    assert answer.error.startswith("BrokerUnavailableError: "), answer.error
    assert answer.seconds < SLACK
    assert re.split("[/?]", place)[0] in answer.error
    with bench.worker("--max-fails", "1") as worker:
        worker.wait_for("Pid of a main process")
        start = monotonic()
        worker.wait_for("startup failed: .*BrokerUnavailableError")
        assert monotonic() - start < SLACK + IMPORT
        assert worker.wait() != 0
    for told in (answer.error, bench.client.log(), worker.log):
        assert SECRET not in told


def _check_wait(bench: Bench) -> None:
    told = "waiting for it, "
    before = len(bench.client.log())
    opening = bench.client.begin("open", url=bench.url, results=bench.results)
    with bench.worker() as worker:
        worker.wait_for(told, 2)
        wait_until(lambda: told in bench.client.log()[before:], "the client logs nothing")
        bench.server.start()
        opened = bench.client.finish(opening)
        assert opened.error is None, opened.error
        worker.wait_for(LISTENING)
        bench.journal.wait("end", bench.send_keys("quick", "late", 3))


def test_kiq_while_down(make: Make, kind: str) -> None:
    """A message that is sent while the server is down: an error in 5 s, and no surprise later."""
    bench = make(kind)
    again = {} if kind == "amqp" else {"once": "order-1"}  # that one can't send once
    bench.server.stop()
    sent = {"url": bench.url, "task": "quick"}
    plain = bench.client.begin("send", calls=[["refused"]], **sent)
    repeated = bench.client.begin("send", calls=[["repeated"]], **sent, **again)
    for number in (plain, repeated):
        answer = bench.client.finish(number)
        assert answer.error is not None
        assert answer.error.startswith("NotSentError: task 'quick' was not sent, "), answer.error
        assert "Broker did not take it" in answer.error
        assert answer.seconds < SLACK
    bench.server.start()
    bench.send_until_taken("quick", "repeated", **again)
    bench.send_until_taken("quick", "repeated-2", **again)
    with bench.worker() as worker:
        bench.send_until_taken("quick", "last")
        bench.journal.wait("end", ["repeated", "last"])
        wait_while(worker, 1)
    started = bench.journal.counted("start")
    assert started["repeated"] == 1
    assert started["repeated-2"] == (1 if kind == "amqp" else 0)
    assert started["refused"] == 0


def test_results_are_down(make: Make, results: Callable[[], RedisServer], kind: str) -> None:
    """The result backend is down when a task ends: its result is kept in the end."""
    bench = make(kind, own_results=True, deadline=60)
    unsaved = "is not saved yet"
    with bench.worker() as worker:
        worker.wait_for(LISTENING)
        server = results()
        server.stop()
        [first] = bench.send("quick", [["saved-later"]])
        worker.wait_for(unsaved)
        server.start()
        answer = bench.result("quick", first)
        assert (answer.value, answer.error) == ("saved-later", None)
        server.stop()
        [second] = bench.send("quick", [["redelivered"]])
        worker.wait_for(unsaved, 2)
        worker.send(signal.SIGTERM)
        worker.wait()
    results()
    with bench.worker():
        answer = bench.result("quick", second)
        assert (answer.value, answer.error) == ("redelivered", None)
    started = bench.journal.counted("start")
    assert started == {"saved-later": 1, "redelivered": 2}


def test_results_stay_down(make: Make, results: Callable[[], RedisServer], kind: str) -> None:
    """The result backend is down for long: the task runs again and again, and is no dead letter."""
    bench = make(kind, own_results=True)
    with bench.worker(program="hasty") as worker:
        worker.wait_for(LISTENING)
        server = results()
        _check_unsaved(bench, server.stop, server.start)


def test_results_in_a_file_are_away(make: Make, tmp_path: Path) -> None:
    """The same for results in a file whose folder is away."""
    kept, away = tmp_path / "kept", tmp_path / "away"
    kept.mkdir()
    bench = make("sqlite", is_open=False)
    bench.results = f"sqlite:///{kept}/results.db"
    bench.open()
    with bench.worker(program="hasty") as worker:
        worker.wait_for(LISTENING)
        _check_unsaved(bench, lambda: kept.rename(away), lambda: away.rename(kept))


def test_results_of_nats_are_down(make: Make, servers: Callable[[str], Server]) -> None:
    """The same for results in a NATS server."""
    server = servers("nats")
    bench = make("sqlite", is_open=False)
    bench.results = server.url(queue=bench.queue)
    bench.open()
    with bench.worker(program="hasty") as worker:
        worker.wait_for(LISTENING)
        _check_unsaved(bench, server.stop, server.start)


def _check_unsaved(bench: Bench, stop: Callable[[], object], start: Callable[[], object]) -> None:
    """Check that the only message of a worker runs until its result can be saved."""
    stop()
    [sent] = bench.send("quick", [["again"]])
    bench.journal.wait("end", ["again"])
    runs = bench.journal.counted
    wait_until(lambda: runs("end")["again"] > MAX_STARTS + 1, "it runs no more", 8 * SLACK)
    start()
    # The client has to find the server, too.
    wait_until(lambda: bench.result("quick", sent).error is None, "there is no result", 8 * SLACK)
    assert bench.result("quick", sent).value == "again"
