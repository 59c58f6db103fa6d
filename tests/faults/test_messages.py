"""Messages that are no good for a worker, and many or large ones."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.conftest import Make
from tests.faults.harness import LISTENING, Client, rss_peak, wait_while
from tests.faults.servers import NatsServer
from tests.faults.tasks import RETRY_DELAY

pytestmark = pytest.mark.faults

MEBIBYTE = 1 << 20


def test_unknown_task(make: Make, kind: str) -> None:
    """A rolling deploy: old workers hand new tasks back, and at their end new ones have them.

    Beside an old worker that stays, a new one gets a message by chance: each time that it is
    handed back, one of them is first.
    """
    bench = make(kind)
    with bench.worker("--max-async-tasks", "8", FAULTS_FORMER="1") as old:
        old.wait_for(LISTENING)
        keys = bench.send_keys("newcomer", "new", 4)
        old.wait_for("no task is named 'newcomer' here", 4)
        # As if it had been handed back nine times already, which takes 20 s.
        [nobodys] = bench.send("quik", [["nobody"]], labels={"X-Taskiq-requeue": 9})
        with bench.worker() as new:
            new.wait_for(LISTENING)
            old.send(signal.SIGTERM)
            bench.journal.wait("end", keys)
            answer = bench.result("quick", nobodys)
            old.wait()
    assert not bench.repeated()
    assert answer.error is not None
    assert answer.error.startswith("UnknownTaskError: "), answer.error
    assert "'quik'" in answer.error
    assert "'quick'" in answer.error


def test_poison(make: Make, kind: str) -> None:
    """A message that kills its worker each time is given up, and the queue goes on."""
    bench = make(kind, deadline=1)
    with bench.worker("--workers", "2") as worker:
        worker.wait_for(LISTENING, 2)
        [task_id] = bench.send("poison", [["poison"]])
        bench.journal.wait("start", ["poison"])
        keys = bench.send_keys("quick", "beside", 20)
        bench.journal.wait("end", keys)
        answer = bench.result("poison", task_id)
        assert answer.error is not None
        assert answer.error.startswith("DeadLetterError: "), answer.error
        assert bench.journal.counted("start")["poison"] == 5
        assert bench.server.dead_letters(bench.queue) == 1
        bench.journal.wait("end", bench.send_keys("quick", "behind", 5))


def test_delay_of_a_retry(make: Make, kind: str) -> None:
    """A task that failed is run again after its delay, also if its worker is replaced meanwhile."""
    bench = make(kind)
    with bench.worker() as first:
        [task_id] = bench.send("flaky", [["retried"]])
        bench.journal.wait_for_any("ran", "retried@", 1)
        first.wait_for("Retrying 1/")
        first.send(signal.SIGTERM)
        first.wait()
    with bench.worker():
        answer = bench.result("flaky", task_id)
    assert (answer.value, answer.error) == ("retried", None)
    before, after = (float(line.key.partition("@")[2]) for line in bench.journal.lines())
    assert after - before >= RETRY_DELAY - 0.1


def test_sent_once(make: Make, kind: str) -> None:
    """Sent twice with one id, a task runs once; RabbitMQ can't, and the key is refused."""
    bench = make(kind)
    with bench.worker():
        calls = [["once"]]
        if kind == "amqp":
            answer = bench.client.ask("send", url=bench.url, task="quick", calls=calls, once="5")
            assert answer.error is not None
            assert "RabbitBroker can't send a message once" in answer.error
            return
        for number in range(2):
            [task_id] = bench.send("quick", calls, once="5")
            assert bench.result("quick", task_id).value == "once"
            bench.journal.wait("end", bench.send_keys("quick", f"after-{number}", 3))
    assert bench.journal.counted("start")["once"] == 1


def test_large_argument(make: Make, kind: str) -> None:
    """An argument of 10 MiB arrives as it is."""
    bench = make(kind)
    with bench.worker():
        size = 10 * MEBIBYTE
        more = {"task": "big", "keys": ["large"], "size": size}
        [task_id] = bench.client.tell("send_big", url=bench.url, **more)
        answer = bench.result("big", task_id)
    assert (answer.value, answer.error) == (size, None)
    assert not bench.repeated()


def test_too_large_argument(client: Client, tmp_path: Path) -> None:
    """NATS takes 1 MiB unless it is told otherwise, and the error says so."""
    with NatsServer(tmp_path, max_payload="1MB") as server:
        url = server.url(queue="large")
        client.tell("open", url=url)
        more = {"task": "big", "keys": ["large"], "size": 2 * MEBIBYTE}
        answer = client.ask("send_big", url=url, **more)
        client.tell("close", url=url)
    assert answer.error is not None
    assert answer.error.startswith("NotSentError: task 'big' was not sent, "), answer.error
    assert "max" in answer.error.lower(), answer.error
    assert "payload" in answer.error.lower(), answer.error


def test_ten_thousand_waiting(make: Make, kind: str) -> None:
    """10,000 messages wait for a worker that is started then: all are run, each once."""
    bench = make(kind, deadline=10)
    keys = bench.send_keys("quick", "many", 10_000)
    with bench.worker():
        bench.journal.wait("end", keys, 180)
    assert not bench.repeated()


def test_memory_of_a_worker(make: Make, kind: str) -> None:
    """150 messages of 1 MiB wait for a worker that runs 4 at once: it holds few of them."""
    bench = make(kind, prefetch=4)
    with bench.worker("--max-async-tasks", "4") as worker:
        bench.journal.wait("end", bench.send_keys("quick", "first", 1))
        [pid] = bench.journal.pids("end")
        before = rss_peak(pid)
        keys = [f"large-{number}" for number in range(150)]
        more = {"task": "together", "keys": keys, "size": MEBIBYTE}
        bench.client.tell("send_big", url=bench.url, **more)
        bench.journal.wait_for_any("start", "large", 4)
        wait_while(worker, 4)
        grown = rss_peak(pid) - before
        bench.open_gate()
        bench.journal.wait("end", keys)
        grown_then = rss_peak(pid) - before
    # 4 run, 4 more are taken at most; each as bytes, text and parsed, and copies meanwhile.
    assert grown < 70 * MEBIBYTE, f"it has grown by {grown / MEBIBYTE:.0f} MiB"
    assert grown_then < 90 * MEBIBYTE, f"it has grown by {grown_then / MEBIBYTE:.0f} MiB"


def test_a_thousand_at_once(make: Make, kind: str) -> None:
    """1,000 tasks run in one process at the same time, longer than the deadline."""
    bench = make(kind, deadline=2)
    with bench.worker("--max-async-tasks", "1000") as worker:
        worker.wait_for(LISTENING)
        keys = bench.send_keys("together", "crowd", 1000)
        bench.journal.wait("start", keys)
        wait_while(worker, 3)
        bench.open_gate()
        bench.journal.wait("end", keys)
        wait_while(worker, 3)  # what was not acknowledged would come again
    assert not bench.repeated()
