"""Tasks declared in modules that know neither the app nor the broker."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

from fastapi import params
from typing_extensions import Unpack

from fastask.declare import Declared, TaskDecorator, bind, check, make_task
from fastask.depends import DependsMethod
from fastask.exceptions import RouterIncludedError, TaskOptionError
from fastask.markers import Marker
from fastask.options import GivenOptions, TaskOptions, markers_of
from fastask.program import Program
from fastask.task import AsyncTask, SyncTask, Task

__all__ = ["Inclusion", "TaskRouter", "checked_router", "decorate"]

P = ParamSpec("P")
R = TypeVar("R")


class Inclusion(NamedTuple):
    """A `FastTask` that includes a router.

    Attributes:
        program: its app and broker.
        owner: what it is called in errors.
        before: dependencies that are resolved before the router's.
        prefix: put before the names of the router's tasks.
    """

    program: Program
    owner: str
    before: tuple[Marker, ...] = ()
    prefix: str = ""

    @classmethod
    def made(cls, program: Program, owner: str, before: Sequence[Marker], prefix: str) -> Inclusion:
        """Make one.

        Raises:
            TaskOptionError: the prefix can't be used.
        """
        return cls(program, owner, tuple(before), _checked_prefix(prefix))


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
        self._own: list[Declared] = []
        self._included: list[tuple[TaskRouter, str]] = []
        self._inclusions: list[Inclusion] = []

    @overload
    def task(  # type: ignore[overload-overlap]
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def task(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self, target: str | None = None, /, **options: Unpack[GivenOptions]
    ) -> TaskDecorator: ...

    def task(self, target: Any = None, /, **options: Any) -> Any:
        """Declare a task; the options are those of `FastTask.task`."""
        return decorate(target, options, self._declare)

    def include_router(self, router: TaskRouter, *, prefix: str = "") -> None:
        """Include the tasks of another router, those too that are declared later.

        Args:
            router: the other one.
            prefix: put before the names of its tasks, with a colon.

        Raises:
            DuplicateTaskError: a program that has this one has a task of the name of one
                of them.
            RouterIncludedError: it is included here already, or holds this one.
            TaskOptionError: it is no `TaskRouter`, or the prefix can't be used.
        """
        router, checked = checked_router(router), _checked_prefix(prefix)
        if self in router.all_routers():
            raise RouterIncludedError("a TaskRouter can't be part of itself")
        mine = list(self.all_routers())
        for each in router.all_routers():
            if each in mine:
                raise each._included_twice("a TaskRouter")
        inner = [self._inner(inclusion, checked) for inclusion in self._inclusions]
        for inclusion in inner:
            router._check(inclusion)
        self._included.append((router, checked))
        for inclusion in inner:
            router._join(inclusion)

    def all_routers(self) -> Iterator[TaskRouter]:
        """Give this router and all that it includes."""
        yield self
        for router, _ in self._included:
            yield from router.all_routers()

    def join(self, inclusion: Inclusion) -> None:
        """Bind all tasks, now and whenever one is declared.

        Raises:
            DuplicateTaskError: another task of the program has the name of one of them.
            RouterIncludedError: who includes it has it already.
            TaskOptionError: one can't be called with the arguments of its schedule.
        """
        self._check(inclusion)
        self._join(inclusion)

    def _check(self, inclusion: Inclusion) -> None:
        """Check whether all can be bound, before any is."""
        for router in self.all_routers():
            if any(former.program is inclusion.program for former in router._inclusions):
                raise router._included_twice(inclusion.owner)
        check(inclusion.program, list(self._declared(inclusion)))

    def _included_twice(self, where: str) -> RouterIncludedError:
        names = ", ".join(each.handle.task_name for each in self._own) or "none yet"
        reason = f"a TaskRouter is included twice in {where} (its tasks: {names})"
        return RouterIncludedError(f"{reason}; include it once")

    def _join(self, inclusion: Inclusion) -> None:
        bind(inclusion.program, [self._within(each, inclusion) for each in self._own])
        self._inclusions.append(inclusion)
        for router, prefix in self._included:
            router._join(self._inner(inclusion, prefix))

    def _declared(self, inclusion: Inclusion) -> Iterator[Declared]:
        """Give all tasks as a program would have them."""
        yield from (self._within(each, inclusion) for each in self._own)
        for router, prefix in self._included:
            yield from router._declared(self._inner(inclusion, prefix))

    def _within(self, declared: Declared, inclusion: Inclusion) -> Declared:
        before = (*inclusion.before, *self._before)
        return declared._replace(before=before, prefix=inclusion.prefix)

    def _inner(self, inclusion: Inclusion, prefix: str) -> Inclusion:
        """What includes a router that this one includes with a prefix."""
        before = (*inclusion.before, *self._before)
        whole = ":".join(filter(None, (inclusion.prefix, prefix)))
        return inclusion._replace(before=before, prefix=whole)

    def _declare(self, func: Callable[..., Any], options: TaskOptions) -> Task[Any, Any]:
        declared = Declared(func, options, make_task(func, options))
        for inclusion in self._inclusions:
            check(inclusion.program, [self._within(declared, inclusion)])
        self._own.append(declared)
        for inclusion in self._inclusions:
            bind(inclusion.program, [self._within(declared, inclusion)])
        return declared.handle


def decorate(
    target: Any,
    options: Mapping[str, Any],
    declare: Callable[[Callable[..., Any], TaskOptions], Task[Any, Any]],
) -> Any:
    """Serve a decorator that is written bare, with parentheses, or with a name.

    Raises:
        TaskOptionError: an unknown option, or options with the bare form.
    """
    if _is_decorated(target):
        if options:
            reason = "pass the function by @, or as task(...)(function)"
            raise TaskOptionError(next(iter(options)), reason)
        return declare(target, TaskOptions())
    read = TaskOptions.read(target, options)
    return lambda func: declare(func, read)


def _is_decorated(target: Any) -> bool:
    """Whether it is what stands below a bare decorator, which may be no function."""
    return callable(target) or isinstance(target, (classmethod, property))


def checked_router(router: Any) -> TaskRouter:
    """Give a router back.

    Raises:
        TaskOptionError: it is none.
    """
    if not isinstance(router, TaskRouter):
        reason = f"write a TaskRouter, not {type(router).__name__!r}"
        raise TaskOptionError("router", f"{reason}; one of routes goes to app.include_router")
    return router


def _checked_prefix(prefix: Any) -> str:
    if not isinstance(prefix, str) or prefix != prefix.strip(": "):
        raise TaskOptionError("prefix", f"write a name such as 'mail', not {prefix!r}")
    return prefix
