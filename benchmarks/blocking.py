"""How late the event loop is while blocking dependencies run.

    python -m benchmarks.blocking

Twenty tasks at once, each with a blocking dependency of 0.2 s: in fastask, and in plain
Taskiq, which calls dependencies on the event loop.
"""

import asyncio
import logging
import time
from typing import Any

from fastapi import Depends, FastAPI
from taskiq import InMemoryBroker, TaskiqDepends
from taskiq.receiver import Receiver

from fastask import FastTask

TASKS, SECONDS = 20, 0.2


def blocking() -> None:
    time.sleep(SECONDS)


def of_fastask() -> tuple[InMemoryBroker, Any]:
    broker = InMemoryBroker()
    ft = FastTask(FastAPI(), broker)

    @ft.task("blocked")
    async def blocked(value: Any = Depends(blocking)) -> None: ...

    return broker, blocked


def of_taskiq() -> tuple[InMemoryBroker, Any]:
    broker = InMemoryBroker()

    @broker.task("blocked")
    async def blocked(value: Any = TaskiqDepends(blocking)) -> None: ...

    return broker, blocked


async def lag_of(broker: InMemoryBroker, task: Any) -> tuple[float, float]:
    """The worst lag of the loop in ms, and the seconds that all tasks took."""
    receiver = Receiver(broker, max_async_tasks=TASKS, run_startup=False)
    message = broker.formatter.dumps(task.kicker()._prepare_message()).message
    loop, worst, start = asyncio.get_running_loop(), 0.0, time.perf_counter()
    running = asyncio.gather(*(receiver.callback(message) for _ in range(TASKS)))
    while not running.done():
        due = loop.time() + 0.002
        await asyncio.sleep(0.002)
        worst = max(worst, loop.time() - due)
    return worst * 1000, time.perf_counter() - start


def main() -> None:
    logging.disable(logging.CRITICAL)
    for name, make in (("fastask", of_fastask), ("taskiq", of_taskiq)):
        worst, took = asyncio.run(lag_of(*make()))
        print(f"{name:8} worst lag {worst:7.1f} ms, {TASKS} tasks in {took:.2f} s")


if __name__ == "__main__":
    main()
