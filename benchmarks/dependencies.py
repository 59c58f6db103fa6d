"""What dependencies cost a task: fastask, Taskiq, taskiq-fastapi and wiring by hand.

    python -m benchmarks.dependencies            # needs taskiq-fastapi
    python -m benchmarks.dependencies --memory   # resident memory over 100,000 tasks

Messages go as bytes through Taskiq's receiver, all candidates in one process, in turn.
Only the ratios of one run say something; absolute times depend on the machine.
"""

import argparse
import asyncio
import gc
import logging
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import taskiq_fastapi
from fastapi import Depends, FastAPI, Request
from taskiq import InMemoryBroker, TaskiqDepends, TaskiqMessage
from taskiq.receiver import Receiver

from fastask import FastTask

ROUNDS, TASKS = 201, 60
Case = tuple[Receiver, bytes]


async def connection(request: Request) -> Any:
    return request.app.state


async def session(found: Any = Depends(connection)) -> Any:
    return found


async def settings(request: Request) -> Any:
    return request.app


async def repository(a: Any = Depends(session), b: Any = Depends(settings)) -> Any:
    return (a, b)


async def bridge_connection(request: Request = TaskiqDepends()) -> Any:
    return request.app.state


async def bridge_session(found: Any = TaskiqDepends(bridge_connection)) -> Any:
    return found


async def bridge_settings(request: Request = TaskiqDepends()) -> Any:
    return request.app


async def bridge_repository(
    a: Any = TaskiqDepends(bridge_session), b: Any = TaskiqDepends(bridge_settings)
) -> Any:
    return (a, b)


async def independent() -> int:
    return 1


def receiver(broker: InMemoryBroker) -> Receiver:
    return Receiver(broker, max_async_tasks=100, run_startup=False)


def message(broker: InMemoryBroker, name: str) -> bytes:
    sent = TaskiqMessage(task_id="1", task_name=name, labels={}, args=[1], kwargs={})
    return broker.formatter.dumps(sent).message


def taskiq_cases() -> dict[str, Case]:
    broker = InMemoryBroker(max_stored_results=10)

    @broker.task("bare")
    async def bare(n: int) -> int:
        return n

    @broker.task("one")
    async def one(n: int, found: Any = TaskiqDepends(independent)) -> int:
        return n

    return {
        "taskiq, no dependency": (receiver(broker), message(broker, "bare")),
        "taskiq, one of its own": (receiver(broker), message(broker, "one")),
    }


def bridge_cases() -> dict[str, Case]:
    broker, app = InMemoryBroker(max_stored_results=10), FastAPI()
    taskiq_fastapi.populate_dependency_context(broker, app, {})

    @broker.task("one")
    async def one(n: int, found: Any = TaskiqDepends(bridge_connection)) -> int:
        return n

    @broker.task("four")
    async def four(n: int, found: Any = TaskiqDepends(bridge_repository)) -> int:
        return n

    return {
        "taskiq-fastapi, one on Request": (receiver(broker), message(broker, "one")),
        "taskiq-fastapi, tree of four": (receiver(broker), message(broker, "four")),
    }


def hand_cases() -> dict[str, Case]:
    broker, app = InMemoryBroker(max_stored_results=10), FastAPI()

    def request() -> Request:
        return Request({"type": "http", "app": app, "state": {}})

    @broker.task("one")
    async def one(n: int) -> int:
        await connection(request())
        return n

    @broker.task("four")
    async def four(n: int) -> int:
        made = request()
        await repository(await session(await connection(made)), await settings(made))
        return n

    return {
        "by hand, one on Request": (receiver(broker), message(broker, "one")),
        "by hand, tree of four": (receiver(broker), message(broker, "four")),
    }


def fastask_cases() -> dict[str, Case]:
    broker = InMemoryBroker(max_stored_results=10)
    ft = FastTask(FastAPI(), broker)

    @ft.task("bare")
    async def bare(n: int) -> int:
        return n

    @ft.task("one")
    async def one(n: int, found: Any = Depends(connection)) -> int:
        return n

    @ft.task("four")
    async def four(n: int, found: Any = Depends(repository)) -> int:
        return n

    makers = [independent_of(number) for number in range(10)]

    @ft.task("ten")
    async def ten(
        n: int,
        d0: int = Depends(makers[0]), d1: int = Depends(makers[1]), d2: int = Depends(makers[2]),
        d3: int = Depends(makers[3]), d4: int = Depends(makers[4]), d5: int = Depends(makers[5]),
        d6: int = Depends(makers[6]), d7: int = Depends(makers[7]), d8: int = Depends(makers[8]),
        d9: int = Depends(makers[9]),
    ) -> int:  # fmt: skip
        return n

    names = {
        "fastask, no dependency": "bare",
        "fastask, one on Request": "one",
        "fastask, tree of four": "four",
        "fastask, ten async": "ten",
    }
    return {shown: (receiver(broker), message(broker, name)) for shown, name in names.items()}


def independent_of(number: int) -> Callable[[], Awaitable[int]]:
    async def made() -> int:
        return number

    return made


async def timed(case: Case) -> float:
    """Microseconds for one task."""
    run, sent = case
    start = time.perf_counter()
    for _ in range(TASKS):
        await run.callback(sent)
    return (time.perf_counter() - start) / TASKS * 1e6


async def measured(cases: dict[str, Case]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in cases}
    gc.disable()
    for turn in range(ROUNDS + 1):
        names = list(cases)
        first = turn % len(names)  # so that none is always the one after the collection
        for name in names[first:] + names[:first]:
            took = await timed(cases[name])
            if turn:  # the first one warms up
                times[name].append(took)
        gc.collect()
    return times


def table(times: dict[str, list[float]]) -> None:
    base, *_ = times.values()
    by_hand = {"one on Request": "by hand, one on Request", "tree of four": "by hand, tree of four"}
    print(f"{'':32}{'median us':>10}{'quartiles':>16}{'/ bare':>8}{'/ by hand':>11}")
    for name, took in times.items():
        low, middle, high = statistics.quantiles(took, n=4)
        against = times.get(by_hand.get(name.partition(", ")[2], ""))
        hand = f"{ratio(took, against):.2f}" if against else ""
        quartiles = f"{low:.1f} - {high:.1f}"
        print(f"{name:32}{middle:10.1f}{quartiles:>16}{ratio(took, base):8.2f}{hand:>11}")
    more = statistics.median(
        (ten - bare) / 10
        for ten, bare in zip(
            times["fastask, ten async"], times["fastask, no dependency"], strict=True
        )
    )
    scale = 30 / statistics.median(base)
    print(f"each further async dependency: {more * scale:.2f} us where a bare task takes 30 us")


def ratio(took: list[float], base: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(mine / other for mine, other in zip(took, base, strict=True))


async def memory() -> None:
    """Resident memory after the first 10,000 tasks and after 100,000."""
    run, sent = fastask_cases()["fastask, tree of four"]
    for count in range(1, 100_001):
        await run.callback(sent)
        if count in (10_000, 100_000):
            gc.collect()
            print(f"after {count:7} tasks: {resident():.1f} MiB")


def resident() -> float:
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.memory:
        asyncio.run(memory())
        return
    cases = taskiq_cases() | hand_cases() | bridge_cases() | fastask_cases()
    table(asyncio.run(measured(cases)))


if __name__ == "__main__":
    main()
