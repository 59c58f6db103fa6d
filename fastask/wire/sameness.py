"""Whether a value that arrives is the one that was sent: equal, and of equal types."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import is_typeddict

from fastask.wire.annotations import fields_of, is_open, is_open_itself

__all__ = ["is_near", "is_same"]

_SCALARS = frozenset({str, int, bool, NoneType, bytes, UUID, timedelta})
# What a value of a subclass may be read as, such as a mocked `datetime`.
_PLAIN = frozenset({str, int, float, bytes, datetime, date, time, timedelta, Decimal, UUID})


def is_same(sent: Any, read: Any) -> bool:
    """Whether two values are equal and of equal types, in all their parts.

    `==` alone takes `True` for 1, and a time with a zone for one without. A model or dataclass
    may be read as a base of its class, as the annotation says what travels, and a whole number as
    another number: pydantic leaves defaults as they are.
    """
    kind: Any = type(sent)
    if kind is not type(read):
        return _is_wider(sent, read)
    if kind in _SCALARS:
        return bool(sent == read)
    if kind is list or isinstance(sent, (list, tuple, deque)):
        return _are_same(sent, read)
    if kind is dict or isinstance(sent, dict):
        return _are_same(sent, read) and _are_same(sent.values(), read.values())
    if isinstance(sent, (set, frozenset)):
        return {(type(item), item) for item in sent} == {(type(item), item) for item in read}
    if (names := _names(kind)) is not None:  # type: ignore[arg-type]  # a class
        return _has_same(sent, read, names)
    return _is_equal(sent, read)


def is_near(sent: Any, read: Any, annotation: Any) -> bool:
    """Whether two values are the same but for what the annotation leaves open."""
    if is_same(sent, read) or is_open_itself(annotation):
        return True
    if not is_open(annotation):
        return False
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return is_near(sent, read, parts[0])
    if origin in (Union, UnionType):
        # What is of a class that one member names is not left open by another one.
        named = [part for part in parts if _names_class_of(sent, part)]
        return any(is_near(sent, read, part) for part in named or parts)
    if origin is dict:
        pairs = zip(sent.items(), read.items(), strict=False)
        keys, items = parts
        return len(sent) == len(read) and all(
            is_near(one[0], other[0], keys) and is_near(one[1], other[1], items)
            for one, other in pairs
        )
    if origin in (list, tuple):
        return _are_near(sent, read, parts)
    if known := fields_of(annotation):
        return isinstance(read, type(sent)) and all(
            is_near(_field(sent, name), _field(read, name), part) for name, part in known.items()
        )
    return True  # such as `type X = ...`, or a set, whose items can't be told apart


def _names_class_of(value: Any, annotation: Any) -> bool:
    is_class = isinstance(annotation, type) and not is_open_itself(annotation)
    return is_class and not is_typeddict(annotation) and isinstance(value, annotation)


def _are_near(sent: Any, read: Any, parts: tuple[Any, ...]) -> bool:
    if len(sent) != len(read):
        return False
    each = parts if len(parts) == len(sent) and ... not in parts else parts[:1] * len(sent)
    pairs = zip(sent, read, each, strict=True)
    return all(is_near(one, other, part) for one, other, part in pairs)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _is_wider(sent: Any, read: Any) -> bool:
    """Whether a value is read in another type that will do."""
    kind: Any = type(read)
    if (names := _names(kind)) is not None and isinstance(sent, kind):
        return _has_same(sent, read, names)
    if type(sent) is int and kind in (float, Decimal, complex):
        return bool(sent == read)
    is_plain = kind in _PLAIN and isinstance(sent, kind) and not isinstance(sent, Enum)
    if kind is date and isinstance(sent, datetime):
        return False
    return is_plain and _is_equal(sent, read)


def _are_same(sent: Any, read: Any) -> bool:
    pairs: Iterable[tuple[Any, Any]] = zip(sent, read, strict=False)
    return len(sent) == len(read) and all(is_same(one, other) for one, other in pairs)


def _has_same(sent: Any, read: Any, names: Iterable[str]) -> bool:
    extra = getattr(read, "__pydantic_extra__", None) or {}
    return all(is_same(getattr(sent, name), getattr(read, name)) for name in (*names, *extra))


@lru_cache(maxsize=1024)
def _names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a model or dataclass."""
    if issubclass(kind, BaseModel):
        return tuple(kind.model_fields)
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def _has_same_zone(sent: datetime | time, read: datetime | time) -> bool:
    """Whether both have a zone or none; one with a name is more than its offset of a moment."""
    if (sent.tzinfo is None) != (read.tzinfo is None):
        return False
    zones = [getattr(zone, "key", None) for zone in (sent.tzinfo, read.tzinfo)]
    return zones[0] in (zones[1], "UTC")


def _is_equal(sent: Any, read: Any) -> bool:
    if isinstance(sent, (datetime, time)) and not _has_same_zone(sent, read):
        return False
    if isinstance(sent, Decimal):
        return bool(sent.as_tuple() == read.as_tuple())
    comparison: Any = type(sent).__eq__
    if comparison is object.__eq__:  # a class that compares nothing but identity
        return not hasattr(sent, "__dict__") or bool(vars(sent) == vars(read))
    try:
        return bool(sent == read or (sent != sent and read != read))  # noqa: PLR0124 - NaN
    except (TypeError, ValueError):
        return True  # such as an array, which tells for each of its items
