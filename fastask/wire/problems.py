"""What pydantic says of a misfit, without values, in lengths that fit a log.

Pydantic's own words hold no values, but a validator may tell anything: its words are left out
where they repeat a part of the value. It sees more than the value that it refuses, such as a
field beside it; so where there are secrets, they are looked for in all that was given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from fastask.shortening import shortened
from fastask.wire.annotations import fields_of, walk
from fastask.wire.held import SECRETS, attributes_of

__all__ = ["Secrets", "kind_of_value", "problem", "problems_of", "secrets_in", "short"]

_MOST, _MOST_LISTED = 100, 10_000  # problems that are kept, and out of how many
_LONGEST = 100  # characters of a name or key
_MOST_PARTS = 1000  # of a value that is looked for in a validator's words
# Types of problems that only pydantic words; the others hold the words of an exception.
_IN_PYDANTICS_WORDS = frozenset(get_args(ErrorType)) - {
    "assertion_error",
    "get_attribute_error",
    "iteration_error",
    "value_error",
}
_HIDDEN = "<hidden>"


class Secrets(NamedTuple):
    """What annotations say of secrets.

    Attributes:
        are_expected: whether a value, or a part of it, is to be kept secret.
        names: if keys of mappings are, the only texts that a place may tell: names of fields.
    """

    are_expected: bool = False
    names: frozenset[str] | None = None


_NONE = Secrets()


def secrets_in(annotations: Mapping[str, Any]) -> Secrets:
    """Tell what annotations say of secrets.

    Args:
        annotations: by the name of the parameter.
    """
    parts = list(walk(*annotations.values()))
    are_keys = any(_is_secret(key) for part in parts for key in walk(*_keys(part)))
    names = [*annotations, *(name for part in parts for name in fields_of(part))]
    return Secrets(any(map(_is_secret, parts)), frozenset(names) if are_keys else None)


def problems_of(
    error: ValidationError, given: Any = None, secrets: Secrets = _NONE
) -> tuple[list[dict[str, Any]], int]:
    """Give the problems of an error, and how many there are besides.

    Each one has `type`, `loc`, `msg` and `got`, the type of the value.

    Args:
        error: the error.
        given: all that was checked.
        secrets: what its annotations say of secrets.
    """
    count = error.error_count()
    if count > _MOST_LISTED:  # listing a million takes seconds and a gigabyte
        words = "too many values are wrong to name them"
        return [problem("too_many", "values", words)], count - 1
    found = error.errors(include_url=False, include_context=False)[:_MOST]
    listed = [
        {
            "type": one["type"],
            "loc": tuple(
                short(part) if _is_told(part, secrets) else _HIDDEN for part in one["loc"]
            ),
            "msg": _words(one, given if secrets.are_expected else None),
            "got": "" if "missing" in one["type"] else kind_of_value(one["input"]),
        }
        for one in found
    ]
    return listed, count - len(listed)


def problem(kind: str, parameter: str, message: str, got: str = "") -> dict[str, Any]:
    """Give a problem of ours in the same shape."""
    return {"type": kind, "loc": (short(parameter),), "msg": message, "got": got}


def short(part: int | str) -> int | str:
    """Shorten a part of a place: a key of a foreign message may be of any length."""
    return part if isinstance(part, int) else shortened(part, _LONGEST)


def kind_of_value(value: Any) -> str:
    """Name the type of a value."""
    return type(value).__name__


def _is_told(part: int | str, secrets: Secrets) -> bool:
    return secrets.names is None or isinstance(part, int) or part in secrets.names


def _words(one: Any, seen: Any) -> str:
    """What pydantic or a validator says, unless it repeats the value or a part of it."""
    words = str(one["msg"])
    if one["type"] == "union_tag_invalid":
        return "Input tag does not match any of the expected tags"
    # Of containers pydantic tells nothing but lengths.
    is_plain = one["type"] in _IN_PYDANTICS_WORDS
    texts = _texts(one["input"], 1) if is_plain else _texts([one["input"], seen], _MOST_PARTS)
    for text in texts:
        if text is None or (len(text) > 2 and text in words):
            return "Input is not valid"
    return words


def _texts(value: Any, most: int) -> Iterator[str | None]:
    """Give the texts of a value's leaves; `None` where there are too many to look at."""
    left = [value]
    for _ in range(most):
        if not left:
            return
        part = left.pop()
        if isinstance(part, SECRETS):
            part = part.get_secret_value()
        if isinstance(part, (str, bytes, int, float, Decimal)):
            if not isinstance(part, bool):
                yield from _spellings(part)
        elif most > 1:
            left.extend(_parts(part))
    if most > 1:
        yield None


def _spellings(value: Any) -> Iterator[str]:
    with suppress(ValueError):  # an integer that Python does not print, so nobody has
        yield value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        yield repr(value).removeprefix("b").strip("\"'")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        # Keys that are text name fields, and are told in the place of a problem anyway.
        return [*(key for key in value if not isinstance(key, str)), *value.values()]
    if isinstance(value, Collection):
        return value
    return attributes_of(value).values()


def _keys(annotation: Any) -> tuple[Any, ...]:
    """The type of a mapping's keys."""
    origin = get_origin(annotation)
    is_mapping = isinstance(origin, type) and issubclass(origin, Mapping)
    return get_args(annotation)[:1] if is_mapping else ()


def _is_secret(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, SECRETS)
