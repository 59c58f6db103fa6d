"""The dependency tree of a task, as it is declared: before overrides and caching."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, get_origin

from fastapi import Response, WebSocket, params
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic import BaseModel
from starlette.background import BackgroundTasks
from starlette.requests import HTTPConnection
from taskiq import Context, TaskiqState
from taskiq_dependencies import ParamInfo

from fastask.adapter import original
from fastask.exceptions import DependencyError
from fastask.markers import INJECTED, Marker, ParameterSpec, Scope, read_parameter
from fastask.plan import values
from fastask.signatures import Kind, generics_of, kind_of, name_of, typed_parameters, unwrapped

__all__ = ["Node", "TreeReader"]

Chain: TypeAlias = tuple[str, ...]

_PROVIDED: tuple[tuple[type, values.Provider], ...] = (
    (HTTPConnection, values.request),
    (Response, values.response),
    (BackgroundTasks, values.background_tasks),
    (Context, values.context),
    (TaskiqState, values.state),
)
_REMEDY = "give it a default, or override the dependency with one that works in a task"
_NAMELESS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


@dataclass(slots=True)
class Node:
    """One use of a dependency; the root is the task itself.

    Attributes:
        call: what is called: a function, class or instance, never an adapter.
        kind: how it is called.
        chain: names from the task down to it, for errors.
        marker: how it was asked for.
        spec: the parameter it is for; `None` when it is resolved for its effect alone.
        parent_scopes: OAuth2 scopes of those who asked for it.
        children: what it depends on, in the order of its parameters.
        provided: parameter name to what the run provides for it.
        scoped: parameters that get the OAuth2 scopes that hold here.
        defaults: parameters that get their default.
        fixed: parameters whose value the marker tells, by Taskiq's `kwargs=`.
        messaged: on the root, the parameters that a message carries.
        problems: what no task can be given; they count only where the node is used.
        above: the dependencies down to this one.
    """

    call: Callable[..., Any]
    kind: Kind
    chain: Chain
    marker: Marker
    spec: ParameterSpec | None = None
    parent_scopes: tuple[str, ...] = ()
    children: list[Node] = field(default_factory=list)
    provided: dict[str, values.Provider] = field(default_factory=dict)
    scoped: list[str] = field(default_factory=list)
    defaults: dict[str, ParameterSpec] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    messaged: list[ParameterSpec] = field(default_factory=list)
    problems: list[DependencyError] = field(default_factory=list)
    above: tuple[Any, ...] = ()

    @property
    def name(self) -> str | None:
        """The parameter that gets the value."""
        return None if self.spec is None else self.spec.name

    @property
    def injected(self) -> list[str]:
        """The parameters that no message carries."""
        named = [child.name for child in self.children if child.name is not None]
        return [*named, *self.provided, *self.scoped, *self.defaults]

    @property
    def scopes(self) -> tuple[str, ...]:
        """All OAuth2 scopes that hold here, outer ones first, each once."""
        return tuple(dict.fromkeys([*self.parent_scopes, *self.marker.scopes]))

    @property
    def uses_scopes(self) -> bool:
        """Whether a value made for other scopes may differ, as FastAPI decides it."""
        return (
            bool(self.marker.scopes)
            or bool(self.scoped)
            or isinstance(unwrapped(self.call), SecurityBase)
            or any(child.uses_scopes for child in self.children)
        )

    @property
    def teardown_scope(self) -> Scope | None:
        """When a generator is closed; FastAPI counts it into the cache key."""
        if self.marker.scope is not None:
            return self.marker.scope
        return "request" if self.kind.is_generator else None

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """What two uses must share so that one value serves both."""
        scopes = tuple(sorted(set(self.scopes))) if self.uses_scopes else ()
        return (self.call, scopes, self.teardown_scope)


class TreeReader:
    """Reads dependency trees.

    Args:
        extra: classes that Taskiq's `broker.add_dependency_context` provides.
    """

    def __init__(self, extra: Collection[Any] = ()) -> None:
        self._extra = extra

    def task(self, name: str, func: Callable[..., Any], dependencies: Sequence[Marker]) -> Node:
        """Read the tree of a task.

        Args:
            name: the task's name.
            func: its function; parameters that nothing injects come from the message.
            dependencies: markers resolved for their effect, before the function's own.
        """
        root = Node(func, kind_of(func), (name,), Marker(func))
        root.children.extend(self.child(root, marker) for marker in dependencies)
        specs = list(self._parameters(root))
        for spec in specs:
            self._add(root, spec, from_message=True)
        self._check_names(root, specs)
        return root

    def filled(self, node: Node) -> Node:
        """Read the tree below one dependency, which none of those above it may be."""
        if any(node.call is outer for outer in node.above):
            self._problem(node, f"{name_of(node.call)} depends on itself", "break the circle")
            return node
        node.above = (*node.above, node.call)
        specs = list(self._parameters(node))
        for own in specs:
            if not own.is_variadic and own.name not in node.marker.kwargs:
                self._add(node, own)
        node.fixed.update(node.marker.kwargs)
        self._check_names(node, specs)
        return node

    def child(self, parent: Node, marker: Marker, spec: ParameterSpec | None = None) -> Node:
        """Read what one marker of `parent` asks for."""
        call = original(marker.dependency)
        chain = (*parent.chain, *([] if spec is None else [spec.name]), name_of(call))
        outlives = parent.kind.is_generator and parent.teardown_scope == "request"
        if outlives and marker.scope == "function":
            reason = 'a dependency of scope "request" can\'t depend on one of scope "function"'
            parent.problems.append(DependencyError(chain, reason, "give both the same scope"))
        node = Node(call, kind_of(get_origin(call) or call), chain, marker, spec, parent.scopes)
        node.above = parent.above
        return self.filled(node)

    def _parameters(self, node: Node) -> Iterator[ParameterSpec]:
        try:
            parameters = typed_parameters(get_origin(node.call) or node.call)
        except (ValueError, TypeError) as error:
            self._problem(node, f"its signature can't be read ({error})", "wrap it in a function")
            return
        generics = generics_of(node.call)
        for parameter in parameters:
            try:
                yield read_parameter(parameter, generics)
            except ValueError as error:
                remedy = "write one marker, with a dependency or a class"
                self._problem(node, str(error), remedy, parameter.name)

    def _add(self, node: Node, spec: ParameterSpec, *, from_message: bool = False) -> None:
        asked = _provided_by_name(spec)
        if (provided := self._provided(asked, node)) is not None:
            node.provided[spec.name] = provided
        elif _is_kind_of(asked, SecurityScopes):
            node.scoped.append(spec.name)
        elif spec.marker is not None:
            node.children.append(self.child(node, spec.marker, spec))
        elif _is_kind_of(asked, WebSocket):
            remedy = "use another dependency in tasks"
            self._problem(node, "it asks for a WebSocket, which no task has", remedy, spec.name)
        elif from_message and spec.parameter.default is not INJECTED and _in_message(spec):
            node.messaged.append(self._behind_injected(node, spec) if node.injected else spec)
        elif _is_made_from_nothing(spec):
            model = _ModelDefault(spec.parameter, spec.annotation, field=spec.field)
            node.defaults[spec.name] = model
        elif spec.has_default and spec.parameter.default is not INJECTED:
            node.defaults[spec.name] = spec
        else:
            self._problem(node, _missing(spec), _REMEDY, spec.name)

    def _behind_injected(self, node: Node, spec: ParameterSpec) -> ParameterSpec:
        """A parameter whose position in the message would be another one in the function."""
        if spec.parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            reason = "the function would take its items for injected parameters before it"
            remedy = f"put injected parameters behind *{spec.name}"
            self._problem(node, reason, remedy, spec.name)
        if spec.parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            return spec
        parameter = spec.parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        return spec._replace(parameter=parameter)

    def _check_names(self, node: Node, specs: Sequence[ParameterSpec]) -> None:
        """Tell what can't be given, since values are passed by name, as FastAPI does it."""
        given = {*node.injected, *node.fixed}
        if any(spec.parameter.kind is inspect.Parameter.VAR_KEYWORD for spec in specs):
            given -= node.defaults.keys()  # it takes any name, and has the default already
        for spec in specs:
            if spec.name in given and spec.parameter.kind in _NAMELESS:
                reason = "it can only be passed by position, and what is injected goes by name"
                remedy = "let it be passed by name, or wrap the function"
                self._problem(node, reason, remedy, spec.name)

    def _provided(self, asked: Any, node: Node) -> values.Provider | None:
        if asked is ParamInfo:
            return values.fixed(_param_info(node))
        if _is_kind_of(asked, WebSocket):
            return None
        for base, make in _PROVIDED:  # first, since Taskiq's context holds some of these too
            if _is_kind_of(asked, base):
                return make
        is_extra = isinstance(asked, Hashable) and asked in self._extra
        return values.extra(asked) if asked is not None and is_extra else None

    def _problem(self, node: Node, reason: str, remedy: str, *below: str) -> None:
        node.problems.append(DependencyError((*node.chain, *below), reason, remedy))


