"""Values that an error holds, of classes that do not travel: what stands for them shows the same.

An error's text is mostly made of what it holds, so a model must not arrive as a `dict`. But
no object of a class that a result names is made: that would be as good as unpickling.
A stand-in has the text, the fields and, for a class such as `Counter`, the items. Members of
enums are looked up, as they are there already; errors are made as errors always are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic_core import CoreSchema, core_schema

from fastask.wire.annotations import class_name
from fastask.wire.held import SECRETS
from fastask.wire.tags import TAGS
from fastask.wire.writing import CLASS, Writer

__all__ = ["ERROR", "STAND_INS", "ErrorWriter", "Reader", "StandIn", "loaded_class", "told"]

ERROR = "error"
_SHOWN, _MEMBER = "shown", "member"
# What stand-ins are instances of, too; each with what makes one of a value of a subclass.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    tuple: tuple,
    list: list,
    dict: dict,
}


def told(value: Any, tell: Callable[[Any], str]) -> str:
    """Give what `str` or `repr` says of a value, whatever its class does meanwhile."""
    try:
        return tell(value)
    except Exception as error:  # noqa: BLE001 - the class is the user's
        return f"<{type(value).__name__}, whose text can't be had: {type(error).__name__}>"


def loaded_class(name: str, base: type) -> Any:
    """Find a class by its `class_name` among the modules that are loaded; import nothing.

    Returns:
        The class; `None` where there is none, or one that is not derived from `base`.
    """
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) and issubclass(found, base) else None


class StandIn:
    """Stands for a value: it shows as the value did, and has its fields as attributes."""

    def __str__(self) -> str:
        text: str = vars(self)["__shown__"][0]
        return text

    def __repr__(self) -> str:
        words: str = vars(self)["__shown__"][1]
        return words

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if spec else str(self)


class ErrorWriter(Writer):
    """Writes a value that an error holds, so that it can be read as what shows the same.

    Args:
        nested: gives the form of an error within the value; `None` where it is too deep.
        shows: whether what has no form, such as a secret or an open file, is told by its
            `repr`; otherwise it can't be written.
    """

    def __init__(
        self, nested: Callable[[BaseException], Any], *, shows: bool, escapes: bool = True
    ) -> None:
        super().__init__(escapes=escapes)
        self._nested = nested
        self._shows = shows

    def unescaped(self) -> ErrorWriter:
        """Give a writer that leaves mappings that look like tags as they are."""
        return ErrorWriter(self._nested, shows=self._shows, escapes=False)

    def _other(self, value: Any) -> Any:
        if isinstance(value, SECRETS):
            return self._foreign(value)
        if isinstance(value, BaseException):
            form = self._nested(value)
            return self._foreign(value) if form is None else self._marked(ERROR, form)
        if isinstance(value, Enum):
            shown = self._shown(value, value.value)
            return self._marked(_MEMBER, [class_name(type(value)), self.write(value.name), shown])
        if (held := _fields(value)) is not None:
            kind = tuple if isinstance(value, tuple) else list
            return self._shown(value, kind(held.values()), list(held))
        plain = _plain(value)
        if plain is value:
            return self._foreign(value)
        is_same = all(told(plain, tell) == told(value, tell) for tell in (str, repr))
        return self.write(plain) if is_same else self._shown(value, plain)

    def _foreign(self, value: Any) -> Any:
        if not self._shows:
            raise ValueError("an object that may do anything when it is read")
        return self._shown(value, told(value, repr))

    def _tagged(self, kind: type, value: Any) -> Any:
        return self._foreign(value) if kind in SECRETS else super()._tagged(kind, value)

    def _shown(self, value: Any, plain: Any, names: list[str] | None = None) -> Any:
        said = told(value, str), told(value, repr)
        parts = [type(value).__name__, *map(self.write, said), self.write(plain), names]
        return self._marked(_SHOWN, parts)

    def _marked(self, name: str, parts: Any) -> Any:
        self.has_tags = True
        return {CLASS: [name, parts]}


class Reader:
    """What an envelope reads by a function of its own."""

    @staticmethod
    def read(parts: Any) -> Any:
        """Make the value.

        Raises:
            Exception: whatever it likes for parts that nobody has written.
        """
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.read)


class _Shown(Reader):
    @staticmethod
    def read(parts: Any) -> StandIn:
        name, text, words, plain, names = parts
        is_record = names is not None and type(plain) is list
        base: Any = type(plain) if type(plain) in _BASES and not is_record else None
        kind = _kind(name, base)
        made: StandIn = kind() if base is None else kind(plain)
        if names is not None:
            vars(made).update(zip(names, plain, strict=True))
        vars(made)["__shown__"] = text, words
        return made


class _Member(Reader):
    @staticmethod
    def read(parts: Any) -> Any:
        name, member, shown = parts
        kind = loaded_class(name, Enum)
        return shown if kind is None else kind.__members__.get(member, shown)


STAND_INS: Mapping[str, type] = {_SHOWN: _Shown, _MEMBER: _Member}
"""What an envelope of an `ErrorWriter` names, but for `ERROR`."""


@lru_cache(maxsize=256)
def _kind(name: str, base: Any) -> Any:
    """A class of stand-ins, named as the class of the values, since texts tell it."""
    return type(name, (StandIn,) if base is None else (StandIn, base), {})


def _fields(value: Any) -> dict[str, Any] | None:
    """What a model, dataclass or named tuple holds; `None` for others."""
    if isinstance(value, BaseModel):
        held = vars(value)
        known = {name: held[name] for name in type(value).model_fields if name in held}
        return known | (value.__pydantic_extra__ or {})
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    is_named = isinstance(value, tuple) and hasattr(value, "_fields")
    return _named(value) if is_named else None


def _named(value: Any) -> dict[str, Any]:
    return dict(zip(value._fields, value, strict=True))


def _plain(value: Any) -> Any:
    """The value as one of the class that its own is derived from; others are themselves."""
    for kind in type(value).__mro__:
        if kind in _BASES:
            return _BASES[kind](value)
        if kind in TAGS:
            return TAGS[kind].read(TAGS[kind].parts(value))
    return value
