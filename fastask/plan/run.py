"""A plan made executable: values are made, the task is called, everything is closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

from anyio import CancelScope

from fastask.plan.calls import OpenContexts
from fastask.plan.code import resolving
from fastask.plan.steps import Plan
from fastask.plan.values import Surroundings

__all__ = ["Executor", "executor"]

Executor: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any], Any], Awaitable[Any]]


def executor(
    name: str, plan: Plan, func: Callable[..., Awaitable[Any]], surroundings: Surroundings
) -> Executor:
    """Make the function that runs a task: resolve, call, close.

    As in a route: generators see what the task raises, the last one opened is closed
    first, and those of scope `"function"` before background tasks run.

    Args:
        name: the task's name.
        plan: its plan.
        func: its function; a blocking one is wrapped by the caller.
        surroundings: where requests and threads come from.

    Returns:
        A coroutine function of the message's positional and keyword arguments and
        Taskiq's `Context` (or a function that makes it when it is asked for). It returns
        what `func` returns and raises whatever a dependency, the task, a background task
        or a teardown raises; a generator can't turn a failure into a success.
    """
    resolve = resolving(name, plan, func, surroundings)
    return _closing(resolve) if plan.has_teardown else resolve


def _closing(resolve: Callable[..., Awaitable[Any]]) -> Executor:
    async def execute(args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
        on_request, on_function = OpenContexts(), OpenContexts()
        result = background = failure = None
        # Entered before any generator, so that scopes which those open are left before it;
        # shielded while they are closed, so that a timeout does not cut a teardown short.
        with CancelScope() as teardown:
            try:
                result, background = await resolve(args, kwargs, context, on_request, on_function)
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error
            teardown.shield = True
            failure = await on_function.close(failure)
            if failure is None and background is not None:
                teardown.shield = False
                try:
                    await background()
                except BaseException as error:  # noqa: BLE001 - raised again below
                    failure = error
                teardown.shield = True
            failure = await on_request.close(failure)
        if failure is not None:
            _raise_as_it_is(failure)
        return result

    return execute


def _raise_as_it_is(failure: BaseException) -> NoReturn:
    """Raise an error that was caught before, with the context that it had then."""
    context = failure.__context__
    try:
        raise failure
    finally:
        failure.__context__ = context
