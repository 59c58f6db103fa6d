"""An envelope: a value in JSON whose leaves say what they are.

What JSON holds as it is travels as it is, as Taskiq sends it. Elsewhere the value is put
into an envelope, `{"$fastask": ...}`, with leaves such as `{"$bytes": "AAE="}`. Opening one
makes values of the standard library, pydantic's secrets, and instances of the classes that
the reader names.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

from fastask.wire.tags import READERS, Reader
from fastask.wire.writing import CLASS, Writer, adapter_of

__all__ = ["UnreadableEnvelopeError", "enclosed", "is_envelope", "opened"]

_ENVELOPE = "$fastask"


class UnreadableEnvelopeError(ValueError):
    """An envelope that nobody has written like this."""


def is_envelope(form: Any) -> bool:
    """Whether a value looks like an envelope."""
    is_wrapped = type(form) is dict and len(form) == 1 and _ENVELOPE in form
    return is_wrapped and type(form[_ENVELOPE]) in (dict, list)


def enclosed(value: Any, writer: Writer) -> Any:
    """Write a value in JSON, in an envelope if JSON alone does not tell what it is.

    Args:
        value: the value.
        writer: a new writer.

    Raises:
        ValueError: there is no JSON form, or the value is too deep.
    """
    form = writer.write(value)
    if writer.has_tags:
        return {_ENVELOPE: form}
    plain = writer.unescaped().write(value) if writer.has_escapes else form
    return {_ENVELOPE: form} if is_envelope(plain) else plain


def opened(envelope: Any, classes: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Give the value that an envelope holds.

    Args:
        envelope: the envelope.
        classes: by `class_name`, the only classes that it makes instances of; with their type
            arguments. Or what reads leaves of another name.

    Raises:
        UnreadableEnvelopeError: nobody has written it like this.
    """
    try:
        return _read(envelope[_ENVELOPE], classes)
    except Exception as error:
        raise UnreadableEnvelopeError("the envelope can't be read") from error


def _read(form: Any, classes: Mapping[str, Any]) -> Any:
    if type(form) is list:
        return [_read(item, classes) for item in form]
    if type(form) is not dict:
        return form
    if len(form) == 1 and next(iter(form))[:1] == "$":
        [(tag, parts)] = form.items()
        if tag == CLASS:
            name, parts = parts
            return _instance(classes[name], _read(parts, classes))
        return READERS[tag](_read(parts, classes))
    return {key: _read(item, classes) for key, item in form.items()}


def _instance(kind: Any, parts: Any) -> Any:
    if isinstance(kind, Reader):
        return kind.read(parts)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(parts)
    return adapter_of(kind).validate_python(parts, by_alias=True, by_name=True)
