"""The code of a plan: a coroutine function for each task, with a line for each step.

Walking a plan step by step would cost every run several times what the calls themselves
cost, so the walk is written out once, as dataclasses write out their `__init__`.
"""

from __future__ import annotations

import linecache
from collections.abc import Awaitable, Callable, Iterable
from keyword import iskeyword
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

from fastask.plan.calls import made
from fastask.plan.steps import Plan, Step
from fastask.plan.values import Surroundings, background_tasks, request

__all__ = ["Checks", "resolving", "whole"]

Function: TypeAlias = Callable[..., Awaitable[Any]]


class Checks(NamedTuple):
    """What surrounds the steps in the code of a whole task.

    Attributes:
        program: overrides of its app or broker make the code stale, and so does a new
            `version` of its broker's dependency context.
        version: the one that the code is written for.
        current: gives Taskiq's `Context` of the message.
        exact: the types of positional arguments that need no further check.
        load: checks the arguments.
        plain: the type of a result that needs no check.
        dump: checks the result.
        slow: the function that serves where the code is stale.
    """

    program: Any
    version: int
    current: Callable[[], Any]
    exact: list[Any]
    load: Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]
    plain: type
    dump: Callable[[Any], Any]
    slow: Callable[..., Awaitable[Any]]


def resolving(name: str, plan: Plan, func: Function, surroundings: Surroundings) -> Function:
    """Write the function that resolves a plan and calls the task.

    Args:
        name: the task's name, shown in tracebacks.
        plan: the plan.
        func: the task's function.
        surroundings: where requests and threads come from.

    Returns:
        A coroutine function of the message's arguments, keyword arguments and `Context`.
        It returns what `func` returns, after the background tasks. Where the plan has
        teardown, it also takes the open contexts of scope `"request"` and `"function"`,
        and returns the result and the background tasks, which are the caller's to run.
    """
    names: dict[str, Any] = {"func": func, "surroundings": surroundings, "made": made}
    lines, call, background = _body(plan, names)
    if plan.has_teardown:
        parameters = "args, kwargs, context, on_request, on_function"
        return _compiled(name, parameters, [*lines, f"return {call}, {background}"], names)
    lines += [f"result = {call}", *_end(background), "return result"]
    return _compiled(name, "args, kwargs, context", lines, names)


def whole(
    name: str, plan: Plan, func: Function, surroundings: Surroundings, checks: Checks
) -> Function:
    """Write the function that Taskiq calls: check, resolve, call, check.

    Args:
        name: the task's name, shown in tracebacks.
        plan: a plan without teardown.
        func: the task's function.
        surroundings: where requests and threads come from.
        checks: what surrounds the steps.

    Returns:
        A coroutine function of the message's arguments.
    """
    names = {"func": func, "surroundings": surroundings, "made": made, **checks._asdict()}
    lines, call, background = _body(plan, names)
    is_stale = "program.contexts.version != version or program.app.dependency_overrides"
    before = [
        f"if {is_stale} or program.broker.dependency_overrides:",
        "    return await slow(*args, **kwargs)",
        "if kwargs or [*map(type, args)] != exact:",
        "    args, kwargs = load(args, kwargs)",
    ]
    if any(step.provide not in (None, request) for step in plan.steps):
        before += ["if (context := current()) is None:", "    return await slow(*args, **kwargs)"]
    after = [*_end(background), "return result if type(result) is plain else dump(result)"]
    return _compiled(name, "*args, **kwargs", [*before, *lines, f"result = {call}", *after], names)


def _body(plan: Plan, names: dict[str, Any]) -> tuple[list[str], str, str | None]:
    """The lines of the steps, the call, and which value the background tasks are."""
    lines = [_line(number, step, names) for number, step in enumerate(plan.steps)]
    injected = _arguments("task", plan.values, (), plan.defaults, names)
    call = f"await func(*args, **kwargs{injected and ', '}{injected})"
    asked = (n for n, step in enumerate(plan.steps) if step.provide is background_tasks)
    background = next((f"v{number}" for number in asked), None)
    return lines, call, background


def _end(background: str | None) -> list[str]:
    return [] if background is None else [f"await {background}()"]


def _line(number: int, step: Step, names: dict[str, Any]) -> str:
    if step.provide is request:
        return f"v{number} = surroundings.request()"
    if step.provide is not None:
        names[f"p{number}"] = step.provide
        return f"v{number} = p{number}(surroundings, context)"
    arguments = _arguments(str(number), step.values, step.constants, step.defaults, names)
    if step.is_awaited:
        names[f"c{number}"] = step.call
        return f"v{number} = await c{number}({arguments})"
    names[f"s{number}"] = step
    contexts = "None"
    if step.kind.is_generator:
        contexts = "on_function" if step.closes_early else "on_request"
    return f"v{number} = await made(s{number}, dict({arguments}), surroundings.limiter, {contexts})"


def _arguments(
    owner: str,
    values: Iterable[tuple[str, int]],
    constants: Iterable[tuple[str, Any]],
    defaults: Iterable[tuple[str, Callable[[], Any]]],
    names: dict[str, Any],
) -> str:
    given = [_argument(name, f"v{number}") for name, number in values]
    for index, (name, constant) in enumerate(constants):
        names[f"k{owner}_{index}"] = constant
        given.append(_argument(name, f"k{owner}_{index}"))
    for index, (name, default) in enumerate(defaults):
        names[f"d{owner}_{index}"] = default
        given.append(_argument(name, f"d{owner}_{index}()"))
    return ", ".join(given)


def _argument(name: str, expression: str) -> str:
    if name.isidentifier() and not iskeyword(name):
        return f"{name}={expression}"
    return f"**{{{name!r}: {expression}}}"  # a name that only a made-up signature can have


def _compiled(
    name: str, parameters: str, lines: list[str], names: dict[str, Any]
) -> Callable[..., Awaitable[Any]]:
    source = "\n".join([f"async def resolve({parameters}):", *(f"    {line}" for line in lines)])
    # One file for each text, so that a traceback shows the lines that ran.
    file = f"<fastask plan of {name}, {crc32(source.encode()):08x}>"
    exec(compile(source, file, "exec"), names)  # noqa: S102 - written above, from names alone
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    resolve: Callable[..., Awaitable[Any]] = names["resolve"]
    return resolve
