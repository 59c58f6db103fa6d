"""Callables as FastAPI sees them: their typed parameters, and how they are called."""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

if sys.version_info >= (3, 13):
    from inspect import iscoroutinefunction
else:
    # Before 3.13 only asyncio's test knows functions marked as coroutines; FastAPI uses it too.
    from asyncio import iscoroutinefunction

__all__ = [
    "Kind",
    "generics_of",
    "kind_of",
    "location_of",
    "name_of",
    "near_names",
    "typed_parameters",
    "typed_return",
]


class Kind(enum.Enum):
    """How a dependency is called."""

    ASYNC = "async"
    SYNC = "sync"
    ASYNC_GENERATOR = "async generator"
    GENERATOR = "generator"

    @property
    def is_generator(self) -> bool:
        """Whether a dependency of this kind has a teardown."""
        return self in (Kind.ASYNC_GENERATOR, Kind.GENERATOR)


def kind_of(call: Callable[..., Any]) -> Kind:
    """Tell how a callable is called, by FastAPI's rules.

    FastAPI looks through partials and `__wrapped__`, and at `__call__` of instances;
    a class is called as a plain function, whatever its instances are.
    """
    if _any_form(call, inspect.isgeneratorfunction):
        return Kind.GENERATOR
    if _any_form(call, inspect.isasyncgenfunction):
        return Kind.ASYNC_GENERATOR
    if _any_form(call, _is_coroutine_routine):
        return Kind.ASYNC
    return Kind.SYNC


def _is_coroutine_routine(call: object) -> bool:
    return inspect.isroutine(call) and iscoroutinefunction(call)


def _any_form(call: Callable[..., Any], test: Callable[[object], bool]) -> bool:
    bare, behind = _without_partials(call), unwrapped(call)
    if test(bare) or test(behind):
        return True
    if inspect.isclass(behind):
        return False
    for form in (bare, behind):
        method = getattr(form, "__call__", None)  # noqa: B004 - its kind is what is asked
        if method is not None and (test(_without_partials(method)) or test(unwrapped(method))):
            return True
    return False


def _without_partials(call: Any) -> Any:
    while isinstance(call, partial):
        call = call.func
    return call


def unwrapped(call: Any) -> Any:
    """Give the function, class or instance behind partials and decorators."""
    return inspect.unwrap(_without_partials(call))


def typed_parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """List a callable's parameters with their annotations evaluated.

    As FastAPI does it: in the namespace of the module that defines the function; a name
    that is missing there (imported for type checkers only) stays a `ForwardRef`.

    Raises:
        ValueError: the callable has no signature that Python can read.
        TypeError: it is not callable.
    """
    try:
        return list(inspect.signature(call, eval_str=True).parameters.values())
    except NameError:
        namespace = getattr(unwrapped(call), "__globals__", {})
        return [
            parameter.replace(annotation=_evaluated(parameter.annotation, namespace))
            for parameter in inspect.signature(call).parameters.values()
        ]


def _evaluated(annotation: Any, namespace: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, namespace)  # noqa: S307 - the user's own annotation
    except NameError:
        return ForwardRef(annotation)


def generics_of(call: Any) -> Mapping[TypeVar, Any]:
    """Tell what the type variables of a generic class stand for in `Repository[User]`."""
    names = getattr(get_origin(call), "__parameters__", ())
    return dict(zip(names, get_args(call), strict=False))


def name_of(call: Any) -> str:
    """Name a callable for people, without its address."""
    bare = _without_partials(call)
    name = getattr(bare, "__qualname__", None) or type(bare).__qualname__
    return str(name).rpartition("<locals>.")[2]


def near_names(name: str, names: Iterable[str]) -> str:
    """Give the names that somebody may have meant, for an error; empty where none is near."""
    import difflib  # noqa: PLC0415 - it takes longer to load than most of the library

    return " or ".join(map(repr, difflib.get_close_matches(name, list(names), n=3)))


def location_of(call: Any) -> str:
    """Tell where a callable is defined, as `file:line`, or its module where Python can't tell."""
    code = getattr(unwrapped(call), "__code__", None)
    if code is None:
        return str(getattr(unwrapped(call), "__module__", "unknown place"))
    return f"{code.co_filename}:{code.co_firstlineno}"


def typed_return(call: Callable[..., Any]) -> Any:
    """Give the evaluated return annotation: `Any` where there is none.

    What can't be evaluated, or not yet, is a `ForwardRef`, as of parameters.
    """
    try:
        annotation = inspect.signature(call, eval_str=True).return_annotation
    except NameError:
        namespace = getattr(unwrapped(call), "__globals__", {})
        annotation = _evaluated(inspect.signature(call).return_annotation, namespace)
    return Any if annotation is inspect.Signature.empty else annotation