def _is_kind_of(asked: Any, base: type) -> bool:
    return isinstance(asked, type) and issubclass(asked, base)


def _provided_by_name(spec: ParameterSpec) -> Any:
    """The class that may be provided: an annotation alone, or one under Taskiq's marker."""
    if spec.marker is None:
        return spec.annotation if spec.field is None else None
    return spec.marker.dependency if spec.marker.is_taskiq else None


def _param_info(node: Node) -> ParamInfo:
    """Tell a dependency of the parameter it is for; a plan has no graph of Taskiq's to add."""
    graph: Any = None
    return ParamInfo(node.name or "", graph, None if node.spec is None else node.spec.parameter)


def _in_message(spec: ParameterSpec) -> bool:
    """Whether a message may carry a task's own parameter: not one that only HTTP could fill."""
    is_http = isinstance(spec.field, (params.Param, params.Body))
    return not is_http or spec.has_default


def _is_made_from_nothing(spec: ParameterSpec) -> bool:
    """Whether FastAPI would make this model of parameters from an empty query."""
    source = getattr(getattr(spec.field, "in_", None), "value", None)
    model = spec.annotation
    if source not in ("query", "header", "cookie") or not isinstance(model, type):
        return False
    return issubclass(model, BaseModel) and not any(
        entry.is_required() for entry in model.model_fields.values()
    )


class _ModelDefault(ParameterSpec):
    """The default of a parameter whose model is made from nothing."""

    __slots__ = ()

    @property
    def constant(self) -> tuple[Any, ...]:
        return ()

    def default(self) -> Any:
        return self.annotation.model_validate({})


def _missing(spec: ParameterSpec) -> str:
    if spec.parameter.default is INJECTED:
        return "INJECTED stands where the annotation names no dependency"
    if spec.field is not None:
        return f"{type(spec.field).__name__}() without a default, and a task has no HTTP request"
    return "it has no default, and a task has no HTTP request to take it from"
