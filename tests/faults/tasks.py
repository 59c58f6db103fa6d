"""The tasks that workers of these tests run, and that the client sends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from fastask import FastTask

__all__ = ["RETRY_DELAY", "declare", "say"]

RETRY_DELAY = 4.0  # seconds, longer than the deadline

_GLANCE = 0.05  # seconds between looks for the gate


def say(word: str, key: str) -> None:
    """Add a line to the journal: one write each, so that lines are never mixed."""
    line = f"{word} {key} {os.getpid()}\n".encode()
    file = os.open(os.environ["FAULTS_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


async def quick(key: str) -> str:
    say("start", key)
    say("end", key)
    return key


async def slow(key: str, seconds: float) -> str:
    say("start", key)
    await asyncio.sleep(seconds)
    say("end", key)
    return key


def blocking(key: str, seconds: float) -> str:
    say("start", key)
    time.sleep(seconds)
    say("end", key)
    return key


async def stuck_once(key: str) -> str:
    """Never come to an end, the first time."""
    say("start", key)
    if Path(os.environ["FAULTS_JOURNAL"]).read_text().count(f"start {key} ") == 1:
        await asyncio.Event().wait()
    say("end", key)
    return key


async def poison(key: str) -> None:
    """Kill the worker, each time."""
    say("start", key)
    os.kill(os.getpid(), signal.SIGKILL)


async def flaky(key: str) -> str:
    """Fail the first time, and say when it runs."""
    say("ran", f"{key}@{time.time():.3f}")
    if Path(os.environ["FAULTS_JOURNAL"]).read_text().count(f"ran {key}@") == 1:
        raise ConnectionError("gone")
    return key


async def big(key: str, text: str) -> int:
    say("start", key)
    say("end", key)
    return len(text)


async def together(key: str, text: str = "") -> str:
    """Come to an end when the test opens the gate."""
    say("start", key)
    await _gate()
    say("end", key)
    return key


async def newcomer(key: str) -> str:
    """A task that workers of the former release don't have."""
    say("start", key)
    say("end", key)
    return key


_waiting: list[asyncio.Task[None]] = []


async def _gate() -> None:
    if not _waiting:
        _waiting.append(asyncio.create_task(_opened()))
    await _waiting[0]


async def _opened() -> None:
    gate = Path(os.environ["FAULTS_JOURNAL"]).with_name("gate")
    while not gate.exists():
        await asyncio.sleep(_GLANCE)


def declare(ft: FastTask, *, is_former: bool = False) -> dict[str, Any]:
    """Declare the tasks, by their names.

    Args:
        ft: the app they belong to.
        is_former: whether it is the release before the one that has `newcomer`.
    """
    functions: list[Any] = [quick, slow, blocking, stuck_once, poison, big, together]
    if not is_former:
        functions.append(newcomer)
    tasks = {each.__name__: ft.task(each.__name__)(each) for each in functions}
    return tasks | {"flaky": ft.task("flaky", retries=1, retry_delay=RETRY_DELAY)(flaky)}
