"""Waiting for what runs in another event loop, without waiting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from contextvars import Context
from typing import Any, TypeVar

from anyio import CancelScope

__all__ = ["answered", "executed", "running_loop", "this_loop", "waited"]

T = TypeVar("T")

_GRACE = 1.0  # seconds that who was cancelled waits for what it waits for, such as a thread
_SILENCE = 10.0  # seconds after which an event loop counts as blocked
# Nothing tells that an event loop has stopped, and one may pause between two of its runs.
_LOOK = 0.1  # seconds
_MOST_LOOKS = 5
_BLOCKED = (
    "the event loop that the app runs in is blocked, so no task can run; where the test is a "
    "coroutine function, use httpx.AsyncClient, or call the client in a thread: "
    "await asyncio.to_thread(client.post, '/')"
)
_IDLE = (
    "the event loop that the app runs in does not run now, so no task can run; in a fixture of "
    "a plain test, write 'with ft.testing()' instead of 'async with'"
)
_ELSEWHERE = (
    "no event loop of asyncio runs here, and fastask needs one; with anyio's plugin, let the "
    "fixture anyio_backend give 'asyncio'"
)
_STOPPED = "the event loop that the app runs in has stopped, so what waits for it has no end"


async def answered(loop: asyncio.AbstractEventLoop) -> None:
    """Wait until another event loop does something.

    Raises:
        RuntimeError: it does not run now, or is blocked.
    """
    if not loop.is_running():
        raise RuntimeError(_IDLE)
    answer = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop))
    done, _ = await asyncio.wait([answer], timeout=_SILENCE)
    if not done:
        answer.cancel()
        raise RuntimeError(_BLOCKED)


async def executed(
    work: Coroutine[Any, Any, None],
    loop: asyncio.AbstractEventLoop | None,
    context: Context,
    cancel: Callable[[], None],
) -> None:
    """Run something in an event loop, this one or another, and in a context; wait for its end.

    It is cancelled with who waits, even if what runs takes that for an error of its own
    (taskiq 0.13).

    Args:
        work: the coroutine.
        loop: the event loop; `None` is this one.
        context: the context.
        cancel: cancels it.

    Raises:
        RuntimeError: the other event loop stops meanwhile.
    """
    if loop is None or loop is asyncio.get_running_loop():
        running: asyncio.Future[None] = asyncio.create_task(work, context=context)
        loop = None
    else:  # which copies the context in which it is asked
        running = asyncio.wrap_future(context.run(asyncio.run_coroutine_threadsafe, work, loop))
    running.add_done_callback(_looked_at)
    looks = 0
    try:
        while not running.done():
            await asyncio.wait([running], timeout=None if loop is None else _LOOK)
            looks = 0 if loop is None else _looks(looks, running, loop)
    except asyncio.CancelledError:
        cancel()
        with CancelScope(shield=True):  # who waits may be cancelled for good, as in a timeout
            await asyncio.wait([running], timeout=_GRACE)
        raise
    running.result()


def _looked_at(running: asyncio.Future[None]) -> None:
    """Have nobody told of an error that nobody waits for."""
    if not running.cancelled():
        running.exception()


def waited(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run something in the event loop of another thread, and wait for its end here.

    Raises:
        RuntimeError: that event loop does not run now, or stops meanwhile.
    """
    if not loop.is_running():
        raise RuntimeError(_IDLE)
    running = asyncio.run_coroutine_threadsafe(work(), loop)
    looks = 0
    while not wait([running], timeout=_LOOK).done:
        looks = _looks(looks, running, loop)
    try:
        return running.result()
    except CancelledError:  # as the end of an event loop does with what runs in it
        raise RuntimeError(_STOPPED) from None


def _looks(
    looks: int, running: asyncio.Future[Any] | Future[Any], loop: asyncio.AbstractEventLoop
) -> int:
    """Give how often in a row an event loop did not run, for what waits for it.

    Raises:
        RuntimeError: it has stopped.
    """
    if loop.is_running():
        return 0
    if looks < _MOST_LOOKS:
        return looks + 1
    if not loop.is_closed():
        running.cancel()
    raise RuntimeError(_STOPPED)


def this_loop() -> asyncio.AbstractEventLoop:
    """Give the event loop that runs here.

    Raises:
        RuntimeError: none of asyncio does.
    """
    if (loop := running_loop()) is None:
        raise RuntimeError(_ELSEWHERE)
    return loop


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Give the event loop that runs here, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
