"""Blocking tasks and dependencies run in threads, with the caller's context variables."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request

from fastask import FastTask
from tests.behaviour.receiving import ReceivingBroker

current_user: ContextVar[str] = ContextVar("current_user", default="nobody")


async def test_blocking_dependencies_leave_the_event_loop_alone() -> None:
    """Twenty of them wait for each other, which only threads of their own allow."""
    together = threading.Barrier(20, timeout=30)

    def blocking() -> int:
        return together.wait()

    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)

    @ft.task("needs:blocking")
    async def needs_blocking(turn: int = Depends(blocking)) -> int:
        return turn

    for _ in range(20):
        await needs_blocking.kiq()
    results = await asyncio.gather(*(broker.deliver() for _ in range(20)))
    assert sorted(result.return_value for result in results) == list(range(20))


def in_which_thread() -> Iterator[set[int]]:
    threads = {threading.get_ident()}
    yield threads
    threads.add(threading.get_ident())


class Made:
    """A class is made in a thread too, as FastAPI does it."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()


async def test_nothing_blocking_runs_on_the_event_loop() -> None:
    """A sync task, a sync generator's both halves and a class, each off the loop's thread."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    seen: list[set[int]] = []

    @ft.task("blocking:task")
    def blocking_task(threads: Any = Depends(in_which_thread), made: Made = Depends()) -> None:
        seen.append(threads)
        threads |= {threading.get_ident(), made.thread}

    assert not (await broker.ran(blocking_task)).is_err
    assert threading.get_ident() not in seen[0]


async def test_context_variables_reach_threads() -> None:
    """What an async dependency sets, a blocking one and a blocking task see."""

    async def sets(request: Request) -> None:
        current_user.set("ada")

    def reads(_: None = Depends(sets)) -> str:
        return current_user.get()

    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)

    @ft.task("reads:variables")
    def reads_variables(found: str = Depends(reads)) -> list[str]:
        return [found, current_user.get()]

    assert (await broker.ran(reads_variables)).return_value == ["ada", "ada"]
    assert current_user.get() == "nobody"


async def test_threads_option_bounds_blocking_calls() -> None:
    """`FastTask(threads=2)`: of six blocking tasks never more than two run at once."""
    lock, running, most = threading.Lock(), 0, 0
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker, threads=2)

    @ft.task("bounded:task")
    def bounded() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)  # gives others the chance to break the bound
        with lock:
            running -= 1

    for _ in range(6):
        await bounded.kiq()
    await asyncio.gather(*(broker.deliver() for _ in range(6)))
    assert most == 2


def test_threads_must_be_positive() -> None:
    """A limit of no threads would never run anything."""
    with pytest.raises(ValueError, match="threads must be 1 or more, not 0"):
        FastTask(FastAPI(), threads=0)
