"""When a schedule is due: checked where it is written, as a scheduler would say it too late.

pycron, which Taskiq's scheduler asks, takes anything and never matches what it does not
understand (pycron 3.2).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastask.shortening import shortened

__all__ = ["cron_problem", "interval_problem", "time_problem", "timezone_problem"]

_LONGEST = timedelta.max.total_seconds()
_SHOWN = 80  # characters of a value


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12),
    _Field("day of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def cron_problem(cron: Any) -> str:
    """Say what is wrong with a cron expression; nothing if it can match.

    Args:
        cron: minute, hour, day of the month, month and day of the week; each of them `*`, a
            number, a range such as `1-5`, a step such as `*/10` or `8-18/2`, or a list of
            these. Days of the week may be names, and start with Sunday as 0.
    """
    entries = cron.split() if isinstance(cron, str) else []
    if len(entries) != len(_FIELDS):
        return f"write five fields such as '0 7 * * *', not {cron!r}"
    for entry, field in zip(entries, _FIELDS, strict=True):
        if not all(_matches(part, field) for part in entry.split(",")):
            return (
                f"{entry!r} is no {field.name}; write '*', a number from {field.first} to "
                f"{field.last}, a range such as '1-5', or a step such as '*/10'"
            )
    return ""


def timezone_problem(zone: Any) -> str:
    """Say what is wrong with the name of a time zone; nothing if there is one."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, OSError, ValueError, TypeError):
        return f"there is no time zone {zone!r}; write one such as 'Europe/Berlin'"
    return ""


def interval_problem(interval: Any) -> str:
    """Say what is wrong with an interval; nothing if a scheduler can wait for it."""
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if is_number and 1 <= seconds <= _LONGEST and float(seconds).is_integer():
        return ""
    shown = shortened(repr(interval), _SHOWN)
    return f"write whole seconds, 1 or more, or a timedelta of them, not {shown}"


def time_problem(time: Any) -> str:
    """Say what is wrong with a time; nothing if it is one."""
    if isinstance(time, datetime):
        return ""
    shown = shortened(repr(time), _SHOWN)
    return f"write a datetime such as datetime(2030, 1, 1, tzinfo=UTC), not {shown}"


def _matches(part: str, field: _Field) -> bool:
    span, slash, step = part.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    start, end = _number(first, field), _number(last if dash else first, field)
    if start is None or end is None or (slash and not (dash and first.isdecimal())):
        return False
    return start <= end or bool(field.words)  # "fri-mon" is fine


def _number(text: str, field: _Field) -> int | None:
    if text.lower() in field.words:
        return field.words.index(text.lower())
    if text.isdecimal() and field.first <= int(text) <= field.last:
        return int(text)
    return None
