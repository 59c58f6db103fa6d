"""Whether a value that arrives is the one that was sent, by what its annotation says."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import count, repeat
from types import NoneType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import is_typeddict

from fastask.wire.annotations import UNIONS, UNKNOWN, bare, fields_of, is_abstract, is_record

__all__ = ["change_of", "is_near", "is_same"]

_Part = tuple[Any, Any, Any, Any]
"""Where a part is, that of the value that was sent, that of the other, and its annotation."""

_SCALARS = frozenset({str, int, bool, NoneType, bytes, UUID, timedelta})
_ANYTHING = (Any, object, Hashable)
_CONTAINERS = (list, tuple, dict, set, frozenset, deque)
# What a value of a subclass may be read as, such as a mocked `datetime`; and an integer.
_PLAIN = frozenset({str, int, float, bytes, datetime, date, time, timedelta, Decimal, UUID})
_NUMBERS = (float, Decimal, complex)


def is_same(sent: Any, read: Any) -> bool:
    """Whether two values are equal and of equal types, in all their parts.

    `==` alone takes `True` for 1, and a time with a zone for one without.
    """
    kind: Any = type(sent)
    if kind is not type(read):
        return False
    if kind in _SCALARS:
        return bool(sent == read)
    if kind is list or isinstance(sent, (list, tuple, deque)):
        return _are_same(sent, read) and _most(sent) == _most(read)
    if kind is dict or isinstance(sent, dict):
        return _are_same(sent, read) and _are_same(sent.values(), read.values())
    if isinstance(sent, (set, frozenset)):
        return _are_same_sets(sent, read)
    if (names := _names(kind)) is not None:  # type: ignore[arg-type]  # a class
        return _have_same(sent, read, names)
    return _is_equal(sent, read)


def is_near(sent: Any, read: Any, annotation: Any) -> bool:
    """Whether a value is read as the one that was sent, but for what its annotation allows.

    What it leaves open is what JSON makes of it. A value of a subclass may be read as what is
    annotated, and a whole number as another number: pydantic leaves defaults as they are. In
    a union that is the nearest of the classes that are annotated.
    """
    return is_same(sent, read) or _is_allowed(sent, read, _shape_of(annotation))


def _is_allowed(sent: Any, read: Any, shape: _Shape) -> bool:
    """Whether an annotation allows that a value is read as another one."""
    if shape.origin in _ANYTHING:
        return True
    if shape.members:
        members = _nearest(sent, shape)
        shapes = map(_shape_of, members)
        return bool(members) and all(_is_allowed(sent, read, each) for each in shapes)
    if (parts := _parts(sent, read, shape)) is not None:
        return all(is_near(one, other, part) for _, one, other, part in parts)
    return _is_plainer(sent, read, type(read) if shape.origin is UNKNOWN else shape.origin)


def change_of(sent: Any, read: Any, annotation: Any) -> tuple[tuple[Any, ...], Any, Any]:
    """Find what makes a value another one.

    Returns:
        Where it is, what was sent there, and what was read.
    """
    shape = _shape_of(annotation)
    if shape.members:
        shape = _shape_of(next(iter(_nearest(sent, shape)), UNKNOWN))
    for place, one, other, part in _parts(sent, read, shape) or ():
        if not is_near(one, other, part):
            places, *changed = change_of(one, other, part)
            return (place, *places), changed[0], changed[1]
    return (), sent, read


class _Shape(NamedTuple):
    """What an annotation is made of.

    Attributes:
        origin: the class, or what else it is.
        arguments: those of its type.
        members: of a union.
        direct: by their class those members that its very values are of, and of no other.
        fields: of a record.
    """

    origin: Any
    arguments: tuple[Any, ...]
    members: tuple[Any, ...]
    direct: Mapping[type, list[Any]]
    fields: Mapping[str, Any] | None


def _shape_of(annotation: Any) -> _Shape:
    try:
        return _known_shape(annotation)
    except TypeError:  # it has metadata that can't be hashed
        return _known_shape.__wrapped__(annotation)


@lru_cache(maxsize=4096)
def _known_shape(annotation: Any) -> _Shape:
    kind = bare(annotation)
    origin = get_origin(kind) or kind
    fields_ = fields_of(kind) if is_record(origin) else None
    members = tuple(_merged(_members(kind)))
    return _Shape(origin, get_args(kind), members, _direct(members), fields_)


def _members(union: Any) -> Iterator[Any]:
    if get_origin(union) in UNIONS:
        for member in map(bare, get_args(union)):
            yield from _members(member) if get_origin(member) in UNIONS else (member,)


def _merged(members: Iterable[Any]) -> Iterator[Any]:
    """Make one of the members of a union that name the same container: of any of their items."""
    alike: dict[Any, list[Any]] = {}
    for member in members:
        parts = get_args(member)
        alike.setdefault((get_origin(member), len(parts), ... in parts), []).append(member)
    for (origin, *_), same in alike.items():
        is_container = origin in _CONTAINERS or (is_abstract(origin) and origin is not Callable)
        yield from _of_any(origin, same) if is_container and len(same) > 1 else same


def _of_any(origin: Any, same: list[Any]) -> list[Any]:
    parts = zip(*map(get_args, same), strict=True)
    try:
        return [origin[tuple(... if ... in each else Union[each] for each in parts)]]  # noqa: UP007
    except TypeError:  # metadata that can't be hashed
        return same


def _direct(members: Iterable[Any]) -> dict[type, list[Any]]:
    """Give the members that are the only ones for the very values of their class."""
    origins = [(get_origin(member) or member, member) for member in members]
    kinds = Counter(origin for origin, _ in origins if isinstance(origin, type))
    if any(origin is Literal or is_typeddict(origin) for origin, _ in origins):
        return {}  # of values of classes that others name
    if not kinds.keys().isdisjoint(_NUMBERS):
        del kinds[int]
    return {origin: [member] for origin, member in origins if kinds.get(origin) == 1}


def _parts(sent: Any, read: Any, shape: _Shape) -> Iterable[_Part] | None:
    """Pair the parts of two values; `None` if they have none, or others than they should."""
    origin = shape.origin
    if is_abstract(origin):
        return _items(sent, read, shape)
    if is_typeddict(origin):
        return _items_of_records(sent, read, shape.fields or {})
    if not isinstance(origin, type) or not isinstance(sent, origin):
        return None
    if type(read) not in (origin, type(sent)):
        return None
    if shape.fields is not None:
        # A subclass may have more fields: nothing that is annotated leaves them open.
        names = shape.fields if type(read) is origin else _shape_of(type(read)).fields or ()
        return [
            (
                name,
                getattr(sent, name, None),
                getattr(read, name, None),
                shape.fields.get(name, UNKNOWN),
            )
            for name in names
        ]
    is_container = issubclass(origin, _CONTAINERS) and _most(sent) == _most(read)
    return _items(sent, read, shape) if is_container else None


def _items_of_records(sent: Any, read: Any, known: Mapping[str, Any]) -> Iterable[_Part] | None:
    """Pair what two mappings of a `TypedDict` hold."""
    if not (isinstance(sent, dict) and isinstance(read, dict) and sent.keys() == read.keys()):
        return None
    return [(name, sent[name], read[name], known.get(name, UNKNOWN)) for name in sent]


def _items(sent: Any, read: Any, shape: _Shape) -> Iterable[_Part] | None:
    """Pair what two containers hold."""
    origin, parts = shape.origin, shape.arguments
    if issubclass(origin, AbstractSet):
        return _items_of_sets(sent, read, *parts[:1])
    if issubclass(origin, Mapping):
        keys, items = (*parts, Any, Any)[:2]
        names = [key if type(key) in (str, int) else "[key]" for key in sent]
        pairs = [
            *zip(names, sent, read, repeat(keys), strict=False),
            *zip(names, sent.values(), read.values(), repeat(items), strict=False),
        ]
        return pairs if len(sent) == len(read) else None
    listed, others = list(sent), list(read)
    if len(listed) != len(others):
        return None
    if issubclass(origin, tuple) and len(parts) == len(listed) and ... not in parts:
        each: Iterable[Any] = parts
    else:
        each = repeat(parts[0] if parts else Any)
    return list(zip(count(), listed, others, each, strict=False))


def _items_of_sets(sent: Any, read: Any, part: Any = Any) -> Iterable[_Part] | None:
    if len(sent) != len(read):
        return None
    if _shape_of(part).origin in _ANYTHING:
        return ()  # they can't be told apart
    found = {item: item for item in read}
    is_complete = all(item in found for item in sent)
    return [(n, item, found[item], part) for n, item in enumerate(sent)] if is_complete else None


def _nearest(sent: Any, union: _Shape) -> list[Any]:
    """Give the members of a union that a value is of, but for those that name a wider class."""
    if (only := union.direct.get(type(sent))) is not None:
        return only
    named = [(member, _class_of(sent, _shape_of(member))) for member in union.members]
    fitting = [(member, kind) for member, kind in named if kind is not None]
    return [
        member
        for member, kind in fitting
        if not any(other is not kind and issubclass(other, kind) for _, other in fitting)
    ]


def _class_of(value: Any, member: _Shape) -> type | None:
    """Give the class by which a value is of a member of a union, if it is."""
    origin = member.origin
    if origin in _ANYTHING:
        return object
    if origin is Literal:
        return type(value) if any(is_same(value, one) for one in member.arguments) else None
    if is_typeddict(origin):
        is_alike = isinstance(value, dict) and (
            origin.__required_keys__ <= value.keys() <= (member.fields or {}).keys()
        )
        return dict if is_alike else None
    if not isinstance(origin, type):
        return None
    is_number = type(value) is int and origin in _NUMBERS
    return origin if is_number or isinstance(value, origin) else None


def _is_plainer(sent: Any, read: Any, kind: Any) -> bool:
    """Whether a value is read as a plain one of what is annotated."""
    if type(read) is not kind:
        return False
    is_number = type(sent) is int and kind in _NUMBERS
    return (is_number or (kind in _PLAIN and isinstance(sent, kind))) and _is_equal(sent, read)


def _are_same(sent: Any, read: Any) -> bool:
    pairs: Iterable[tuple[Any, Any]] = zip(sent, read, strict=False)
    return len(sent) == len(read) and all(is_same(one, other) for one, other in pairs)


def _are_same_sets(sent: Any, read: Any) -> bool:
    found = {item: item for item in read}  # equal ones may differ in their zones
    return len(sent) == len(read) and all(
        item in found and is_same(item, found[item]) for item in sent
    )


def _have_same(sent: Any, read: Any, names: Iterable[str]) -> bool:
    return all(is_same(getattr(sent, name), getattr(read, name)) for name in names)


def _most(value: Any) -> int | None:
    """How many items a `deque` holds at most."""
    return getattr(value, "maxlen", None)


@lru_cache(maxsize=1024)
def _names(kind: Any) -> tuple[str, ...] | None:
    """The attributes of a model or dataclass that travel."""
    if issubclass(kind, BaseModel):
        has_more = kind.model_config.get("extra") == "allow"
        return (*kind.model_fields, *(["__pydantic_extra__"] if has_more else []))
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def _has_same_zone(sent: datetime | time, read: datetime | time) -> bool:
    """Whether both have a zone or none; one with a name is more than its offset of a moment."""
    if sent.tzinfo is None or read.tzinfo is None:
        return sent.tzinfo is read.tzinfo and sent.fold == read.fold
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
