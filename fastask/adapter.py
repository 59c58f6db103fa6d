"""Dependencies with Taskiq's markers, made readable for FastAPI.

In a route FastAPI would take a Taskiq marker for the default of a query parameter. An
adapter shows it the same dependency with markers of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import params
from starlette.requests import HTTPConnection
from taskiq import Context, TaskiqState

from fastask.exceptions import DependencyError
from fastask.markers import Marker, ParameterSpec, read_parameter
from fastask.signatures import name_of, typed_parameters

__all__ = ["RouteAdapter", "adapted", "original"]


def adapted(dependency: Callable[..., Any]) -> Callable[..., Any]:
    """Give what FastAPI should be shown: the dependency itself wherever that works."""
    return RouteAdapter(dependency) if _needs_adapter(dependency) else dependency


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
        self.__wrapped__ = dependency
        self.__signature__: inspect.Signature = inspect.Signature(
            [_shown(spec) for spec in _specs(dependency) if spec.name not in self._kwargs]
        )

    def __call__(self, **values: Any) -> Any:
        """Call the dependency."""
        return self.dependency(**self._kwargs, **values)

    def __eq__(self, other: object) -> bool:
        kwargs = other._kwargs if isinstance(other, RouteAdapter) else {}
        return bool(self.dependency == original(other)) and self._kwargs == kwargs

    def __hash__(self) -> int:
        return hash(self.dependency)

    def __repr__(self) -> str:
        return f"RouteAdapter({name_of(self.dependency)})"


def _specs(dependency: Callable[..., Any]) -> list[ParameterSpec]:
    try:
        specs = [read_parameter(parameter) for parameter in typed_parameters(dependency)]
    except (ValueError, TypeError):
        return []  # FastAPI or the plan says what is wrong, with the place
    return [spec for spec in specs if not spec.is_variadic]


def _needs_adapter(dependency: Any, above: tuple[Any, ...] = ()) -> bool:
    """Whether a Taskiq marker stands anywhere below a dependency."""
    if not callable(dependency) or any(dependency is outer for outer in above):
        return False
    markers = [spec.marker for spec in _specs(dependency) if spec.marker is not None]
    return any(
        marker.is_taskiq or _needs_adapter(original(marker.dependency), (*above, dependency))
        for marker in markers
    )


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
    if call in (Context, TaskiqState):
        return params.Depends(_only_in_tasks(call, spec))
    shown = RouteAdapter(call, marker.kwargs) if marker.kwargs else adapted(call)
    return params.Depends(shown, use_cache=marker.use_cache)


def _only_in_tasks(asked: type, spec: ParameterSpec) -> Callable[[], Any]:
    def refuse() -> Any:
        reason = f"it asks for Taskiq's {asked.__name__}, which only a running task has"
        raise DependencyError(("route", spec.name), reason, "override this dependency in routes")

    return refuse
