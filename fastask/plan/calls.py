"""How dependencies are called: awaited, in a thread, or opened and closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter, Semaphore
from anyio.lowlevel import checkpoint_if_cancelled

from fastask.plan.steps import Step
from fastask.signatures import Kind

__all__ = ["OpenContexts", "call_in_thread", "made"]


class OpenContexts:
    """Context managers that are open, to be closed last one first.

    contextlib's `AsyncExitStack` loses all but the first and the last error of a chain
    (Python 3.13).
    """

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: list[AbstractAsyncContextManager[Any]] = []

    async def enter(self, context: AbstractAsyncContextManager[Any]) -> Any:
        """Enter one, and give what it yields."""
        value = await context.__aenter__()
        self._open.append(context)
        return value

    async def close(self, failure: BaseException | None) -> BaseException | None:
        """Close all.

        Args:
            failure: what went wrong so far; each one sees it until one swallows it.

        Returns:
            The last error, or `failure` where it was swallowed.
        """
        seen = failure
        while self._open:
            context = self._open.pop()
            try:
                if seen is None:
                    await context.__aexit__(None, None, None)
                elif await context.__aexit__(type(seen), seen, seen.__traceback__):
                    seen = None
            except BaseException as error:  # noqa: BLE001 - the caller raises it
                failure = seen = error
        return failure


async def call_in_thread(call: Callable[[], Any], limiter: CapacityLimiter | None) -> Any:
    """Call a blocking function in a thread, with the caller's context variables.

    A timeout or cancellation can't stop the thread; it is raised when the function ends.

    Args:
        call: the function.
        limiter: how many threads may run at once; `None` is anyio's own limit of 40.
    """
    value = await anyio.to_thread.run_sync(call, limiter=limiter)
    await checkpoint_if_cancelled()
    return value


async def made(
    step: Step,
    kwargs: dict[str, Any],
    limiter: CapacityLimiter | None,
    contexts: OpenContexts | None,
) -> Any:
    """Make the value of a step that takes more than an `await`.

    Args:
        step: the dependency.
        kwargs: its arguments.
        limiter: the limit of threads.
        contexts: where a generator is kept open; `None` for a dependency of another kind.
    """
    semaphore = None if step.limiter is None else step.limiter.get_semaphore()
    if contexts is not None:
        value = await contexts.enter(_opened(step, kwargs, limiter, semaphore))
        await checkpoint_if_cancelled()
        return value
    if semaphore is None:
        return await _called(step, kwargs, limiter)
    async with semaphore:
        return await _called(step, kwargs, limiter)


async def _called(step: Step, kwargs: dict[str, Any], limiter: CapacityLimiter | None) -> Any:
    """Call a dependency that has no teardown: a blocking one in a thread, as FastAPI does."""
    if step.kind is Kind.ASYNC:
        return await step.call(**kwargs)
    return await call_in_thread(partial(step.call, **kwargs), limiter)


def _opened(
    step: Step,
    kwargs: dict[str, Any],
    limiter: CapacityLimiter | None,
    semaphore: Semaphore | None,
) -> AbstractAsyncContextManager[Any]:
    """Make the context manager of a generator.

    Args:
        step: the dependency: a generator function of either kind, or a function that
            gives a context manager, which Taskiq enters too.
        kwargs: its arguments.
        limiter: the limit of threads.
        semaphore: FastAPI's `max_concurrency`, held until the generator is closed.
    """
    made = step.call(**kwargs)
    context: AbstractAsyncContextManager[Any]
    if isinstance(made, AbstractAsyncContextManager):
        context = made
    elif step.kind is Kind.ASYNC_GENERATOR:
        context = asynccontextmanager(lambda: made)()
    elif isinstance(made, AbstractContextManager):
        context = _in_threads(made, limiter)
    else:
        context = _in_threads(contextmanager(lambda: made)(), limiter)
    return context if semaphore is None else _held(semaphore, context)


@asynccontextmanager
async def _in_threads(
    context: AbstractContextManager[Any], limiter: CapacityLimiter | None
) -> AsyncGenerator[Any, None]:
    """Enter and leave a blocking context manager in threads.

    Leaving waits for no other thread, as in FastAPI: what holds the threads may be waiting
    for the very resource that is given back here.
    """
    leaving = CapacityLimiter(1)
    # Not `call_in_thread`: what is entered must be left, whatever has been cancelled.
    value = await anyio.to_thread.run_sync(context.__enter__, limiter=limiter)
    try:
        yield value
    except BaseException as error:
        leave = partial(context.__exit__, type(error), error, error.__traceback__)
        if not await anyio.to_thread.run_sync(leave, limiter=leaving):
            raise
    else:
        leave = partial(context.__exit__, None, None, None)
        await anyio.to_thread.run_sync(leave, limiter=leaving)


@asynccontextmanager
async def _held(
    semaphore: Semaphore, context: AbstractAsyncContextManager[Any]
) -> AsyncGenerator[Any, None]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(semaphore)
        yield await stack.enter_async_context(context)
