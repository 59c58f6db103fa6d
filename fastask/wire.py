"""Arguments and results on the wire: checked by their annotations, JSON-compatible.

One validator for a task binds and checks all arguments at once, in the caller and again
in the worker. What JSON would change on the way is refused. Nothing is pickled.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Optional, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
)
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

    Attributes:
        exact: the types of a call by position that is right without a further check.

    Raises:
        pydantic.PydanticUserError: an annotation that pydantic has no schema for.
    """

    def __init__(
        self, task: str, specs: Sequence[ParameterSpec], injected: Iterable[str] = ()
    ) -> None:
        self._task = task
        self._injected = frozenset(injected)
        parameters = [_sent(spec) for spec in specs]
        binder: Any = _binder(parameters)
        self._validator: TypeAdapter[Any] = TypeAdapter(binder, config=_ARBITRARY)
        self._types = {sent.name: _WireType(sent.annotation) for sent in parameters}
        self._positional = [sent.name for sent in parameters if sent.kind in _BY_POSITION]
        self._variadic = {sent.kind: sent.name for sent in parameters}
        self._exact = [_exact_type(spec) for spec in specs]
        # Types of a call that needs no further look; `None` is the type of no value.
        is_plain = len(self._positional) == len(specs)
        self.exact: list[type | None] = self._exact if is_plain else [None]
        self._names = [spec.name for spec in specs]

    def dump(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Check a call and turn its arguments into JSON-compatible values.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown, given twice, of a wrong
                type, or injected; or a value would not arrive as it is.
        """
        checked, named = self.load(args, kwargs)
        problems: list[dict[str, Any]] = []

        def dumped(parameter: str, value: Any) -> Any:
            try:
                return self._types[parameter].dump(value)
            except _UnsendableError as error:
                got = type(value).__name__
                problem = {"type": "unsendable", "loc": (parameter,), "msg": str(error), "got": got}
                problems.append(problem)

        sent = [dumped(name, value) for name, value in zip(self._slots(), checked, strict=False)]
        more = self._variadic.get(inspect.Parameter.VAR_KEYWORD, "")
        sent_named = {
            name: dumped(name if name in self._types else more, value)
            for name, value in named.items()
        }
        if problems:
            raise InvalidArgumentsError(self._task, problems)
        return sent, sent_named

    def load(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check arguments and give them in the types that the task is written for.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown, given twice, of a wrong
                type, or injected.
        """
        if not kwargs and list(map(type, args)) == self.exact:
            return tuple(args), {}
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
        given = {name: value for name, value in named.items() if name in kwargs}
        return positional[: len(args)], given

    def _fits(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether all parameters are given, once, in values of their very types."""
        given = len(args)
        types = list(map(type, args))
        if kwargs:
            types += [type(kwargs[name]) for name in self._names[given:] if name in kwargs]
        # As many types as there are arguments: none of them is unknown or doubled.
        is_complete = len(types) == given + len(kwargs)
        return is_complete and types == self._exact and given <= len(self._positional)

    def _slots(self) -> Iterator[str]:
        """Name the parameters that positional arguments are for."""
        yield from self._positional
        while True:
            yield self._variadic.get(inspect.Parameter.VAR_POSITIONAL, "")

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
                "msg": _WITHOUT_VALUE.get(one["type"], one["msg"]),
                "got": "" if "missing" in one["type"] else type(one["input"]).__name__,
            }
            for one in found
        ]

    def _named(self, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """Name a positional argument instead of counting it."""
        first, *rest = loc or ("arguments",)
        if isinstance(first, int) and first < len(self._positional):
            return (self._positional[first], *rest)
        return (first, *rest)


class ResultWire:
    """The result of one task.

    Args:
        task: the task's name, for errors.
        annotation: the return annotation; `Any` where there is none.

    Attributes:
        plain: the type whose values need no check.
    """

    def __init__(self, task: str, annotation: Any) -> None:
        self._task = task
        self._type = _WireType(annotation)
        exact = _plain_type(annotation)
        # A float is looked at: JSON does not have all of them.
        self.plain: type = _Never if exact in (None, float) else exact

    def dump(self, value: Any) -> Any:
        """Check a result and turn it into a JSON-compatible value.

        Raises:
            InvalidResultError: it does not fit the annotation, or would not arrive as it is.
        """
        if type(value) is self.plain:
            return value
        try:
            return self._type.dump(self._type.check(value))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = _WITHOUT_VALUE.get(first["type"], first["msg"])
            got = type(first["input"]).__name__
            reason = f"{place + ': ' if place else ''}{reason} (got {got})"
            raise InvalidResultError(self._task, reason) from None
        except _UnsendableError as error:
            raise InvalidResultError(self._task, str(error)) from None


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
# Messages of pydantic's that repeat the value.
_WITHOUT_VALUE = {"union_tag_invalid": "Input tag does not match any of the expected tags"}


class _Never:
    """The type of no value."""


class _UnsendableError(Exception):
    """A value that would not arrive as it is."""


class _WireType:
    """One annotation: what its values look like in JSON."""

    def __init__(self, annotation: Any) -> None:
        self._adapter = _adapter(annotation)
        self._is_open = _is_open(annotation)

    def check(self, value: Any) -> Any:
        """Give a value in the annotated type.

        Raises:
            pydantic.ValidationError: it does not fit.
        """
        return self._adapter.validate_python(value)

    def dump(self, value: Any) -> Any:
        """Give the JSON form of a checked value.

        Raises:
            _UnsendableError: there is none, or it would be read as something else.
        """
        if type(value) in _PLAIN:
            if type(value) is float and not math.isfinite(value):
                raise _UnsendableError("JSON has no inf and nan; send None or a string")
            return value
        try:
            form = self._adapter.dump_python(
                value, mode="json", by_alias=True, round_trip=True, warnings=False
            )
        except (PydanticSerializationError, UnicodeDecodeError):
            reason = "it has no JSON form; send something that has, such as a string or a number"
            raise _UnsendableError(reason) from None
        # Where the annotation is open, nobody can tell in which type the value should arrive.
        if not self._is_open and not self._is_read_as(form, value):
            reason = "it would arrive as another value; annotate it with a type of its own"
            raise _UnsendableError(reason)
        return form

    def _is_read_as(self, form: Any, value: Any) -> bool:
        try:
            read = self._adapter.validate_python(form)
        except ValidationError:
            return False
        if isinstance(value, BaseModel) and type(read) is not type(value):
            return isinstance(value, type(read))  # the annotation says what travels
        return type(read) is type(value) and bool(read == value)


def _is_open(annotation: Any, above: tuple[Any, ...] = ()) -> bool:
    """Whether an annotation leaves the type of a value, or of a part of it, open."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in (Any, object) or getattr(origin, "__module__", "") == "collections.abc":
        return True
    if not parts and isinstance(annotation, type):
        if issubclass(annotation, (list, dict, set, frozenset, tuple)):
            return not hasattr(annotation, "__annotations__")  # no NamedTuple or TypedDict
        if annotation in above:
            return False
        return any(_is_open(part, (*above, annotation)) for part in _fields(annotation))
    return any(_is_open(part, above) for part in parts)


def _fields(annotation: type) -> list[Any]:
    if issubclass(annotation, BaseModel):
        return [entry.annotation for entry in annotation.model_fields.values()]
    if is_dataclass(annotation):
        return [entry.type for entry in fields(annotation)]
    return []


def _binder(parameters: Sequence[inspect.Parameter]) -> Callable[..., Any]:
    """A function with the message's parameters that gives back what it is called with."""

    def bind(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs

    bind.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bind.__annotations__ = {sent.name: sent.annotation for sent in parameters}
    return bind


def _sent(spec: ParameterSpec) -> inspect.Parameter:
    """A parameter as the message sees it: constraints count, markers have no effect."""
    annotation = spec.parameter.annotation
    if spec.field is not None:
        constraints = tuple(spec.field.metadata)
        annotation = Annotated[(spec.annotation, *constraints)] if constraints else spec.annotation
    if annotation is inspect.Parameter.empty:
        annotation = Any
    default: Any = inspect.Parameter.empty
    if spec.has_default and not spec.is_variadic:
        default = None  # never used as a value, see `ArgumentsWire.load`
        if spec.parameter.default is None:
            annotation = Optional[annotation]  # noqa: UP045 - made at run time, of anything
    return spec.parameter.replace(annotation=annotation, default=default)


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


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return TypeAdapter(annotation, config=_ARBITRARY)
