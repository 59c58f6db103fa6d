"""Writing a value in JSON, with tags where JSON alone does not tell what it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, lru_cache
from math import isfinite
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python

from fastask.wire.annotations import class_name
from fastask.wire.held import SECRETS
from fastask.wire.tags import LOST, TAGS

__all__ = ["CLASS", "LooseWriter", "Writer", "adapter_of", "is_portable"]

CLASS = "$class"
"""The tag of an instance of a class that the annotation names."""

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # what every serializer has, as orjson and msgpack do
_DEEPEST = 200  # pydantic, which writes messages and results, goes to 255
# What values of subclasses are written as.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str,
    int: int,
    float: float,
    list: list,
    dict: dict,
}


def is_portable(form: Any) -> bool:
    """Whether every serializer gives a value back as it is: JSON's own, within its bounds."""
    kind = type(form)
    if kind is str:
        return form.isascii() or _is_text(form)
    if kind is int:
        return bool(_SMALLEST <= form <= _LARGEST)
    if kind is float:
        return isfinite(form)
    if kind is list:
        return all(map(is_portable, form))
    if kind is dict:
        return all(type(key) is str and is_portable(key) for key in form) and all(
            map(is_portable, form.values())
        )
    return kind is bool or form is None


class Writer:
    """Writes one value; it notes what in it needs an envelope.

    Args:
        classes: those of which the class is written too.

    Attributes:
        has_tags: whether JSON alone does not tell what the value is.
        has_escapes: whether a mapping looks like a tag.
    """

    def __init__(self, classes: Iterable[type] = (), *, escapes: bool = True) -> None:
        self._classes = frozenset(classes)
        self._escapes = escapes
        self._depth = 0
        self.has_tags: bool = False
        self.has_escapes: bool = False

    def unescaped(self) -> Writer:
        """Give a writer that leaves mappings that look like tags as they are."""
        return type(self)(self._classes, escapes=False)

    def write(self, value: Any) -> Any:
        """Write a value.

        Raises:
            ValueError: it has no JSON form, or is nested too deeply.
        """
        kind = type(value)
        if kind is str or kind is int or kind is float or kind is bool or value is None:
            return value if is_portable(value) else self._tagged(kind, value)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("it is nested too deeply, or contains itself")
        if kind is list:
            form: Any = [self.write(item) for item in value]
        elif kind is dict:
            form = self._mapping(value)
        else:
            form = self._tagged(kind, value) if kind in TAGS else self._other(value)
        self._depth -= 1
        return form

    def _other(self, value: Any) -> Any:
        """Write what is neither JSON's nor of a type with a tag."""
        known = next((base for base in type(value).__mro__ if base in self._classes), None)
        parts = self._parts(value, known or type(value))
        if known is not None and known not in TAGS:
            self.has_tags = True
            named = _plain_form(value, known) if parts is value else parts
            return {CLASS: [class_name(known), self.write(named)]}
        if parts is not value:
            return self.write(parts)
        for base, plain in _BASES.items():
            if isinstance(value, base):
                return self.write(plain(value))
        for kind in TAGS:
            if isinstance(value, kind):
                return self._tagged(kind, value)
        return self._foreign(value)

    def _foreign(self, value: Any) -> Any:
        if isinstance(value, Iterator):
            raise ValueError("an iterator can be read only once")  # noqa: TRY004 - as others
        if isinstance(value, Mapping):
            return self.write(dict(value))
        if isinstance(value, Collection):
            return self.write(list(value))
        return self.write(to_jsonable_python(value))

    def _parts(self, value: Any, kind: type) -> Any:
        """What an enum, a named tuple, a model or a dataclass holds; others are themselves.

        Fields are taken as they are, whatever the class's own serializers would make of them.
        """
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, tuple):
            return tuple(value)
        if isinstance(value, BaseModel):
            if value.__pydantic_root_model__:  # a `RootModel`, whose module need not be loaded
                return vars(value)["root"]
            names: Any = kind.model_fields if issubclass(kind, BaseModel) else ()
            return {name: vars(value)[name] for name in names} | (value.__pydantic_extra__ or {})
        if is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in fields(kind) if field.init]
            return {name: getattr(value, name) for name in names}
        return value

    def _mapping(self, value: dict[Any, Any]) -> Any:
        if not all(type(key) is str and is_portable(key) for key in value):
            return self._tagged(dict, value)
        if self._escapes and len(value) == 1 and next(iter(value))[:1] == "$":
            self.has_escapes = True
            return self._with_tag(dict, value)
        return {key: self.write(item) for key, item in value.items()}

    def _tagged(self, kind: type, value: Any) -> Any:
        self.has_tags = True
        return self._with_tag(kind, value)

    def _with_tag(self, kind: type, value: Any) -> dict[str, Any]:
        return {TAGS[kind].name: self.write(TAGS[kind].parts(value))}


class LooseWriter(Writer):
    """Writes what JSON does not lose as JSON has it: a `datetime` as a string."""

    def _parts(self, value: Any, kind: type) -> Any:
        if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
            return _anything().dump_python(value, by_alias=False, warnings=False)  # as Taskiq does
        return super()._parts(value, kind)

    def _tagged(self, kind: type, value: Any) -> Any:
        if kind is dict:
            keys = _json_keys(value)
            if len(keys) == len(value) and all(map(is_portable, keys)):
                return self.write(dict(zip(keys, value.values(), strict=True)))
            self.has_tags = True
            pairs = [[Writer().write(key), self.write(item)] for key, item in value.items()]
            return {TAGS[dict].name: pairs}
        if kind in (tuple, set, frozenset, deque):
            return [self.write(item) for item in value]
        if kind in (bytes, bytearray):
            with suppress(UnicodeDecodeError):
                return value.decode()
        elif kind not in LOST:
            return self.write(to_jsonable_python(value))
        return super()._tagged(kind, value)


@lru_cache(maxsize=1024)
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """Give what reads and writes the values of a class that an annotation names."""
    return TypeAdapter(kind)


def _plain_form(value: Any, kind: type) -> Any:
    """What a class without fields that pydantic knows, such as `HttpUrl`, is made of."""
    for base, plain in _BASES.items():
        if isinstance(value, base):
            return plain(value)
    if isinstance(value, SECRETS):
        return value.get_secret_value()
    return adapter_of(kind).dump_python(value, mode="json", warnings=False)


@cache
def _anything() -> TypeAdapter[Any]:
    """What writes any value; made when it is needed, as it costs every import otherwise."""
    return TypeAdapter(Any)


def _json_keys(value: dict[Any, Any]) -> dict[str, None]:
    """The keys of a mapping as JSON has them; fewer where it would lose some."""
    if any(map(_has_secret, value)):
        return {}
    try:
        return dict.fromkeys(next(iter(to_jsonable_python({key: None}))) for key in value)
    except ValueError:
        return {}


def _has_secret(key: Any) -> bool:
    if isinstance(key, (tuple, frozenset)):
        return any(map(_has_secret, key))
    return isinstance(key, SECRETS)


def _is_text(value: str) -> bool:
    """Whether it is encodable: not so with halves of surrogate pairs, as in odd file names."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
