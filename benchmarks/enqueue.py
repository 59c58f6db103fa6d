"""What it costs to send a task, and to check its arguments in the worker.

    python -m benchmarks.enqueue

A task with three simple parameters, in fastask and in plain Taskiq, in one process and in
turn. The broker is of one class for both; it drops what it is given. Times are CPU time of the
thread. Only the ratios of one run say something; absolute times depend on the machine.
"""

import asyncio
import gc
import logging
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from inspect import Signature, signature
from typing import Any, NamedTuple, get_type_hints

from fastapi import FastAPI
from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.receiver.params_parser import parse_params

from fastask import FastTask

ROUNDS, SENDINGS, CHECKS = 401, 60, 300
ARGS: tuple[Any, ...] = (1, "a", 2.0)
KWARGS: dict[str, Any] = {"number": 1, "word": "a", "share": 2.0}
KIQ_DUE, CHECK_DUE = 1.1, 1.0
Case = Callable[[], Awaitable[float]]  # gives the microseconds for one


class Pair(NamedTuple):
    """What is compared, and the ratio that is due."""

    ours: Case
    theirs: Case
    due: float


class Dropping(AsyncBroker):
    """A broker that drops what it is given."""

    async def kick(self, message: BrokerMessage) -> None: ...

    def listen(self) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError


async def simple(number: int, word: str, share: float) -> None: ...


def of_fastask() -> Any:
    return FastTask(FastAPI(), Dropping()).task("simple")(simple)


def of_taskiq() -> Any:
    # A function of its own: Taskiq gives it another name.
    async def simple(number: int, word: str, share: float) -> None: ...

    return Dropping().task("simple")(simple)


def sending(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Case:
    async def case() -> float:
        start = time.thread_time()
        for _ in range(SENDINGS):
            await task.kiq(*args, **kwargs)
        return (time.thread_time() - start) / SENDINGS * 1e6

    return case


def fastask_check(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Case:
    """What `fastask.plan.code.whole` writes, after what the receiver parses of its signature."""
    exact, load, sent = task._definition.arguments.exact, task._definition.load, message((), {})
    shape, hints = Signature(), dict[str, Any]()

    async def case() -> float:
        start = time.thread_time()
        for _ in range(CHECKS):
            parse_params(shape, hints, sent)
            if kwargs or [*map(type, args)] != exact:
                load(args, kwargs)
        return (time.thread_time() - start) / CHECKS * 1e6

    return case


def taskiq_check(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Case:
    """What Taskiq's receiver does."""
    shape, hints = signature(task.original_func), get_type_hints(task.original_func)
    sent = message(args, kwargs)

    async def case() -> float:
        start = time.thread_time()
        for _ in range(CHECKS):
            parse_params(shape, hints, sent)
        return (time.thread_time() - start) / CHECKS * 1e6

    return case


def message(args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskiqMessage:
    return TaskiqMessage(
        task_id="1", task_name="simple", labels={}, args=list(args), kwargs=dict(kwargs)
    )


def cases() -> dict[str, Pair]:
    ours, theirs = of_fastask(), of_taskiq()
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "by position": (ARGS, {}),
        "by keyword": ((), KWARGS),
    }
    kiq = {
        f"kiq, {name}": Pair(sending(ours, *call), sending(theirs, *call), KIQ_DUE)
        for name, call in calls.items()
    }
    check = {
        f"check, {name}": Pair(fastask_check(ours, *call), taskiq_check(theirs, *call), CHECK_DUE)
        for name, call in calls.items()
    }
    return kiq | check


async def measured(pairs: dict[str, Pair]) -> dict[str, tuple[list[float], list[float]]]:
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
    gc.disable()
    for turn in range(ROUNDS):
        gc.collect()
        for name, pair in pairs.items():
            both = (pair.ours, pair.theirs)
            order = (0, 1) if turn % 2 else (1, 0)
            for which in order:
                await both[which]()  # warms up: the collection and the others have cooled it
            for which in order:
                times[name][which].append(await both[which]())
    return times


def table(times: dict[str, tuple[list[float], list[float]]], pairs: dict[str, Pair]) -> None:
    print(f"{'':20}{'fastask us':>12}{'taskiq us':>12}{'ratio':>8}{'quartiles':>16}{'due':>10}")
    for name, (ours, theirs) in times.items():
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        quartiles, due = f"{low:.2f} - {high:.2f}", pairs[name].due
        print(
            f"{name:20}{statistics.median(ours):12.2f}{statistics.median(theirs):12.2f}"
            f"{middle:8.2f}{quartiles:>16}{f'<= {due:.1f}':>10} "
            f"{'met' if middle <= due else 'missed'}"
        )


def main() -> None:
    logging.disable(logging.CRITICAL)
    pairs = cases()
    table(asyncio.run(measured(pairs)), pairs)


if __name__ == "__main__":
    main()
