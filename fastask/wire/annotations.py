"""What an annotation says of values: whether it leaves types open, and which classes it names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    Never,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import (
    AwareDatetime,
    BaseModel,
    FutureDate,
    FutureDatetime,
    NaiveDatetime,
    PastDate,
    PastDatetime,
)
from typing_extensions import ReadOnly, is_typeddict

__all__ = [
    "UNIONS",
    "UNKNOWN",
    "bare",
    "class_name",
    "classes_in",
    "fields_of",
    "is_abstract",
    "is_json",
    "is_open",
    "is_record",
    "walk",
]

UNIONS = (Union, UnionType)

UNKNOWN: Any = Never
"""An annotation that can't be had, such as that of a field of a class within a function."""

_JSON = (str, int, float, bool, NoneType, None, list, dict, Any, object)
_AROUND = (Annotated, ClassVar, Final, NotRequired, ReadOnly, Required)
# Classes of pydantic's that have no instances, and those of which their values are.
_STANDING_FOR: dict[Any, type] = {
    **dict.fromkeys((AwareDatetime, NaiveDatetime, PastDatetime, FutureDatetime), datetime),
    **dict.fromkeys((PastDate, FutureDate), date),
}
# Modules of classes that stand for themselves, or for many others.
_COMMON = ("builtins", "collections.abc", "types", "typing", "typing_extensions")


def is_open(annotation: Any) -> bool:
    """Whether an annotation leaves the type of a value, or of a part of it, open."""
    return any(_is_open_itself(part) for part in walk(annotation))


def is_json(annotation: Any) -> bool:
    """Whether all values of an annotation are JSON's own, such as those of `list[int]`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is None:
        return any(annotation is kind for kind in _JSON)
    if origin is dict and parts and parts[0] is not str:
        return False
    return origin in (list, dict, *UNIONS) and all(map(is_json, parts))


def is_abstract(kind: Any) -> bool:
    """Whether it is a class such as `Sequence`, which leaves open what holds the items."""
    return getattr(kind, "__module__", "") == "collections.abc"


def is_record(kind: Any) -> bool:
    """Whether it is a model, a dataclass, a `TypedDict` or a named tuple."""
    if not isinstance(kind, type):
        return False
    is_named = issubclass(kind, BaseModel) or hasattr(kind, "_fields")
    return is_named or is_dataclass(kind) or is_typeddict(kind)


def classes_in(annotation: Any) -> dict[str, Any]:
    """Give the classes that an annotation names, but for the common ones.

    Returns:
        By `class_name` the class, with its type arguments if it has some; nothing for a name
        that two of them have.
    """
    found: dict[str, list[Any]] = {}
    for part in walk(annotation):
        kind = type(part) if isinstance(part, Enum) else part
        origin = get_origin(kind) or kind
        if isinstance(origin, type) and origin.__module__ not in _COMMON:
            kinds = found.setdefault(class_name(origin), [])
            kinds.extend([] if kind in kinds or is_typeddict(origin) else [kind])
    return {name: kinds[0] for name, kinds in found.items() if len(kinds) == 1}


def class_name(kind: type) -> str:
    """Give the name by which a class of an annotation is found again."""
    return f"{kind.__module__}:{kind.__qualname__}"


def bare(annotation: Any) -> Any:
    """Give the annotation that another one stands for, by a name or with metadata."""
    while True:
        origin = get_origin(annotation)
        named = origin or annotation
        if origin in _AROUND:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, TypeVar):
            annotation = _of_variable(annotation)
        elif hasattr(annotation, "__supertype__"):  # of `NewType`
            annotation = annotation.__supertype__
        elif hasattr(named, "__value__") and not isinstance(named, type):  # of `type X = ...`
            annotation = _filled(named.__value__, named.__type_params__, get_args(annotation))
        else:
            is_class = isinstance(annotation, type)
            return _STANDING_FOR.get(annotation, annotation) if is_class else annotation


def fields_of(annotation: Any) -> dict[str, Any]:
    """Give the annotations of the fields of a record, in those of its type arguments."""
    kind: Any = get_origin(annotation) or annotation
    if not is_record(kind):
        return {}
    if not issubclass(kind, BaseModel):
        variables, arguments = getattr(kind, "__parameters__", ()), get_args(annotation)
        return {name: _filled(part, variables, arguments) for name, part in _hints(kind).items()}
    known: dict[str, Any] = {name: field.annotation for name, field in kind.model_fields.items()}
    if kind.model_config.get("extra") == "allow":
        declared = getattr(kind, "__pydantic_extra_info__", None)  # newer than pydantic 2.12
        known["__pydantic_extra__"] = declared.annotation if declared else dict[str, Any]
    return known


@lru_cache(maxsize=1024)
def _hints(kind: Any) -> dict[str, Any]:
    try:
        known = get_type_hints(kind)
    except Exception:  # noqa: BLE001 - of a class within a function, or of no use
        known = {}
    if is_dataclass(kind):
        names: Any = [field.name for field in fields(kind)]
    elif is_typeddict(kind):
        names = known or kind.__required_keys__ | kind.__optional_keys__
    else:
        names = kind._fields
    return {name: known.get(name, UNKNOWN) for name in names}


def _of_variable(variable: Any) -> Any:
    """What pydantic takes for a type variable that has no argument."""
    if variable.__constraints__:
        return Union[variable.__constraints__]  # noqa: UP007 - made at run time
    if variable.__bound__ is not None:
        return variable.__bound__
    has_default = getattr(variable, "has_default", bool)()  # newer than Python 3.12
    return variable.__default__ if has_default else Any


def _filled(annotation: Any, variables: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """Put type arguments in the place of type variables."""
    known = dict(zip(variables, arguments, strict=False))
    if not all(isinstance(variable, TypeVar) for variable in known):
        return UNKNOWN  # such as `*Ts`
    if isinstance(annotation, TypeVar):
        return known.get(annotation, annotation)
    own = () if isinstance(annotation, type) else getattr(annotation, "__parameters__", ())
    if not known or not own:
        return annotation
    generic: Any = annotation
    return generic[tuple(known.get(variable, variable) for variable in own)]


def _is_open_itself(part: Any) -> bool:
    """Whether an annotation, but for its parts, leaves the type of a value open."""
    origin = get_origin(part) or part
    if origin is Any or origin is object or is_abstract(origin):
        return True
    if get_args(part) or not isinstance(origin, type) or is_record(origin):
        return False
    return issubclass(origin, (list, dict, set, frozenset, tuple, deque))


def walk(*annotations: Any) -> Iterator[Any]:
    """Give annotations and all that they consist of, each once."""
    seen: dict[Any, Any] = {}
    left = [*annotations]
    while left:
        part = bare(left.pop())
        if (key := _key(part)) not in seen:
            seen[key] = part
            left.extend(_parts(part))
            yield part


def _key(part: Any) -> Any:
    """What tells a part from others; the same one may be made again by type arguments."""
    try:
        hash(part)
    except TypeError:  # metadata in it
        return id(part)
    return type(part), part


def _parts(part: Any) -> Sequence[Any]:
    if get_origin(part) is Literal:
        return [one for one in get_args(part) if isinstance(one, Enum)]
    if is_record(get_origin(part) or part):
        return [*fields_of(part).values()]
    return get_args(part)
