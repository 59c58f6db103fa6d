"""Arguments and results on the wire: checked by their annotations, JSON-compatible.

One validator for a task binds and checks all arguments at once, in the caller and again
in the worker. Nothing is pickled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Optional

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs, PydanticSerializationError

from fastask.exceptions import InvalidArgumentsError, InvalidResultError
from fastask.markers import ParameterSpec

__all__ = ["ArgumentsWire", "ResultWire"]

_ARBITRARY = ConfigDict(arbitrary_types_allowed=True)
# Values of exactly these types are their own JSON form, and need no check where the
# annotation is their very type.
_PLAIN = frozenset({int, float, str, bool, type(None)})


class ArgumentsWire:
    """The arguments of one task.

    Args:
        task: the task's name, for errors.
        specs: the parameters that a message carries.
        injected: names that no message may carry.

    Raises:
        pydantic.PydanticUserError: an annotation that pydantic has no schema for.
    """

    def __init__(
        self, task: str, specs: Sequence[ParameterSpec], injected: Iterable[str] = ()
    ) -> None:
        self._task = task
        self._injected = frozenset(injected)
        binder: Any = _binder(specs)
        self._validator: TypeAdapter[Any] = TypeAdapter(binder, config=_ARBITRARY)
        self._dumpers = [_dumper(spec) for spec in specs]
        self._positions = [_is_positional(spec) for spec in specs]
        self._by_name = {
            spec.name: dumper for spec, dumper in zip(specs, self._dumpers, strict=True)
        }
        self._names = [spec.name for spec in specs]
        self._exact = [(spec.name, _exact_type(spec)) for spec in specs]
        self._positional = sum(self._positions)
        self._more = {
            spec.parameter.kind: dumper
            for spec, dumper in zip(specs, self._dumpers, strict=True)
            if spec.is_variadic
        }

    def dump(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Check a call and turn its arguments into JSON-compatible values.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown, given twice, of a wrong
                type, or injected; or a value has no JSON form.
        """
        checked, named = self.load(args, kwargs)
        try:
            dumped = [self._dump_positional(index, value) for index, value in enumerate(checked)]
            return dumped, {name: self._dump_named(name, value) for name, value in named.items()}
        except PydanticSerializationError as error:
            problem = {"type": "unserializable", "loc": (), "msg": str(error), "got": ""}
            raise InvalidArgumentsError(self._task, [problem]) from None

    def load(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check arguments and give them in the types that the task is written for.

        Raises:
            InvalidArgumentsError: as `dump`.
        """
        if self._fits(args, kwargs):
            return tuple(args), dict(kwargs)
        if not self._injected.isdisjoint(kwargs):
            raise self._forged(kwargs)
        try:
            positional, named = self._validator.validate_python(
                ArgsKwargs(tuple(args), dict(kwargs))
            )
        except ValidationError as error:
            raise InvalidArgumentsError(self._task, self._problems(error)) from None
        # Defaults stay the function's own: a message holds what the caller gave.
        return positional, {name: value for name, value in named.items() if name in kwargs}

    def _fits(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether all parameters are given, once, in values of their very types."""
        given = len(args)
        if given + len(kwargs) != len(self._exact):
            return False
        for value, (_, exact) in zip(args, self._exact, strict=False):
            if type(value) is not exact:
                return False
        for name, exact in self._exact[given:]:
            if name not in kwargs or type(kwargs[name]) is not exact:
                return False
        return given <= self._positional

    def _dump_positional(self, index: int, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if index < len(self._positions) and self._positions[index]:
            return self._dumpers[index](value)
        return self._more[inspect.Parameter.VAR_POSITIONAL](value)

    def _dump_named(self, name: str, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        dumper = self._by_name.get(name) or self._more[inspect.Parameter.VAR_KEYWORD]
        return dumper(value)

    def _forged(self, kwargs: Mapping[str, Any]) -> InvalidArgumentsError:
        message = "is injected by the worker and can't be sent; leave it out"
        return InvalidArgumentsError(
            self._task,
            [
                {"type": "injected", "loc": (name,), "msg": message, "got": ""}
                for name in kwargs
                if name in self._injected
            ],
        )

    def _problems(self, error: ValidationError) -> list[dict[str, Any]]:
        found = error.errors(include_url=False, include_context=False)
        return [
            {
                "type": one["type"],
                "loc": self._named(one["loc"]),
                "msg": one["msg"],
                "got": "" if "missing" in one["type"] else type(one["input"]).__name__,
            }
            for one in found
        ]

    def _named(self, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """Name a positional argument instead of counting it."""
        first, *rest = loc or ("arguments",)
        if isinstance(first, int) and first < len(self._names) and self._positions[first]:
            return (self._names[first], *rest)
        return (first, *rest)


class ResultWire:
    """The result of one task.

    Args:
        task: the task's name, for errors.
        annotation: the return annotation; `Any` where there is none.
    """

    def __init__(self, task: str, annotation: Any) -> None:
        self._task = task
        self._adapter = _adapter(annotation)
        self._exact = _plain_type(annotation)

    def dump(self, value: Any) -> Any:
        """Check a result and turn it into a JSON-compatible value.

        Raises:
            InvalidResultError: it does not fit the annotation, or has no JSON form.
        """
        if type(value) is self._exact:
            return value
        try:
            checked = self._adapter.validate_python(value)
            return _dumped(self._adapter, checked)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = f"{place + ': ' if place else ''}{first['msg']}"
            got = type(first["input"]).__name__
            raise InvalidResultError(self._task, f"{reason} (got {got})") from None
        except PydanticSerializationError as error:
            raise InvalidResultError(self._task, str(error)) from None


def _binder(specs: Sequence[ParameterSpec]) -> Callable[..., Any]:
    """A function with the message's parameters that gives back what it is called with."""

    def bind(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs

    parameters = [_sent(spec) for spec in specs]
    bind.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bind.__annotations__ = {p.name: p.annotation for p in parameters}
    return bind


def _sent(spec: ParameterSpec) -> inspect.Parameter:
    """A parameter as the message sees it: with its full annotation, markers without effect."""
    annotation = spec.parameter.annotation
    if annotation is inspect.Parameter.empty:
        annotation = Any
    default: Any = inspect.Parameter.empty
    if spec.has_default and not spec.is_variadic:
        default = None  # never used as a value, see `ArgumentsWire.load`
        if spec.parameter.default is None:
            annotation = Optional[annotation]  # noqa: UP045 - made at run time, of anything
    return spec.parameter.replace(annotation=annotation, default=default)


def _is_positional(spec: ParameterSpec) -> bool:
    return spec.parameter.kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )


def _exact_type(spec: ParameterSpec) -> type | None:
    """The type whose very values a parameter takes without a check."""
    plain = spec.parameter.kind in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    return _plain_type(spec.parameter.annotation) if plain and spec.field is None else None


def _plain_type(annotation: Any) -> type | None:
    if annotation is None:
        return type(None)
    return annotation if isinstance(annotation, type) and annotation in _PLAIN else None


def _dumper(spec: ParameterSpec) -> Callable[[Any], Any]:
    adapter = _adapter(_sent(spec).annotation)
    return lambda value: _dumped(adapter, value)


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return TypeAdapter(annotation, config=_ARBITRARY)


def _dumped(adapter: TypeAdapter[Any], value: Any) -> Any:
    return adapter.dump_python(value, mode="json", by_alias=True, round_trip=True, warnings=False)
