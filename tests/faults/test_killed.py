"""Workers that are killed, stopped, idle or slow: nothing is lost, nothing is run twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic

import pytest

from tests.faults.conftest import Idle, Make
from tests.faults.harness import LISTENING, LONG, SLACK, Bench, kill_all, wait_while

pytestmark = pytest.mark.faults


def test_sent_with_no_worker(make: Make, kind: str) -> None:
    """20 tasks sent with no worker: all run when one starts."""
    bench = make(kind)
    keys = bench.send_keys("quick", "early", 20)
    with bench.worker():
        bench.journal.wait("end", keys)
    assert not bench.repeated()


def test_two_workers(make: Make, kind: str) -> None:
    """2 workers, 200 tasks: each exactly once."""
    bench = make(kind, deadline=2)
    with bench.worker("--workers", "2", "--max-async-tasks", "20") as worker:
        worker.wait_for(LISTENING, 2)
        keys = bench.send_keys("slow", "shared", 200, 0.1)
        bench.journal.wait("end", keys)
        assert len(bench.journal.pids("end")) == 2
        wait_while(worker, 3)  # what was not acknowledged would come again
    assert not bench.repeated()


def killed_in_a_task(bench: Bench, program: str = "program") -> None:
    """Kill the one of two workers that runs a task."""
    with bench.worker("--workers", "2", program=program) as worker:
        worker.wait_for(LISTENING, 2)
        [key] = bench.send_keys("stuck_once", "killed", 1)
        bench.journal.wait("start", [key])
        [pid] = bench.journal.pids("start")
        os.kill(pid, signal.SIGKILL)
        bench.journal.wait("end", [key], 3 + SLACK)
    assert bench.journal.counted("start")[key] == 2


def test_killed_in_a_task(make: Make, kind: str) -> None:
    """kill -9 in a task, on an otherwise idle queue: it runs again, with no new message."""
    killed_in_a_task(make(kind))


def sigterm_with_a_backlog(bench: Bench, program: str = "program") -> None:
    """Stop a worker that has 60 messages, and start another one."""
    with bench.worker("--max-async-tasks", "4", program=program) as worker:
        worker.wait_for(LISTENING)
        keys = bench.send_keys("slow", "backlog", 60, 0.5)
        bench.journal.wait_for_any("start", "backlog", 4)
        worker.send(signal.SIGTERM)
        worker.wait()
        started = bench.journal.counted("start")
        assert len(started) < 40, "it has not stopped"
        assert started == bench.journal.counted("end"), "what ran was not finished"
    with bench.worker(program=program) as worker:
        worker.wait_for(LISTENING)
        bench.journal.wait("end", keys, SLACK)
    assert not bench.repeated()


def test_sigterm_with_a_backlog(make: Make, kind: str) -> None:
    """SIGTERM with a backlog of 60: what runs is finished, all else is done after a restart.

    The deadline is long, so that nothing comes back because it has passed.
    """
    sigterm_with_a_backlog(make(kind, deadline=60))


def test_killed_with_a_backlog(make: Make, kind: str) -> None:
    """kill -9 with a backlog of 60: all are done; what had not started runs once."""
    bench = make(kind)
    with bench.worker("--max-async-tasks", "4") as worker:
        worker.wait_for(LISTENING)
        keys = bench.send_keys("slow", "backlog", 60, 0.5)
        bench.journal.wait_for_any("end", "backlog", 4)
        kill_all(worker)
    started = bench.journal.counted("start")
    with bench.worker() as worker:
        worker.wait_for(LISTENING)
        bench.journal.wait("end", keys, 3 + SLACK)
        assert set(bench.repeated()) <= set(started)
        assert len(bench.repeated()) <= 8


def test_longer_than_the_deadline(make: Make, kind: str) -> None:
    """A task three times as long as the deadline, in the loop and in a thread: runs once."""
    bench = make(kind, deadline=2)
    with bench.worker("--workers", "2") as worker:
        worker.wait_for(LISTENING, 2)
        keys = bench.send_keys("slow", "loop", 1, 6) + bench.send_keys("blocking", "thread", 1, 6)
        bench.journal.wait("end", keys, 6 + 5 * SLACK)
        assert not bench.repeated()


def test_idle(idle: Callable[[str], Idle], kind: str) -> None:
    """60 s idle: no restarts, no errors, and the next task is run by the same process."""
    it = idle(kind)
    bench, worker = it.bench, it.worker
    wait_while(worker, max(0.0, it.since + (60 if LONG else 20) - monotonic()))
    start = monotonic()
    bench.journal.wait("end", bench.send_keys("quick", "after", 1))
    assert monotonic() - start < SLACK
    assert len(bench.journal.pids("end")) == 1
    for sign in ("restarted", "ERROR", "WARNING", "Traceback"):
        assert sign not in worker.log, worker.log
