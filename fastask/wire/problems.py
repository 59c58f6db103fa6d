"""What pydantic says of a misfit, without values, in lengths that fit a log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from pydantic import Secret, SecretBytes, SecretStr, ValidationError

from fastask.shortening import shortened

__all__ = ["kind_of_value", "problem", "problems_of", "short"]

_MOST, _MOST_LISTED = 100, 10_000  # problems that are kept, and out of how many
_LONGEST = 100  # characters of a name or key
_MOST_PARTS = 1000  # of a value that is looked for in a validator's words
_BY_VALIDATOR = ("value_error", "assertion_error")
_SECRETS = (SecretStr, SecretBytes, Secret)


def problems_of(error: ValidationError) -> tuple[list[dict[str, Any]], int]:
    """Give the problems of an error, and how many there are besides.

    Each one has `type`, `loc`, `msg` and `got`, the type of the value.
    """
    count = error.error_count()
    if count > _MOST_LISTED:  # listing a million takes seconds and a gigabyte
        words = "too many values are wrong to name them"
        return [problem("too_many", "values", words)], count - 1
    found = error.errors(include_url=False, include_context=False)[:_MOST]
    listed = [
        {
            "type": one["type"],
            "loc": tuple(map(short, one["loc"])),
            "msg": _words(one),
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


def _words(one: Any) -> str:
    """What pydantic or a validator says, unless it repeats the value or a part of it."""
    words = str(one["msg"])
    if one["type"] == "union_tag_invalid":
        return "Input tag does not match any of the expected tags"
    # Of containers pydantic tells nothing but lengths; a validator may tell anything.
    by_validator = one["type"] in _BY_VALIDATOR
    for text in _texts(one["input"], _MOST_PARTS if by_validator else 1):
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
        if isinstance(part, _SECRETS):
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
    return getattr(value, "__dict__", {}).values()
