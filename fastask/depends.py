"""`ft.depends`: one marker for routes and tasks.

FastAPI resolves it in a route, the compiled plan in a task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar, overload

from fastask.adapter import RouteDepends
from fastask.markers import Scope

__all__ = ["DependsMethod"]

T = TypeVar("T")


class DependsMethod:
    """Gives `FastTask` and `TaskRouter` their `depends`."""

    @overload
    @staticmethod
    def depends(
        dependency: type[T], *, use_cache: bool = True, scope: Scope | None = None
    ) -> T: ...
    @overload
    @staticmethod
    def depends(
        dependency: Callable[..., Coroutine[Any, Any, T]],
        *,
        use_cache: bool = True,
        scope: Scope | None = None,
    ) -> T: ...
    @overload
    @staticmethod
    def depends(
        dependency: Callable[..., AsyncIterator[T]],
        *,
        use_cache: bool = True,
        scope: Scope | None = None,
    ) -> T: ...
    @overload
    @staticmethod
    def depends(
        dependency: Callable[..., Iterator[T]],
        *,
        use_cache: bool = True,
        scope: Scope | None = None,
    ) -> T: ...
    @overload
    @staticmethod
    def depends(
        dependency: Callable[..., T], *, use_cache: bool = True, scope: Scope | None = None
    ) -> T: ...
    @overload
    @staticmethod
    def depends(
        dependency: None = None, *, use_cache: bool = True, scope: Scope | None = None
    ) -> Any: ...

    @staticmethod
    def depends(
        dependency: Callable[..., Any] | None = None,
        *,
        use_cache: bool = True,
        scope: Scope | None = None,
    ) -> Any:
        """Ask for a dependency, in a route or in a task.

        Works as a default value and inside `Annotated`, and is typed as what the dependency
        provides. In a route it is FastAPI's own `Depends`.

        Args:
            dependency: a function, coroutine function, generator function of either kind,
                class or callable instance; nothing means the annotated class.
            use_cache: whether a value made earlier in the same request or task run may
                serve.
            scope: when a generator is closed: `"function"`, before the response is sent or
                the background tasks of a task run, or `"request"`, after that. FastAPI's
                default is `"request"`.

        Returns:
            The marker. FastAPI and fastask put the dependency's value in its place.
        """
        return RouteDepends(dependency, use_cache, scope)
