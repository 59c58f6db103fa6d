"""Declaring tasks and giving them to programs: all checks first, so that nothing is half done."""

from __future__ import annotations

import inspect
import os.path
import sys
from collections import ChainMap
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from taskiq import AsyncTaskiqDecoratedTask

from fastask.definition import Definition
from fastask.exceptions import DuplicateTaskError, TaskOptionError
from fastask.markers import Marker
from fastask.options import TaskOptions, markers_of
from fastask.program import Program
from fastask.retries import RetryMiddleware
from fastask.schedules import check_schedules
from fastask.signatures import Kind, kind_of, location_of, name_of
from fastask.task import AsyncTask, SyncTask, Task

__all__ = ["Declared", "TaskDecorator", "bind", "check", "make_task"]

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


class Declared(NamedTuple):
    """A task that a program is to have.

    Attributes:
        func: its function.
        options: its options.
        handle: what was declared; it is bound to the first program that has it.
        before: dependencies that are resolved before its own.
        prefix: put before its name, with a colon.
    """

    func: Callable[..., Any]
    options: TaskOptions
    handle: Task[Any, Any]
    before: tuple[Marker, ...] = ()
    prefix: str = ""

    def bound(self, program: Program, handle: Task[Any, Any] | None = None) -> Task[Any, Any]:
        """Give the handle, or else a new one, as the program's."""
        task = make_task(self.func, self.options) if handle is None else handle
        task.bind(program, self.before, self.prefix)
        return task


def check(program: Program, declared: Sequence[Declared]) -> None:
    """Check names and schedules, and change nothing.

    Raises:
        DuplicateTaskError: another task has the name of one of them.
        TaskOptionError: one can't be called with the arguments of its schedule.
    """
    known = ChainMap[str, Any]({}, program.broker.local_task_registry)
    for task in [each.bound(program) for each in declared]:
        if (first := known.get(task.task_name)) is not None:
            _check_again(first, task)
        check_schedules(task)
        known[task.task_name] = task


def bind(program: Program, declared: Sequence[Declared]) -> None:
    """Give checked tasks to a program and its broker."""
    for each in declared:
        task = each.bound(program, None if each.handle.is_bound else each.handle)
        program.broker.local_task_registry[task.task_name] = task
        if task.retry is not None:
            RetryMiddleware.install(program.broker)


def make_task(func: Any, options: TaskOptions) -> Task[Any, Any]:
    """Make the task of a function; it still has to be bound to a program.

    Raises:
        TaskOptionError: the function can't be a task, or an option can't be used.
    """
    if not callable(func):
        reason = "write it above a function or a @staticmethod"
        raise TaskOptionError("func", f"{reason}, not {type(func).__name__!r}")
    if inspect.isclass(func):
        raise TaskOptionError("func", f"{name_of(func)} is a class; a task is a function")
    kind = kind_of(func)
    if kind.is_generator:
        reason = f"{name_of(func)} is a generator; a task returns one value"
        raise TaskOptionError("func", reason)
    dependencies = markers_of("dependencies", options.dependencies)
    definition = Definition(
        options.name or default_name(func), func, dependencies, is_retried=options.is_retried
    )
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


def _check_again(first: AsyncTaskiqDecoratedTask[Any, Any], task: Task[Any, Any]) -> None:
    """Refuse a second task of one name; a module that is loaded again may declare its own again."""
    there = first.func if isinstance(first, Task) else first.original_func
    if not _is_loaded_again(there, task.func):
        raise DuplicateTaskError(task.task_name, location_of(there), location_of(task.func))


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
