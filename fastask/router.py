"""Tasks declared in modules that know neither the app nor the broker."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from fastapi import params

from fastask.declare import TaskDecorator, TaskOptions, make_task, markers_of
from fastask.depends import DependsMethod
from fastask.exceptions import TaskOptionError
from fastask.markers import Marker
from fastask.task import AsyncTask, SyncTask, Task

__all__ = ["TaskRouter"]

P = ParamSpec("P")
R = TypeVar("R")


class TaskRouter(DependsMethod):
    """A group of tasks without a broker, to be included with `ft.include_router(router)`.

    Args:
        dependencies: dependencies of all its tasks, resolved for their effect before the
            task's own.

    Raises:
        TaskOptionError: an entry of `dependencies` is no marker.
    """

    def __init__(self, *, dependencies: Sequence[params.Depends] = ()) -> None:
        self._before = markers_of("dependencies", dependencies)
        self._own: list[tuple[Callable[..., Any], TaskOptions, Task[Any, Any]]] = []
        self._included: list[TaskRouter] = []

    @overload
    def task(  # type: ignore[overload-overlap]
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def task(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        name: str | None = None,
        /,
        *,
        timeout: float | None = None,
        dependencies: Sequence[params.Depends] = (),
        labels: Mapping[str, Any] | None = None,
    ) -> TaskDecorator: ...

    def task(self, target: Any = None, /, **options: Any) -> Any:
        """Declare a task; the options are those of `FastTask.task`."""
        return decorate(target, options, self._declare)

    def include_router(self, router: TaskRouter) -> None:
        """Include the tasks of another router."""
        self._included.append(router)

    def declared(
        self, before: Sequence[Marker] = ()
    ) -> Iterator[tuple[Callable[..., Any], TaskOptions, Task[Any, Any], tuple[Marker, ...]]]:
        """Yield function, options, handle and outer dependencies of every task."""
        outer = (*before, *self._before)
        for func, options, task in self._own:
            yield func, options, task, outer
        for router in self._included:
            yield from router.declared(outer)

    def _declare(self, func: Callable[..., Any], options: TaskOptions) -> Task[Any, Any]:
        task = make_task(func, options)
        self._own.append((func, options, task))
        return task


def decorate(
    target: Any,
    options: Mapping[str, Any],
    declare: Callable[[Callable[..., Any], TaskOptions], Task[Any, Any]],
) -> Any:
    """Serve a decorator that is written bare, with parentheses, or with a name.

    Raises:
        TaskOptionError: an unknown option, or options with the bare form.
    """
    if callable(target):
        if options:
            reason = "pass the function by @, or as task(...)(function)"
            raise TaskOptionError(next(iter(options)), reason)
        return declare(target, TaskOptions())
    read = TaskOptions.read(target, options)
    return lambda func: declare(func, read)
