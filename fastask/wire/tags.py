"""The leaves of an envelope: for each type a tag, the parts it is written as, and its reader.

Readers take what writers write and nothing else, within bounds: a message may be anybody's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Secret, SecretBytes, SecretStr

__all__ = ["LOST", "READERS", "TAGS", "Reader", "Tag"]

Moment = TypeVar("Moment", datetime, time)

_LONGEST = 10_000  # digits of a number, and the most that its exponent moves the point by
_MOST_COLLISIONS = 100  # items of a set with one hash; more of them take ages


class Reader(ABC):
    """What reads leaves of one name by a function of its own, not by their class."""

    @abstractmethod
    def read(self, parts: Any) -> Any:
        """Make the value.

        Raises:
            Exception: whatever it likes for parts that nobody has written.
        """


class Tag(NamedTuple):
    """How values of one type are written and read.

    Attributes:
        name: the key.
        parts: what a value is written as.
        read: makes the value of it; raises whatever it likes for something else.
    """

    name: str
    parts: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _text(value: Any) -> str:
    return _only(str, value)  # type: ignore[no-any-return]


def _only(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"no {kind.__name__}")
    return value


def _hex(value: int) -> str:
    if value.bit_length() > 4 * _LONGEST:
        raise ValueError(f"an integer of more than {_LONGEST} digits")
    return hex(value)


def _integer(text: Any) -> int:
    if len(_text(text)) > _LONGEST + 3:
        raise ValueError("too long")
    return int(text, 16)


def _decimal(value: Any) -> Decimal:
    number = Decimal(value if isinstance(value, Decimal) else _text(value))
    _, digits, exponent = number.as_tuple()
    if len(digits) > _LONGEST or (isinstance(exponent, int) and abs(exponent) > _LONGEST):
        raise ValueError(f"a decimal of more than {_LONGEST} digits")
    return number


def _odd_float(text: Any) -> float:
    number = float(_text(text))
    if isfinite(number):
        raise ValueError("a number that JSON has")
    return number


def _base64(value: bytes | bytearray) -> str:
    return b64encode(value).decode()


def _bytes(text: Any) -> bytes:
    return b64decode(_text(text), validate=True)


def _when(value: datetime | time) -> list[Any]:
    """The text of a time; with a named zone or as the second of two, what it is there."""
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key:
        return [value.replace(tzinfo=None, fold=0).isoformat(), zone.key, value.fold]
    if zone is None and value.fold:
        return [value.isoformat(), None, value.fold]
    return [value.isoformat()]


def _reads_when(kind: type[Moment]) -> Callable[[Any], Moment]:
    def read(parts: Any) -> Moment:
        text, *zone = _only(list, parts)
        value: Moment = kind.fromisoformat(text)
        if not zone:
            return value
        key, fold = zone
        return value.replace(tzinfo=None if key is None else ZoneInfo(key), fold=fold)

    return read


def _hashed(items: Iterable[Any]) -> list[Any]:
    """Items of a set or keys of a mapping, unless hashing them would not end."""
    listed = list(items)
    hashes = Counter(map(hash, listed))
    if hashes and hashes.most_common(1)[0][1] > _MOST_COLLISIONS:
        raise ValueError("too many items of one hash")
    return listed


def _mapping(pairs: Any) -> dict[Any, Any]:
    listed = [(key, item) for key, item in _only(list, pairs)]
    _hashed(key for key, _ in listed)
    return dict(listed)


def _deque(parts: Any) -> deque[Any]:
    items, longest = parts
    return deque(_only(list, items), longest)


TAGS: dict[type, Tag] = {
    str: Tag(
        "$str",
        lambda value: _base64(value.encode("utf-8", "surrogatepass")),
        lambda text: _bytes(text).decode("utf-8", "surrogatepass"),
    ),
    int: Tag("$int", _hex, _integer),
    float: Tag("$float", repr, _odd_float),
    bytes: Tag("$bytes", _base64, _bytes),
    bytearray: Tag("$bytearray", _base64, lambda text: bytearray(_bytes(text))),
    datetime: Tag("$datetime", _when, _reads_when(datetime)),
    date: Tag("$date", date.isoformat, lambda text: date.fromisoformat(_text(text))),
    time: Tag("$time", _when, _reads_when(time)),
    timedelta: Tag(
        "$timedelta",
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*[_only(int, part) for part in parts]),
    ),
    UUID: Tag("$uuid", str, lambda text: UUID(_text(text))),
    Decimal: Tag("$decimal", lambda value: str(_decimal(value)), _decimal),
    complex: Tag("$complex", repr, lambda text: complex(_text(text))),
    type(Path()): Tag("$path", str, lambda text: Path(_text(text))),
    SecretStr: Tag("$secret", SecretStr.get_secret_value, lambda text: SecretStr(_text(text))),
    SecretBytes: Tag(
        "$secretbytes",
        SecretBytes.get_secret_value,
        lambda value: SecretBytes(_only(bytes, value)),
    ),
    Secret: Tag("$secretvalue", Secret.get_secret_value, Secret),
    tuple: Tag("$tuple", list, lambda items: tuple(_only(list, items))),
    set: Tag("$set", list, lambda items: set(_hashed(_only(list, items)))),
    frozenset: Tag("$frozenset", list, lambda items: frozenset(_hashed(_only(list, items)))),
    deque: Tag("$deque", lambda value: [list(value), value.maxlen], _deque),
    dict: Tag("$dict", lambda value: [[key, item] for key, item in value.items()], _mapping),
}
READERS: dict[str, Callable[[Any], Any]] = {tag.name: tag.read for tag in TAGS.values()}

LOST: tuple[type, ...] = (str, int, float, SecretStr, SecretBytes, Secret)
"""Types of values that JSON does not have at all, or masks; plain ones come here seldom."""
