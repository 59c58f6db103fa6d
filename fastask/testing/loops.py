"""Waiting for what runs in another event loop, without waiting for ever."""

from __future__ import annotations

import asyncio

__all__ = ["answered", "finished", "running_loop"]

_SILENCE = 10.0  # seconds after which an event loop counts as blocked
_BLOCKED = (
    "the event loop that the app runs in is blocked, so no task can run; where the test is a "
    "coroutine function, use httpx.AsyncClient, or call the client in a thread: "
    "await asyncio.to_thread(client.post, '/')"
)
_IDLE = (
    "the event loop that the app runs in does not run now, so no task can run; in a fixture of "
    "a plain test, write 'with ft.testing()' instead of 'async with'"
)


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


async def finished(running: asyncio.Future[None]) -> None:
    """Wait; be cancelled even if what runs takes that for an error of its own (taskiq 0.13)."""
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running])
        raise
    running.result()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Give the event loop that runs here, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
