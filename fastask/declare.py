"""Declaring tasks: options, names, and one place for each name."""

from __future__ import annotations

import inspect
import os.path
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from taskiq import AsyncBroker

from fastask.definition import Definition
from fastask.exceptions import DuplicateTaskError, TaskOptionError
from fastask.options import TaskOptions, markers_of
from fastask.signatures import Kind, kind_of, location_of, name_of
from fastask.task import AsyncTask, SyncTask, Task

__all__ = ["TaskDecorator", "make_task", "register"]

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What `ft.task(...)` with options gives: the decorator itself."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...


def make_task(func: Callable[..., Any], options: TaskOptions) -> Task[Any, Any]:
    """Make the task of a function; it still has to be bound to a program.

    Raises:
        TaskOptionError: the function can't be a task, or an option can't be used.
    """
    if inspect.isclass(func):
        raise TaskOptionError("func", f"{name_of(func)} is a class; a task is a function")
    kind = kind_of(func)
    if kind.is_generator:
        reason = f"{name_of(func)} is a generator; a task returns one value"
        raise TaskOptionError("func", reason)
    dependencies = markers_of("dependencies", options.dependencies)
    definition = Definition(options.name or default_name(func), func, dependencies)
    handle = AsyncTask if kind is Kind.ASYNC else SyncTask
    return handle(definition, options.all_labels(), options.retry)


def default_name(func: Callable[..., Any]) -> str:
    """Name a function as Taskiq names it: `module:function`.

    Raises:
        TaskOptionError: it has no name of its own, as a lambda or a partial.
    """
    name = getattr(func, "__name__", "<lambda>")
    if name == "<lambda>":
        raise TaskOptionError("name", f'{name_of(func)} has no name; write @ft.task("name")')
    module = func.__module__
    if module == "__main__":
        path = os.path.normpath(sys.argv[0]).removesuffix(".py")
        module = path.replace(os.path.sep, ".")
    return f"{module}:{name}"


def register(broker: AsyncBroker, task: Task[Any, Any]) -> None:
    """Make a task known to its broker.

    A module that is loaded again may declare its tasks again.

    Raises:
        DuplicateTaskError: another task has the name.
    """
    first = broker.local_task_registry.get(task.task_name)
    if first is not None:
        there = first.func if isinstance(first, Task) else first.original_func
        if not _is_loaded_again(there, task.func):
            raise DuplicateTaskError(task.task_name, location_of(there), location_of(task.func))
    broker.local_task_registry[task.task_name] = task


def _is_loaded_again(first: Any, second: Any) -> bool:
    """Whether both are one function of a module whose code has run twice."""
    if not (inspect.isfunction(first) and inspect.isfunction(second)):
        return False
    return (
        first.__globals__ is second.__globals__
        and "<locals>" not in second.__qualname__
        and first.__qualname__ == second.__qualname__
        and location_of(first) == location_of(second)
    )
