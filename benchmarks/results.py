"""How late a waiting caller has a result, and how many reads of the result backend that takes.

    python -m benchmarks.results            # needs redis-server
    python -m benchmarks.results --runs 1   # one run instead of five

`result()` against Taskiq's `wait_result()`: one `taskiq worker`, a Redis server of its own,
the ways in turn. Lateness is the time from the sending to the result, less the time that the
task itself took. A look every millisecond shows how much of it is not the waiting: sending,
the worker, and what else keeps the machine busy.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from fastapi import FastAPI
from redis import Redis
from redis.exceptions import ConnectionError as NoConnectionError
from taskiq import AsyncBroker, AsyncTaskiqTask, TaskiqResultTimeoutError
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from fastask import FastTask, ResultTimeoutError
from fastask.enqueued import Enqueued
from tests.integration.processes import ended, free_port, wait_until, worker

RUNS, TASKS = 5, 40  # tasks of each length for each way in a run
LENGTHS = (0, 20, 150)  # ms
LATE = 15.0  # ms; what 95 % of the waits with `result()` may be late at most
WAIT, READS = 10.0, 2.0  # seconds without a result, and how many times Taskiq's reads
Ways = dict[str, list[float]]


class Counting(RedisAsyncResultBackend[Any]):
    """Taskiq's backend; it counts how often it is read."""

    reads = 0

    async def is_result_ready(self, task_id: str) -> bool:
        self.reads += 1
        return await super().is_result_ready(task_id)

    async def get_result(self, task_id: str, with_logs: bool = False) -> Any:
        self.reads += 1
        return await super().get_result(task_id, with_logs)


def program(url: str, queue: str) -> tuple[AsyncBroker, Any]:
    """The same broker and task for the worker and for who sends."""
    results: Any = RedisAsyncResultBackend(url, serializer=JSONSerializer())
    made = RedisStreamBroker(url, queue_name=queue).with_result_backend(results)
    ft = FastTask(FastAPI(), made)

    @ft.task("paused")
    async def paused(ms: float) -> float:
        start = time.perf_counter()
        if ms:
            await asyncio.sleep(ms / 1000)
        return (time.perf_counter() - start) * 1000

    return made, paused


def broker() -> AsyncBroker:
    """What `taskiq worker` calls."""
    return program(os.environ["REDIS_URL"], os.environ["QUEUE"])[0]


async def by_result(sent: Enqueued[float]) -> float:
    return await sent.result()


async def by_wait_result(sent: Enqueued[float]) -> float:
    return (await taskiqs(sent).wait_result()).return_value


async def by_looking(sent: Enqueued[float]) -> float:
    return (await taskiqs(sent).wait_result(check_interval=0.001)).return_value


def taskiqs(sent: Enqueued[float]) -> AsyncTaskiqTask[float]:
    """The handle that Taskiq itself gives."""
    return AsyncTaskiqTask(sent.task_id, sent.result_backend, sent.return_type)


WAYS: dict[str, Callable[[Enqueued[float]], Awaitable[float]]] = {
    "result()": by_result,
    "wait_result()": by_wait_result,
    "look every ms": by_looking,
}


async def late(task: Any, ms: float, way: str) -> float:
    """Milliseconds from the sending to the result, less those of the task."""
    start = time.perf_counter()
    took = await WAYS[way](await task.kiq(float(ms)))
    return (time.perf_counter() - start) * 1000 - took


async def measured(task: Any, lengths: tuple[int, ...] = LENGTHS) -> dict[int, Ways]:
    """One run."""
    times: dict[int, Ways] = {ms: {way: [] for way in WAYS} for ms in lengths}
    for turn in range(TASKS + 1):
        for ms in lengths:
            ways, first = list(WAYS), turn % len(WAYS)
            for way in ways[first:] + ways[:first]:
                took = await late(task, ms, way)
                if turn:  # the first one warms up
                    times[ms][way].append(took)
    return times


