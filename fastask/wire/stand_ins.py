"""Values that an error holds, of classes that do not travel: what stands for them shows the same.

An error's text is mostly made of what it holds, so a model must not arrive as a `dict`. But
no object of a class that a result names is made: that would be as good as unpickling.
A stand-in has the text, the fields and, for a class such as `Counter`, the items. Members of
enums are looked up, as they are there already; errors are made without their `__init__`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from fastask.wire.annotations import class_name
from fastask.wire.held import SECRETS
from fastask.wire.tags import TAGS, Reader
from fastask.wire.writing import CLASS, Writer

__all__ = ["ERROR", "ErrorWriter", "Room", "StandIn", "loaded_class", "stand_ins", "told"]

ERROR = "error"
_SHOWN, _MEMBER = "shown", "member"
_LONGEST_TEXTS = 2**16  # characters, of all that one error holds
_LONGEST_NAME, _MOST_KINDS = 200, 100  # of classes of stand-ins
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
    """Stands for a value: it shows as the value did, and has its fields as attributes.

    One that came without texts shows its fields.
    """

    def __str__(self) -> str:
        text: str | None = vars(self)["__shown__"][0]
        return repr(self) if text is None else text

    def __repr__(self) -> str:
        words: str | None = vars(self)["__shown__"][1]
        if words is not None:
            return words
        held = [f"{name}={value!r}" for name, value in vars(self).items() if name != "__shown__"]
        return f"{type(self).__name__}({', '.join(held)})"

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if spec else str(self)


class Room:
    """How many characters of texts there is room for; one for all that an error holds."""

    def __init__(self) -> None:
        self._left = _LONGEST_TEXTS

    def texts(self, value: Any) -> tuple[str, str | None] | None:
        """Give the `str` of a value, and its `repr` if that differs; `None` for too long ones."""
        if not self._left:
            return None
        text, words = told(value, str), told(value, repr)
        others = None if words == text else words
        taken = len(text) + len(others or "")
        if taken > self._left:
            return None
        self._left -= taken
        return text, others


class ErrorWriter(Writer):
    """Writes a value that an error holds, so that it can be read as what shows the same.

    Args:
        nested: gives the form of an error within the value; `None` where it is too deep.
        room: for texts; what has none left is written without them.
        shows: whether what has no form, such as a secret or an open file, is told by its
            `repr`; otherwise it can't be written.
    """

    def __init__(
        self,
        nested: Callable[[BaseException], Any],
        room: Room,
        *,
        shows: bool,
        escapes: bool = True,
    ) -> None:
        super().__init__(escapes=escapes)
        self._nested = nested
        self._room = room
        self._is_in_record = False
        self._shows = shows

    def unescaped(self) -> ErrorWriter:
        """Give a writer that leaves mappings that look like tags as they are."""
        return ErrorWriter(self._nested, self._room, shows=self._shows, escapes=False)

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
            return self._record(value, held)
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

    def _shown(self, value: Any, plain: Any) -> Any:
        texts = self._room.texts(value)
        return self.write(plain) if texts is None else self._stand_in(value, texts, plain, None)

    def _record(self, value: Any, held: dict[str, Any]) -> Any:
        """Write the fields, and the texts unless those of a record around it tell them."""
        is_inner, self._is_in_record = self._is_in_record, True
        texts = None if is_inner else self._room.texts(value)
        plain = (tuple if isinstance(value, tuple) else list)(held.values())
        form = self._stand_in(value, texts or (None, None), plain, [*held])
        self._is_in_record = is_inner
        return form

    def _stand_in(self, value: Any, texts: Any, plain: Any, names: list[str] | None) -> Any:
        name = type(value).__name__[:_LONGEST_NAME]
        return self._marked(_SHOWN, [name, *map(self.write, texts), self.write(plain), names])

    def _marked(self, name: str, parts: Any) -> Any:
        self.has_tags = True
        return {CLASS: [name, parts]}


class _Shown(Reader):
    """Makes stand-ins, of a number of classes for one error, as a class takes long to make."""

    def __init__(self) -> None:
        self._kinds: set[Any] = set()

    def read(self, parts: Any) -> StandIn:
        name, text, words, plain, names = parts
        words = text if words is None else words
        if not (type(name) is str and len(name) <= _LONGEST_NAME):
            raise ValueError("no name of a class")
        has_texts = type(text) is type(words) is str
        if not has_texts and (text is not None or words is not None or names is None):
            raise TypeError("no texts")
        if names is not None and not (type(names) is list and {*map(type, names)} <= {str}):
            raise TypeError("no names of fields")
        is_record = names is not None and type(plain) is list
        made: StandIn = self._made(name, plain, None if is_record else type(plain))
        if names is not None:
            vars(made).update(zip(names, plain, strict=True))
        vars(made)["__shown__"] = text, words
        return made

    def _made(self, name: str, plain: Any, base: Any) -> Any:
        base = base if base in _BASES else None
        if len(self._kinds) >= _MOST_KINDS and (name, base) not in self._kinds:
            name = StandIn.__name__
        self._kinds.add((name, base))
        kind = _kind(name, base)
        return kind() if base is None else kind(plain)


class _Member(Reader):
    def read(self, parts: Any) -> Any:
        name, member, shown = parts
        kind = loaded_class(name, Enum)
        return shown if kind is None else kind.__members__.get(member, shown)


def stand_ins() -> dict[str, Reader]:
    """Give what reads the values of one error, but for the errors that it holds."""
    return {_SHOWN: _Shown(), _MEMBER: _Member()}


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
