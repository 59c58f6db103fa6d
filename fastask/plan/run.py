"""A plan made executable: values are made, the task is called, everything is closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

from anyio import CancelScope
from fastapi import BackgroundTasks

from fastask.plan.calls import OpenContexts, called, opened
from fastask.plan.steps import Plan, Step
from fastask.plan.values import Surroundings

__all__ = ["Executor", "executor"]

Function: TypeAlias = Callable[..., Awaitable[Any]]
Executor: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any], Any], Awaitable[Any]]


def executor(plan: Plan, func: Function, surroundings: Surroundings) -> Executor:
    """Make the function that runs a task: resolve, call, close.

    As in a route: generators see what the task raises, the last one opened is closed
    first, and those of scope `"function"` before background tasks run.

    Args:
        plan: the task's plan.
        func: the task's function; a blocking one is wrapped by the caller.
        surroundings: where requests and threads come from.

    Returns:
        A coroutine function of the message's positional and keyword arguments and
        Taskiq's `Context` (or a function that makes it when it is asked for). It returns
        what `func` returns and raises whatever a dependency, the task, a background task
        or a teardown raises; a generator can't turn a failure into a success.
    """
    if plan.has_teardown:
        return _closing(plan, func, surroundings)
    if not plan.steps and not plan.defaults:
        return lambda args, kwargs, context: func(*args, **kwargs)

    async def execute(args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
        run = _Run(surroundings, context)
        values = await _resolved(plan, run, None, None)
        result = await func(*args, **kwargs, **_injected(plan, values))
        if run.background is not None:
            await run.background()
        return result

    return execute


def _closing(plan: Plan, func: Function, surroundings: Surroundings) -> Executor:
    async def execute(args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
        run = _Run(surroundings, context)
        on_request, on_function = OpenContexts(), OpenContexts()
        result: Any = None
        failure: BaseException | None = None
        # Entered before any generator, so that scopes which those open are left before it;
        # shielded while they are closed, so that a timeout does not cut a teardown short.
        with CancelScope() as teardown:
            try:
                values = await _resolved(plan, run, on_request, on_function)
                result = await func(*args, **kwargs, **_injected(plan, values))
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error
            teardown.shield = True
            failure = await on_function.close(failure)
            if failure is None and run.background is not None:
                teardown.shield = False
                try:
                    await run.background()
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


class _Run:
    """What the providers of one run work with."""

    __slots__ = ("background", "context", "surroundings")

    def __init__(self, surroundings: Surroundings, context: Any) -> None:
        self.surroundings = surroundings
        self.context = context
        self.background: BackgroundTasks | None = None


def _injected(plan: Plan, values: list[Any]) -> dict[str, Any]:
    injected = {name: values[number] for name, number in plan.values}
    for name, default in plan.defaults:
        injected[name] = default()
    return injected


async def _resolved(
    plan: Plan, run: _Run, on_request: OpenContexts | None, on_function: OpenContexts | None
) -> list[Any]:
    values: list[Any] = []
    for step in plan.steps:
        if step.provide is not None:
            values.append(step.provide(run))
            continue
        kwargs = {name: values[number] for name, number in step.values}
        if step.constants:
            kwargs.update(step.constants)
        for name, default in step.defaults:
            kwargs[name] = default()
        if step.is_awaited:
            values.append(await step.call(**kwargs))
        else:
            contexts = on_function if step.closes_early else on_request
            values.append(await _made(step, kwargs, run.surroundings, contexts))
    return values


async def _made(
    step: Step, kwargs: dict[str, Any], surroundings: Surroundings, contexts: OpenContexts | None
) -> Any:
    limiter = surroundings.limiter
    semaphore = None if step.limiter is None else step.limiter.get_semaphore()
    if contexts is not None and step.kind.is_generator:
        return await contexts.enter(opened(step, kwargs, limiter, semaphore))
    if semaphore is None:
        return await called(step, kwargs, limiter)
    async with semaphore:
        return await called(step, kwargs, limiter)
