"""Dependencies with Taskiq's markers, made readable for FastAPI.

In a route FastAPI would take a Taskiq marker for the default of a query parameter. An
adapter shows it the same dependency with markers of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, replace
from typing import Annotated, Any, ForwardRef, get_origin

from fastapi import params
from starlette.requests import HTTPConnection
from taskiq import Context, TaskiqState
from taskiq_dependencies import ParamInfo

from fastask.exceptions import DependencyError
from fastask.markers import Marker, ParameterSpec, read_parameter
from fastask.signatures import generics_of, kind_of, name_of, typed_parameters, unwrapped

__all__ = ["RouteAdapter", "RouteDepends", "adapted", "original"]


def adapted(dependency: Callable[..., Any]) -> Callable[..., Any]:
    """Give what FastAPI should be shown: the dependency itself wherever that works."""
    return RouteAdapter(dependency) if _needs_adapter(dependency) else dependency


@dataclass(frozen=True)
class RouteDepends(params.Depends):
    """FastAPI's marker, for a dependency that may have to be adapted.

    FastAPI fills in the annotated class where none is named, by making the marker anew.
    """

    def __post_init__(self) -> None:
        parents: Any = super()
        if hasattr(parents, "__post_init__"):  # FastAPI 0.165 has one, 0.128 does not
            parents.__post_init__()
        if self.dependency is not None:
            object.__setattr__(self, "dependency", adapted(self.dependency))


def original(call: Any) -> Any:
    """Give the dependency that was written, without the adapter for routes."""
    return call.dependency if isinstance(call, RouteAdapter) else call


class RouteAdapter:
    """A dependency whose parameters are marked as FastAPI expects.

    It equals the dependency that it stands for, so overrides of that dependency and
    FastAPI's cache work as if it were not there.

    Attributes:
        dependency: the dependency as it is written.
    """

    def __init__(
        self, dependency: Callable[..., Any], kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self.dependency = dependency
        self._kwargs = dict(kwargs or {})
        self._is_generator = kind_of(get_origin(dependency) or dependency).is_generator
        self.__wrapped__: Any = unwrapped(get_origin(dependency) or dependency)

    @property
    def __signature__(self) -> inspect.Signature:
        """What FastAPI reads: made when it does, since annotations may name later classes."""
        specs = [spec for spec in _specs(self.dependency) if spec.name not in self._kwargs]
        return inspect.Signature([_shown(spec) for spec in specs])

    def __call__(self, **values: Any) -> Any:
        """Call the dependency; what it gives is what FastAPI expects of its kind."""
        made = self.dependency(**self._kwargs, **values)
        if self._is_generator and isinstance(made, AbstractAsyncContextManager):
            return _entered_async(made)
        if self._is_generator and isinstance(made, AbstractContextManager):
            return _entered(made)
        return made

    def __eq__(self, other: object) -> bool:
        kwargs = other._kwargs if isinstance(other, RouteAdapter) else {}
        return bool(self.dependency == original(other)) and self._kwargs == kwargs

    def __hash__(self) -> int:
        return hash(self.dependency)

    def __repr__(self) -> str:
        return f"RouteAdapter({name_of(self.dependency)})"


def _entered(context: AbstractContextManager[Any]) -> Iterator[Any]:
    """Taskiq enters context managers; FastAPI takes their functions for generators."""
    with context as value:
        yield value


async def _entered_async(context: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
    async with context as value:
        yield value


def _specs(dependency: Callable[..., Any]) -> list[ParameterSpec]:
    generics = generics_of(dependency)
    try:
        parameters = typed_parameters(get_origin(dependency) or dependency)
        specs = [read_parameter(parameter, generics) for parameter in parameters]
    except (ValueError, TypeError):
        return []  # FastAPI or the plan says what is wrong, with the place
    return [spec for spec in specs if not spec.is_variadic]


def _needs_adapter(dependency: Any, above: tuple[Any, ...] = ()) -> bool:
    """Whether a Taskiq marker stands anywhere below a dependency."""
    if not callable(dependency) or any(dependency is outer for outer in above):
        return False
    if get_origin(dependency) is not None:
        return True  # FastAPI reads no generic class
    if _is_unfinished(dependency):
        return True  # nobody can tell yet
    markers = [spec.marker for spec in _specs(dependency) if spec.marker is not None]
    return any(
        marker.is_taskiq or _needs_adapter(original(marker.dependency), (*above, dependency))
        for marker in markers
    )


def _is_unfinished(dependency: Callable[..., Any]) -> bool:
    """Whether an annotation names what is not defined yet."""
    try:
        parameters = typed_parameters(dependency)
    except (ValueError, TypeError):
        return False
    return any(isinstance(parameter.annotation, ForwardRef) for parameter in parameters)


def _shown(spec: ParameterSpec) -> inspect.Parameter:
    """One parameter with FastAPI's marker; all are keywords, so their order is free."""
    parameter = spec.parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    if spec.marker is None:
        return parameter
    asked = spec.marker.dependency
    bare = inspect.Parameter.empty
    if spec.marker.is_taskiq and isinstance(asked, type) and issubclass(asked, HTTPConnection):
        return parameter.replace(default=bare, annotation=asked)
    return parameter.replace(
        default=bare, annotation=Annotated[Any, _for_fastapi(spec.marker, spec)]
    )


def _for_fastapi(marker: Marker, spec: ParameterSpec) -> params.Depends:
    call = original(marker.dependency)
    if isinstance(marker.declared, params.Depends):
        return replace(marker.declared, dependency=adapted(call))
    if call in (Context, TaskiqState, ParamInfo):
        return params.Depends(_only_in_tasks(call, spec))
    shown = RouteAdapter(call, marker.kwargs) if marker.kwargs else adapted(call)
    return params.Depends(shown, use_cache=marker.use_cache)


def _only_in_tasks(asked: type, spec: ParameterSpec) -> Callable[[], Any]:
    def refuse() -> Any:
        reason = f"it asks for Taskiq's {asked.__name__}, which only a running task has"
        raise DependencyError(("route", spec.name), reason, "override this dependency in routes")

    return refuse