async def counted(url: str) -> dict[str, int]:
    """Reads for a result that does not come, in waits of the same time."""
    ours, theirs = Counting(url), Counting(url)

    async def with_ours() -> None:
        with contextlib.suppress(ResultTimeoutError):
            await Enqueued[Any]("never", ours).result(timeout=WAIT)

    async def with_theirs() -> None:
        with contextlib.suppress(TaskiqResultTimeoutError):
            await AsyncTaskiqTask[Any]("never", theirs).wait_result(timeout=WAIT)

    await asyncio.gather(with_ours(), with_theirs())
    await asyncio.gather(ours.shutdown(), theirs.shutdown())
    return {"result()": ours.reads, "wait_result()": theirs.reads}


def late_table(runs: list[dict[int, Ways]]) -> None:
    """Medians of the runs' medians and p95s, and from where to where these go."""
    print(f"{'task, way':24}{'median ms':>10}{'of runs':>16}{'p95 ms':>8}{'of runs':>16}{'due':>8}")
    for ms in LENGTHS:
        for way in WAYS:
            took = [run[ms][way] for run in runs]
            middles, highs = (
                [statistics.median(some) for some in took],
                [p95(some) for some in took],
            )
            middle, high = statistics.median(middles), statistics.median(highs)
            due = ""
            if way == "result()":
                due = f"<= {LATE:.0f} {'met' if high <= LATE else 'missed'}"
            print(
                f"{f'{ms} ms, {way}':24}{middle:10.1f}{spread(middles):>16}"
                f"{high:8.1f}{spread(highs):>16}  {due}"
            )


def reads_table(runs: list[dict[str, int]]) -> None:
    for way in runs[0]:
        reads = [float(run[way]) for run in runs]
        print(
            f"reads in {WAIT:.0f} s, {way:14}{statistics.median(reads):5.0f} ({spread(reads, 0)})"
        )
    ratios = [run["result()"] / run["wait_result()"] for run in runs]
    ratio = statistics.median(ratios)
    is_met = "met" if ratio <= READS else "missed"
    print(f"ratio of the reads {ratio:.2f} ({spread(ratios, 2)}), due <= {READS:.1f} {is_met}")


def p95(took: list[float]) -> float:
    return statistics.quantiles(took, n=20, method="inclusive")[-1]


def spread(values: list[float], digits: int = 1) -> str:
    return f"{min(values):.{digits}f} - {max(values):.{digits}f}"


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis server of the benchmark's own."""
    binary, port = shutil.which("redis-server"), free_port()
    if binary is None:
        sys.exit("redis-server is not on this machine; install it to run this benchmark")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            with Redis(port=port) as redis:
                wait_until(lambda: answers(redis), "redis-server does not answer")
            yield f"redis://127.0.0.1:{port}"
        finally:
            ended(server)


def answers(redis: "Redis") -> bool:
    with contextlib.suppress(NoConnectionError):
        return bool(redis.ping())
    return False


async def run(url: str, queue: str, count: int) -> tuple[list[Any], list[Any]]:
    made, task = program(url, queue)
    await made.startup()
    try:
        times = [await measured(task) for _ in range(count)]
        reads = [await counted(url) for _ in range(min(count, 3))]
    finally:
        await made.shutdown()
    return times, reads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=RUNS)
    count = parser.parse_args().runs
    logging.disable(logging.CRITICAL)
    queue = f"benchmark_{uuid.uuid4().hex}"
    with redis_server() as url:
        options = ("--workers", "1", "--log-level", "INFO")
        target = "benchmarks.results:broker"
        with worker(target, *options, REDIS_URL=url, QUEUE=queue) as working:
            working.wait_for("Listening started")
            times, reads = asyncio.run(run(url, queue, count))
    late_table(times)
    reads_table(reads)
    print("load of the machine {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg()))


if __name__ == "__main__":
    main()
