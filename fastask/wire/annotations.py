"""What an annotation says of values: whether it leaves types open, and which classes it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import is_typeddict

__all__ = ["class_name", "classes_in", "fields_of", "is_json", "is_open", "is_open_itself"]

_JSON = (str, int, float, bool, NoneType, None, list, dict, Any, object)


def is_open(annotation: Any) -> bool:
    """Whether an annotation leaves the type of a value, or of a part of it, open."""
    return any(is_open_itself(part) for part in _walk(annotation))


def is_open_itself(annotation: Any) -> bool:
    """Whether an annotation, but for its parts, leaves the type of a value open."""
    if annotation is Any or annotation is object or isinstance(annotation, TypeVar):
        return True
    if getattr(get_origin(annotation), "__module__", "") == "collections.abc":
        return True
    is_class = isinstance(annotation, type) and not _is_record(annotation)
    return is_class and issubclass(annotation, (list, dict, set, frozenset, tuple))


def is_json(annotation: Any) -> bool:
    """Whether all values of an annotation are JSON's own, such as those of `list[int]`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is None:
        return any(annotation is kind for kind in _JSON)
    if origin is dict and parts[0] is not str:
        return False
    return origin in (list, dict, Union, UnionType) and all(map(is_json, parts))


def classes_in(annotation: Any) -> dict[str, type]:
    """Give the enums, models, dataclasses and named tuples that an annotation names.

    Returns:
        The classes by `class_name`; none of a name that two of them have.
    """
    found: dict[str, set[type]] = {}
    for part in _walk(annotation):
        kind = type(part) if isinstance(part, Enum) else part
        if _is_class(kind):
            found.setdefault(class_name(kind), set()).add(kind)
    return {name: next(iter(kinds)) for name, kinds in found.items() if len(kinds) == 1}


def class_name(kind: type) -> str:
    """Give the name by which a class of an annotation is found again."""
    return f"{kind.__module__}:{kind.__qualname__}"


def fields_of(annotation: Any) -> Mapping[str, Any]:
    """Give the annotations of the fields of a model, dataclass, `TypedDict` or named tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    if not _is_record(annotation):
        return {}
    try:
        return get_type_hints(annotation)
    except Exception:  # noqa: BLE001 - of a class within a function, or of no use
        return {}


def _walk(annotation: Any) -> Iterator[Any]:
    """Give an annotation and all that it consists of, each once."""
    seen: dict[int, Any] = {}
    left = [annotation]
    while left:
        part = left.pop()
        if id(part) not in seen:
            seen[id(part)] = part
            left.extend(_parts(part))
            yield part


def _parts(annotation: Any) -> Sequence[Any]:
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[:1]
    if parts := get_args(annotation):
        is_literal = get_origin(annotation) is Literal
        return [part for part in parts if isinstance(part, Enum)] if is_literal else parts
    for name in ("__value__", "__supertype__"):  # of `type X = ...`, of `NewType`
        if hasattr(annotation, name):
            return [getattr(annotation, name)]
    config = getattr(annotation, "model_config", {})
    is_extensible = isinstance(config, dict) and config.get("extra") == "allow"
    return [*fields_of(annotation).values(), *([Any] if is_extensible else [])]


def _is_record(annotation: Any) -> bool:
    """Whether it is a dataclass, a `TypedDict` or a named tuple."""
    is_named = isinstance(annotation, type) and hasattr(annotation, "_fields")
    return is_named or is_dataclass(annotation) or is_typeddict(annotation)


def _is_class(part: Any) -> bool:
    if not isinstance(part, type) or is_typeddict(part):
        return False
    return issubclass(part, (Enum, BaseModel)) or _is_record(part)
