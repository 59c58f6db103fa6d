"""What pydantic says of a misfit, without values, in lengths that fit a log."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fastask.shortening import shortened

__all__ = ["kind_of_value", "problem", "problems_of", "short"]

_MOST, _MOST_LISTED = 100, 10_000  # problems that are kept, and out of how many
_LONGEST = 100  # characters of a name or key


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
    """What pydantic or a validator says, unless it repeats the value."""
    given, words = one["input"], str(one["msg"])
    if one["type"] == "union_tag_invalid":
        return "Input tag does not match any of the expected tags"
    if isinstance(given, (str, bytes, int, float)) and not isinstance(given, bool):
        text = given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
        if len(text) > 2 and text in words:
            return "Input is not valid"
    return words
