"""Declaring tasks: options, names, and one place for each name."""

from __future__ import annotations

import inspect
import os.path
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from fastapi import params
from taskiq import AsyncBroker

from fastask.definition import Definition
from fastask.exceptions import DuplicateTaskError, TaskOptionError
from fastask.markers import Marker, marker_of
from fastask.signatures import Kind, kind_of, location_of, name_of, near_names
from fastask.task import AsyncTask, SyncTask, Task

__all__ = ["TaskDecorator", "TaskOptions", "make_task", "markers_of", "register"]

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


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The options of one task.

    Attributes:
        name: its name; by default `module:function`, as Taskiq names it.
        timeout: seconds after which a run is cancelled and failed, Taskiq's label.
        dependencies: dependencies resolved for their effect, before the task's own.
        labels: further labels for Taskiq and its middlewares.
    """

    name: str | None = None
    timeout: float | None = None
    dependencies: Sequence[params.Depends] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str | None, options: Mapping[str, Any]) -> TaskOptions:
        """Check the options of a decorator.

        Raises:
            TaskOptionError: an unknown option, or a value that can't be used.
        """
        for option in options:
            if option not in _OPTIONS:
                raise TaskOptionError(option, _unknown(option, options[option]))
        made = cls(
            name, **{option: value for option, value in options.items() if value is not None}
        )
        made._check()
        return made

    def all_labels(self) -> dict[str, Any]:
        """Give the labels as Taskiq reads them."""
        labels = dict(self.labels)
        if self.timeout is not None:
            labels["timeout"] = self.timeout
        return labels

    def _check(self) -> None:
        name: Any = self.name
        if name is not None and not (isinstance(name, str) and name):
            raise TaskOptionError("name", f"write a name, not {name!r}")
        timeout = self.timeout
        if timeout is not None and not (_is_number(timeout) and timeout > 0):
            raise TaskOptionError("timeout", f"write seconds above 0, not {timeout!r}")
        labels: Any = self.labels
        if not isinstance(labels, Mapping):
            raise TaskOptionError("labels", "write a mapping such as {'queue': 'mail'}")
        if timeout is not None and "timeout" in labels:
            raise TaskOptionError("timeout", "it is in labels too; write it once")


_OPTIONS = ("timeout", "dependencies", "labels")


def _unknown(option: str, value: Any) -> str:
    if option in ("name", "task_name"):
        return f'the name comes first: @ft.task("{value}")'
    if near := near_names(option, _OPTIONS):
        return f"there is no such option; did you mean {near}?"
    return f"there is no such option; write labels={{{option!r}: ...}} for a label of your own"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def markers_of(option: str, dependencies: Any) -> tuple[Marker, ...]:
    """Read `dependencies=[Depends(...)]`.

    Raises:
        TaskOptionError: an entry that is no marker, or one that names no dependency.
    """
    if not isinstance(dependencies, Sequence):
        raise TaskOptionError(option, "write a list: [Depends(...)]")
    markers: list[Marker] = []
    for entry in dependencies:
        if not isinstance(entry, params.Depends) or entry.dependency is None:
            shown = name_of(entry) if callable(entry) else repr(entry)
            raise TaskOptionError(option, f"write Depends(...) around {shown}")
        # FastAPI reads no `use_cache` here either.
        markers.append(replace(marker_of(entry), use_cache=True))
    return tuple(markers)


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
    return handle(definition, options.all_labels())


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
