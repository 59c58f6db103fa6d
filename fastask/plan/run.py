"""One execution of a plan: values are made, the task is called, everything is closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from typing import Any, Protocol

import anyio.to_thread
from anyio import CancelScope, CapacityLimiter
from fastapi import BackgroundTasks, Request, Response
from fastapi.security import SecurityScopes

from fastask.plan.steps import Plan, Step
from fastask.plan.values import Provided
from fastask.signatures import Kind

__all__ = ["Execution", "Surroundings", "call_in_thread"]


class Surroundings(Protocol):
    """What an execution takes from the program around it."""

    @property
    def limiter(self) -> CapacityLimiter | None:
        """The limit of threads; `None` is anyio's own, which routes use too."""
        ...

    def request(self) -> Request:
        """Make the request of one run."""
        ...

    def extra(self, asked: type) -> Any:
        """Give what Taskiq's dependency context holds for a class."""
        ...


class Execution:
    """One run of a task's plan.

    Args:
        plan: the plan.
        surroundings: where requests and threads come from.
        context: makes Taskiq's `Context` of the message; called when it is asked for.
    """

    __slots__ = ("_background", "_context", "_plan", "_surroundings", "_values")

    def __init__(self, plan: Plan, surroundings: Surroundings, context: Callable[[], Any]) -> None:
        self._plan = plan
        self._surroundings = surroundings
        self._context = context
        self._values: list[Any] = [None] * plan.slots
        self._background: BackgroundTasks | None = None

    async def call(
        self, func: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Resolve, call, close.

        As in a route: generators see what the task raises, the last one opened is closed
        first, and those of scope `"function"` before background tasks run.

        Args:
            func: the task's function.
            args: its positional arguments from the message.
            kwargs: its keyword arguments from the message.

        Returns:
            What the function returns.

        Raises:
            BaseException: whatever a dependency, the task, a background task or a
                teardown raises; a generator can't turn a failure into a success.
        """
        if self._plan.has_teardown:
            return await self._call_and_close(func, args, kwargs)
        await self._resolve(None, None)
        result = await func(*args, **kwargs, **self._injected())
        if self._background is not None:
            await self._background()
        return result

    async def _call_and_close(
        self, func: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result: Any = None
        failure: BaseException | None = None
        # Entered before any generator, so that scopes which those open are left before it;
        # shielded while they are closed, so that a timeout does not cut a teardown short.
        with CancelScope() as teardown:
            async with AsyncExitStack() as on_request:
                try:
                    async with AsyncExitStack() as on_function:
                        try:
                            await self._resolve(on_request, on_function)
                            result = await func(*args, **kwargs, **self._injected())
                        except BaseException as error:
                            failure = error
                            raise
                        finally:
                            teardown.shield = True
                    if failure is not None:  # a generator of scope "function" swallowed it
                        raise failure
                    teardown.shield = False
                    if self._background is not None:
                        await self._background()
                except BaseException as error:
                    failure = error
                    raise
                finally:
                    teardown.shield = True
        if failure is not None:  # a generator of scope "request" swallowed it
            raise failure
        return result

    def _injected(self) -> dict[str, Any]:
        values = self._values
        injected = {name: values[slot] for name, slot in self._plan.values}
        for name, default in self._plan.defaults:
            injected[name] = default()
        return injected

    async def _resolve(
        self, on_request: AsyncExitStack | None, on_function: AsyncExitStack | None
    ) -> None:
        values = self._values
        for step in self._plan.steps:
            kind = step.kind
            if kind is None:
                values[step.slot] = self._provide(step)
                continue
            kwargs = {name: values[slot] for name, slot in step.values}
            if step.constants:
                kwargs.update(step.constants)
            for name, default in step.defaults:
                kwargs[name] = default()
            if kind.is_generator:
                stack: Any = on_function if step.closes_early else on_request
                values[step.slot] = await stack.enter_async_context(self._opened(step, kwargs))
            elif step.limiter is not None:
                async with step.limiter.get_semaphore():
                    values[step.slot] = await self._made(step, kwargs)
            elif kind is Kind.ASYNC:
                values[step.slot] = await step.call(**kwargs)
            else:
                values[step.slot] = await self._in_thread(partial(step.call, **kwargs))

    async def _made(self, step: Step, kwargs: dict[str, Any]) -> Any:
        if step.kind is Kind.ASYNC:
            return await step.call(**kwargs)
        return await self._in_thread(partial(step.call, **kwargs))

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await call_in_thread(call, self._surroundings.limiter)

    def _opened(self, step: Step, kwargs: dict[str, Any]) -> AbstractAsyncContextManager[Any]:
        made = step.call(**kwargs)
        opened: AbstractAsyncContextManager[Any]
        if isinstance(made, AbstractAsyncContextManager):
            opened = made  # Taskiq's way: the dependency is a context manager function
        elif step.kind is Kind.ASYNC_GENERATOR:
            opened = asynccontextmanager(lambda: made)()
        else:
            sync = (
                made if isinstance(made, AbstractContextManager) else contextmanager(lambda: made)()
            )
            opened = _in_threads(sync, self._surroundings.limiter)
        return opened if step.limiter is None else _limited(opened, step.limiter.get_semaphore())

    def _provide(self, step: Step) -> Any:
        match step.call:
            case Provided.REQUEST:
                return self._surroundings.request()
            case Provided.CONTEXT:
                return self._context()
            case Provided.STATE:
                return self._context().state
            case Provided.RESPONSE:
                return _response()
            case Provided.BACKGROUND_TASKS:
                self._background = BackgroundTasks()
                return self._background
            case Provided.SECURITY_SCOPES:
                return SecurityScopes(scopes=list(step.scopes))
            case asked:
                return self._surroundings.extra(asked)


def _response() -> Response:
    """A response as FastAPI gives it to dependencies: no status and no length of its own."""
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]
    return response


async def call_in_thread(call: Callable[[], Any], limiter: CapacityLimiter | None) -> Any:
    """Call a blocking function in a thread, with the caller's context variables.

    Args:
        call: the function.
        limiter: how many threads may run at once; `None` is anyio's own limit of 40.
    """
    return await anyio.to_thread.run_sync(call, limiter=limiter)


@asynccontextmanager
async def _in_threads(
    opened: AbstractContextManager[Any], limiter: CapacityLimiter | None
) -> AsyncGenerator[Any, None]:
    """Enter and leave a blocking context manager in threads.

    Leaving waits for no other thread, as in FastAPI: what holds the threads may be waiting
    for the very resource that is given back here.
    """
    leaving = CapacityLimiter(1)
    value = await call_in_thread(opened.__enter__, limiter)
    try:
        yield value
    except BaseException as error:
        leave = partial(opened.__exit__, type(error), error, error.__traceback__)
        if not await call_in_thread(leave, leaving):
            raise
    else:
        await call_in_thread(partial(opened.__exit__, None, None, None), leaving)


@asynccontextmanager
async def _limited(
    opened: AbstractAsyncContextManager[Any], semaphore: anyio.Semaphore
) -> AsyncGenerator[Any, None]:
    async with semaphore, opened as value:
        yield value
