"""The arguments of a task on the wire: bound and checked by their annotations.

One validator for a task checks all arguments at once, in the caller and again in the
worker.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Optional, get_args, get_origin

import typing_extensions
from pydantic import Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs
from typing_inspection.introspection import AnnotationSource, inspect_annotation
from typing_inspection.typing_objects import is_typealiastype

from fastask.exceptions import InvalidArgumentsError
from fastask.markers import ParameterSpec
from fastask.wire.envelope import UnreadableEnvelopeError, is_envelope
from fastask.wire.problems import (
    Secrets,
    kind_of_value,
    problem,
    problems_of,
    secrets_in,
    short,
)
from fastask.wire.values import ARBITRARY, PLAIN, UnsendableError, ValueWire
from fastask.wire.writing import is_portable

__all__ = ["ArgumentsWire"]

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_INJECTED = "is injected by the worker and can't be sent; leave it out"
_BEHIND = "comes after an injected parameter in the function; pass it by name"


class ArgumentsWire:
    """The arguments of one task.

    Args:
        task: the task's name, for errors.
        specs: the parameters that a message carries.
        injected: names that no message may carry.
        order: the function's own parameters that a position can be meant for.

    Attributes:
        exact: the types of a call by position that is right without a further check.

    Raises:
        pydantic.PydanticUserError: an annotation that pydantic has no schema for.
    """

    def __init__(
        self,
        task: str,
        specs: Sequence[ParameterSpec],
        injected: Iterable[str] = (),
        order: Sequence[str] = (),
    ) -> None:
        self._task = task
        self._injected = frozenset(injected)
        self._order = tuple(order)
        parameters = [_sent(spec) for spec in specs]
        self._annotations = {sent.name: sent.annotation for sent in parameters}
        binder: Any = _binder(parameters)
        self._validator: TypeAdapter[Any] = TypeAdapter(binder, config=ARBITRARY)
        named = {name: kind for sent in parameters for name, kind in _values_of(sent)}
        self._wires = {name: ValueWire(kind) for name, kind in named.items()}
        self._positional = [sent.name for sent in parameters if sent.kind in _BY_POSITION]
        variadic_names = {sent.name for sent in parameters if sent.kind not in _BY_KEYWORD}
        self._keywords = named.keys() - variadic_names
        variadic = {sent.kind: sent.name for sent in parameters}
        self._more = variadic.get(inspect.Parameter.VAR_POSITIONAL, "")
        self._more_named = variadic.get(inspect.Parameter.VAR_KEYWORD, "")
        self._exact = [_exact_type(spec) for spec in specs]
        # Types of a call that needs no further look; `None` is the type of no value.
        is_plain = len(self._positional) == len(specs)
        self.exact: list[type | None] = self._exact if is_plain else [None]
        # By how many come by position, the names and types of those that come by name.
        pairs = {spec.name: kind for spec, kind in zip(specs, self._exact, strict=True)}
        items = list(pairs.items())
        self._rest = [dict(items[given:]) for given in range(len(self._positional) + 1)]
        self._in_order = [([*rest], [*rest.values()]) for rest in self._rest]

    def dump(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Check a call and give its arguments in the form in which they travel.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown, given twice, of a wrong
                type, or injected; or a value would not arrive as it is.
        """
        if not kwargs and [*map(type, args)] == self.exact and all(map(is_portable, args)):
            return [*args], {}  # so that most calls cost little
        if self._fits(args, kwargs):
            if all(map(is_portable, args)) and all(map(is_portable, kwargs.values())):
                return list(args), dict(kwargs)
            return self._each(args, kwargs, ValueWire.dump, "unsendable")
        checked, named = self._checked(args, kwargs)
        pairs = list(zip(checked, args, strict=True))
        by_name = {name: (value, kwargs[name]) for name, value in named.items()}
        return self._each(pairs, by_name, _dump_pair, "unsendable", lambda pair: pair[0])

    def load(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check the arguments of a message and give them in the types of the task.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown, given twice, of a wrong
                type, injected, or in an envelope that nobody has written like this.
        """
        if self._fits(args, kwargs):
            return tuple(args), dict(kwargs)
        if any(map(is_envelope, args)) or any(map(is_envelope, kwargs.values())):
            args, kwargs = self._each(args, kwargs, ValueWire.read, "unreadable")
        return self._checked(args, kwargs)

    def check(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check the arguments of a call and give them in the types of the task.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown, given twice, of a wrong
                type, or injected.
        """
        if self._fits(args, kwargs):
            return tuple(args), dict(kwargs)
        return self._checked(args, kwargs)

    def _checked(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self._injected.isdisjoint(kwargs):
            raise self._forged(kwargs)
        try:
            positional, named = self._validator.validate_python(
                ArgsKwargs(tuple(args), dict(kwargs)), by_alias=True, by_name=True
            )
        except ValidationError as error:
            raise self._misfit(error, (args, kwargs)) from None
        if unknown := kwargs.keys() - named.keys():  # such as an alias, which is a route's
            words = "Unexpected keyword argument"
            problems = [problem("unexpected_keyword_argument", name, words) for name in unknown]
            raise InvalidArgumentsError(self._task, problems)
        # Defaults stay the function's own: a message holds what the caller gave.
        given = {name: value for name, value in named.items() if name in kwargs}
        return positional[: len(args)], given

    def _each(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        change: Callable[[ValueWire, Any], Any],
        kind: str,
        shown: Callable[[Any], Any] = lambda value: value,
    ) -> tuple[list[Any], dict[str, Any]]:
        """Change each argument by the wire of its parameter, and tell all problems at once."""
        problems: list[dict[str, Any]] = []

        def changed(name: str, parameter: str, value: Any) -> Any:
            if parameter not in self._wires:
                return value  # one too many: `check` refuses it
            try:
                return change(self._wires[parameter], value)
            except UnreadableEnvelopeError as error:
                problems.append(problem(kind, name, str(error), kind_of_value(shown(value))))
            except UnsendableError as error:
                for one in error.problems:  # at their places within the value
                    got = one["got"] if one["loc"] else kind_of_value(shown(value))
                    problems.append({**one, "loc": (short(name), *one["loc"]), "got": got})

        slots = zip(self._slots(), args, strict=False)
        named = [(name, name if name in self._keywords else self._more_named) for name in kwargs]
        positional = [changed(name, name, value) for name, value in slots]
        by_keyword = {name: changed(name, slot, kwargs[name]) for name, slot in named}
        if problems:
            raise InvalidArgumentsError(self._task, problems)
        return positional, by_keyword

    def _fits(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether all parameters are given, once, in values of their very types."""
        if not kwargs:
            return [*map(type, args)] == self.exact
        given = len(args)
        if given > len(self._positional) or (given and [*map(type, args)] != self._exact[:given]):
            return False
        names, types = self._in_order[given]
        if [*kwargs] == names:
            return [*map(type, kwargs.values())] == types
        return {name: type(value) for name, value in kwargs.items()} == self._rest[given]

    def _slots(self) -> Iterator[str]:
        """Name the parameters that positional arguments are for."""
        yield from self._positional
        while True:
            yield self._more

    def _forged(self, kwargs: Mapping[str, Any]) -> InvalidArgumentsError:
        forged = [name for name in kwargs if name in self._injected]
        problems = [problem("injected", name, _INJECTED) for name in forged]
        return InvalidArgumentsError(self._task, problems)

    @cached_property
    def _secrets(self) -> Secrets:
        return secrets_in(self._annotations)

    def _misfit(self, error: ValidationError, given: Any) -> InvalidArgumentsError:
        problems, more = problems_of(error, given, self._secrets)
        return InvalidArgumentsError(self._task, [*map(self._named, problems)], more)

    def _named(self, one: dict[str, Any]) -> dict[str, Any]:
        """Name a positional argument instead of counting it."""
        first, *rest = one["loc"] or ("arguments",)
        if not isinstance(first, int):
            return {**one, "loc": (first, *rest)}
        if first < len(self._positional):
            return {**one, "loc": (self._positional[first], *rest)}
        if self._more:
            return {**one, "loc": (self._more, first - len(self._positional), *rest)}
        if first < len(self._order):
            name = self._order[first]
            is_injected = name in self._injected
            kind, words = ("injected", _INJECTED) if is_injected else (one["type"], _BEHIND)
            return problem(kind, name, words, one["got"])
        return one


def _dump_pair(wire: ValueWire, pair: tuple[Any, Any]) -> Any:
    """Give the form of a value that was made of another one by a check."""
    return wire.dump(*pair)


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
    if spec.parameter.kind is inspect.Parameter.VAR_POSITIONAL and _is_unpacked(annotation):
        reason = f"*{spec.name} is a tuple that is unpacked; write the type of one item"
        raise PydanticUserError(reason, code=None)
    if spec.field is not None:
        constraints = tuple(_constraints(spec))
        annotation = Annotated[(spec.annotation, *constraints)] if constraints else spec.annotation
    if annotation is inspect.Parameter.empty:
        annotation = Any
    default: Any = inspect.Parameter.empty
    if spec.has_default and not spec.is_variadic:
        default = None  # never used as a value, see `ArgumentsWire._checked`
        if spec.parameter.default is None:
            annotation = Optional[annotation]  # noqa: UP045 - made at run time, of anything
    return spec.parameter.replace(annotation=annotation, default=default)


def _constraints(spec: ParameterSpec) -> Iterator[Any]:
    """What is demanded of a value beside its type; names and defaults of markers don't count."""
    annotation = spec.parameter.annotation
    while is_typealiastype(annotation):
        annotation = annotation.__value__
    for part in (*getattr(annotation, "__metadata__", ()), spec.parameter.default):
        if isinstance(part, FieldInfo):
            yield from part.metadata
            if part.discriminator is not None:
                yield Field(discriminator=part.discriminator)
        elif part is not spec.parameter.default:
            yield part


def _values_of(sent: inspect.Parameter) -> Iterator[tuple[str, Any]]:
    """Name the values of a parameter, each with its annotation: several of `**kwargs: Unpack`."""
    is_named = sent.kind is inspect.Parameter.VAR_KEYWORD
    if not (is_named and _is_unpacked(sent.annotation)):
        yield sent.name, sent.annotation
        return
    yield sent.name, Any  # names that the `TypedDict` does not have
    [fields] = get_args(sent.annotation)
    hints = typing_extensions.get_type_hints(get_origin(fields) or fields, include_extras=True)
    for name, hint in hints.items():
        bare = inspect_annotation(hint, annotation_source=AnnotationSource.TYPED_DICT)
        yield name, Annotated[(bare.type, *bare.metadata)] if bare.metadata else bare.type


def _is_unpacked(annotation: Any) -> bool:
    """Whether it is `Unpack[tuple[...]]` or `*tuple[...]`, which pydantic takes for one item."""
    is_named = get_origin(annotation) in (typing.Unpack, typing_extensions.Unpack)
    return is_named or getattr(annotation, "__unpacked__", False) is True


def _exact_type(spec: ParameterSpec) -> type | None:
    """The type whose very values a parameter takes without a check."""
    plain = spec.parameter.kind in _BY_KEYWORD
    return _plain_type(spec.parameter.annotation) if plain and spec.field is None else None


def _plain_type(annotation: Any) -> type | None:
    if annotation is None:
        return type(None)
    return annotation if isinstance(annotation, type) and annotation in PLAIN else None
