"""What a parameter asks for: the markers of FastAPI and Taskiq, read in one place."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
)

from fastapi import params
from pydantic.fields import FieldInfo
from taskiq_dependencies.dependency import Dependency
from typing_inspection.typing_objects import is_typealiastype

__all__ = ["INJECTED", "Marker", "ParameterSpec", "Scope", "marker_of", "read_parameter"]

Scope: TypeAlias = Literal["function", "request"]
Declared: TypeAlias = params.Depends | Dependency | FieldInfo | None


class _Injected:
    """The type of `INJECTED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "INJECTED"

    def __copy__(self) -> _Injected:
        return self

    def __deepcopy__(self, memo: object) -> _Injected:
        return self

    def __reduce__(self) -> str:
        return "INJECTED"


INJECTED: Any = _Injected()
"""The default of an injected parameter in `Annotated` style.

`*, pool: PoolDep = INJECTED` tells type checkers that a caller may leave `pool` out; the
marker inside `PoolDep` says where the value comes from. FastAPI ignores such a default too.
"""


class Marker(NamedTuple):
    """One request for a dependency, whoever's marker it was written with.

    Attributes:
        dependency: the callable to resolve, or the annotated class.
        use_cache: whether a value made earlier in the same run may serve.
        scope: FastAPI's scope of a generator's teardown.
        scopes: OAuth2 scopes of a `Security` marker.
        kwargs: Taskiq's fixed keyword arguments for the dependency.
        declared: the marker object as it was written.
    """

    dependency: Any
    use_cache: bool = True
    scope: Scope | None = None
    scopes: tuple[str, ...] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    declared: params.Depends | Dependency | None = None

    @property
    def is_taskiq(self) -> bool:
        """Whether it is Taskiq's marker, which may also name a class that Taskiq provides."""
        return isinstance(self.declared, Dependency)


class ParameterSpec(NamedTuple):
    """A parameter and what it asks for.

    Attributes:
        parameter: the parameter with its annotation evaluated.
        annotation: the annotation without `Annotated`; `Any` where there is none.
        marker: the dependency it asks for, if any.
        field: FastAPI's `Query`, `Header`, ... marker, if any; its default is merged in.
    """

    parameter: inspect.Parameter
    annotation: Any
    marker: Marker | None = None
    field: FieldInfo | None = None

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.name

    @property
    def has_default(self) -> bool:
        """Whether the parameter can be left out."""
        if self.field is not None:
            return not self.field.is_required()
        return self.parameter.default is not inspect.Parameter.empty

    @property
    def is_variadic(self) -> bool:
        """Whether it is `*args` or `**kwargs`."""
        return self.parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )

    @property
    def constant(self) -> tuple[Any, ...]:
        """The default as a 1-tuple where every run may share it, else empty."""
        default = self.parameter.default if self.field is None else self.field.default
        made = self.field is not None and self.field.default_factory is not None
        if made or not isinstance(default, (type(None), bool, int, float, str, bytes)):
            return ()
        return (default,)

    def default(self) -> Any:
        """Make the default for one run: a copy, factories called, as FastAPI does."""
        if self.field is not None:
            return self.field.get_default(call_default_factory=True, validated_data={})
        return copy.deepcopy(self.parameter.default)


def read_parameter(
    parameter: inspect.Parameter, generics: Mapping[TypeVar, Any] | None = None
) -> ParameterSpec:
    """Read what a parameter asks for.

    FastAPI's precedence: the last of its own markers inside `Annotated`, or the marker
    given as the default. Taskiq's markers are read in the same places.

    Args:
        parameter: a parameter whose annotation is evaluated.
        generics: what the type variables of a generic class stand for.

    Raises:
        ValueError: markers that contradict each other.
    """
    annotation = _alias_value(parameter.annotation)
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = tuple(rest)
    if annotation is inspect.Parameter.empty:
        annotation = Any
    annotation = _substituted(annotation, generics or {})
    declared = _declared(parameter, metadata)
    if isinstance(declared, FieldInfo):
        return ParameterSpec(parameter, annotation, field=declared)
    if declared is None:
        return ParameterSpec(parameter, annotation)
    return ParameterSpec(parameter, annotation, marker=_marker(declared, annotation, generics))


def _alias_value(annotation: Any) -> Any:
    while is_typealiastype(annotation):
        annotation = annotation.__value__
    return annotation


def _substituted(annotation: Any, generics: Mapping[TypeVar, Any]) -> Any:
    return generics.get(annotation, annotation) if isinstance(annotation, TypeVar) else annotation


def _declared(parameter: inspect.Parameter, metadata: tuple[Any, ...]) -> Declared:
    """Pick the marker that counts; a FastAPI field marker gets the parameter's default."""
    ours = (params.Param, params.Body, params.Depends, Dependency)
    inside = next((item for item in reversed(metadata) if isinstance(item, ours)), None)
    default = parameter.default
    outside = default if isinstance(default, (params.Depends, Dependency, FieldInfo)) else None
    if inside is not None and outside is not None and not isinstance(outside, Dependency):
        raise ValueError("it has a marker in Annotated and another one as its default")
    if inside is None and outside is None and default is inspect.Parameter.empty:
        return _with_default(metadata)
    declared = inside if outside is None else outside
    if not isinstance(inside, FieldInfo) or declared is not inside:
        return declared
    merged = copy.copy(inside)
    other = _with_default(metadata) if inside.is_required() else None
    if other is not None:
        merged.default, merged.default_factory = other.default, other.default_factory
    if default is not inspect.Parameter.empty and default is not INJECTED:
        merged.default = default
    return merged


def _with_default(metadata: tuple[Any, ...]) -> FieldInfo | None:
    """Pydantic's own `Field` inside `Annotated`, where it brings the default."""
    fields = (item for item in reversed(metadata) if isinstance(item, FieldInfo))
    return next((item for item in fields if not item.is_required()), None)


def _marker(
    declared: params.Depends | Dependency, annotation: Any, generics: Mapping[TypeVar, Any] | None
) -> Marker:
    dependency: Any = declared.dependency
    if dependency is None:
        dependency = annotation
    dependency = _substituted(dependency, generics or {})
    if isinstance(dependency, (ForwardRef, str)) or dependency is Any:
        raise ValueError("its marker names no dependency and its annotation can't be evaluated")
    if isinstance(declared, Dependency):
        return Marker(
            dependency, declared.use_cache, kwargs=dict(declared.kwargs), declared=declared
        )
    return marker_of(declared, dependency)


def marker_of(declared: params.Depends, dependency: Any = None) -> Marker:
    """Read a marker of FastAPI's: `Depends`, `Security`, or what `ft.depends` gives.

    Args:
        declared: the marker.
        dependency: the annotated class, where the marker itself names no dependency.
    """
    scopes = declared.scopes or () if isinstance(declared, params.Security) else ()
    return Marker(
        declared.dependency if dependency is None else dependency,
        declared.use_cache,
        scope=declared.scope,
        scopes=tuple(scopes),
        declared=declared,
    )
