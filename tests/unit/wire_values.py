"""Values of every sort that travels, with their annotations."""

import enum
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr
from taskiq.serializers import (
    CBORSerializer,
    JSONSerializer,
    MSGPackSerializer,
    ORJSONSerializer,
)
from typing_extensions import TypedDict

from fastask import FastTask
from fastask.wire.sameness import is_same

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Flag(enum.Enum):
    PAIR = (1, 2)


class Item(BaseModel):
    name: str
    at: datetime
    price: Decimal = Decimal("1.10")


class Aliased(BaseModel):
    number: int = Field(alias="theNumber")


class Renamed(BaseModel):
    number: int = Field(serialization_alias="theNumber")


class Named(BaseModel):
    """It is read by one name and written by another."""

    secret: SecretStr = SecretStr("\ud800")
    number: int = Field(validation_alias="theNumber", serialization_alias="aNumber")


class Box(BaseModel, Generic[T]):
    value: T


class Node(BaseModel):
    children: list["Node"] = []


@dataclass
class Point:
    x: int
    tags: set[str] = field(default_factory=set)


class Movie(TypedDict):
    name: str
    year: NotRequired[int]


class Login(BaseModel):
    name: str
    password: SecretStr


class Hidden(BaseModel):
    name: str
    note: str = Field(default="", exclude=True)


class Same(BaseModel):
    x: int


class Alike(BaseModel):
    x: int


class Loose(TypedDict):
    name: str
    more: Any


class Pair(NamedTuple):
    left: int
    right: Path


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


Animal = Annotated[Cat | Dog, Field(discriminator="kind")]


SERIALIZERS = [JSONSerializer, ORJSONSerializer, MSGPackSerializer, CBORSerializer]


NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


VALUES: list[tuple[Any, Any]] = [
    (int, 5),
    (int, 2**63),
    (float, 0.1),
    (float, 3.0),
    (bool, True),
    (str, "grüße\n\u2028"),
    (bytes, b"plain"),
    (None, None),
    (datetime, NOW),
    (datetime, NOW.replace(tzinfo=None)),
    (date, NOW.date()),
    (time, time(1, 2, 3)),
    (timedelta, timedelta(days=1, microseconds=5)),
    (timedelta, timedelta.max),
    (Word | str, "yes"),
    (UUID, uuid4()),
    (Decimal, Decimal("1.100")),
    (Path, Path("a/b")),
    (IPv4Address, IPv4Address("10.0.0.1")),
    (Color, Color.RED),
    (Level, Level.LOW),
    (Literal["a", 1], 1),
    (Item, Item(name="pen", at=NOW)),
    (Aliased, Aliased(theNumber=3)),
    (Box[Item], Box[Item](value=Item(name="pen", at=NOW))),
    (Node, Node(children=[Node()])),
    (Point, Point(1, {"a"})),
    (Movie, {"name": "Up"}),
    (Pair, Pair(1, Path("x"))),
    (int | None, None),
    (int | None, 3),
    (int | str, "3"),
    (str | int, 3),
    (UUID | str, "plain"),
    (Item | Point, Point(1, set())),
    (Animal, Cat(lives=3)),
    (Animal, Dog()),
    (list[Decimal], [Decimal("1.0"), Decimal(2)]),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (tuple[UUID, ...], (uuid4(), uuid4())),
    (deque[int], deque([1, 2])),
    (Sequence[Path], [Path("a")]),
    (Mapping[str, Level], {"a": Level.LOW}),
    (dict[UUID, Item], {uuid4(): Item(name="pen", at=NOW)}),
    (dict[int, list[Point]], {1: [Point(1, {"b"})]}),
    (defaultdict[str, int], defaultdict(int, {"a": 1})),
    (list[Animal], [Cat(), Dog()]),
    (dict[str, Any], {"a": [1, {"b": None}]}),
    (Any, {"$ref": "#/defs", "items": [{"$ref": 1}]}),
    (Any, {"$fastask": 1}),
    (dict[str, int], {"$fastask": 1}),
    (Renamed, Renamed(number=5)),
]


def ids(values: list[tuple[Any, Any]]) -> list[str]:
    return [f"{getattr(kind, '__name__', kind)}-{index}" for index, (kind, _) in enumerate(values)]


def echo_of(ft: FastTask, kind: Any) -> tuple[Any, list[Any]]:
    """A task that takes and returns a type, and what its calls were given."""
    seen: list[Any] = []

    async def echo(value: Any, *more: Any, **named: Any) -> Any:
        seen.extend([value, *more, *named.values()])
        return value

    echo.__annotations__.update({"value": kind, "more": kind, "named": kind, "return": kind})
    return ft.task("echo")(echo), seen


BERLIN = ZoneInfo("Europe/Berlin")


UNTOLD: list[tuple[Any, Any]] = [
    (bytes, bytes(range(256))),
    (list[bytes], [b"text", b"\xff"]),
    (bytes | str, b"text"),
    (float, float("inf")),
    (float, float("nan")),
    (dict[str, float], {"a": float("-inf")}),
    (int, 2**64),
    (int, -(10**5000)),
    (str, "\ud800"),
    (list[str], ["a", "\udcff"]),
    (Path, Path("\udcff")),
    (Flag, Flag.PAIR),
    (dict[Flag, int], {Flag.PAIR: 1}),
    (SecretStr, SecretStr("hunter2")),
    (SecretStr, SecretStr("\ud800")),
    (SecretBytes, SecretBytes(b"\xff")),
    (Login, Login(name="ann", password=SecretStr("hunter2"))),
    (datetime | str, NOW),
    (UUID | str, uuid4()),
    (float | Decimal, Decimal("1.10")),
    (Word | str, Word.YES),
    (list[Word | str], [Word.YES, "yes"]),
    (datetime, datetime(2026, 10, 24, 12, tzinfo=BERLIN)),
    (datetime, datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)),
    (time, time(1, 2, tzinfo=BERLIN)),
    (Same | Alike, Alike(x=1)),
    (list[Same | Alike], [Alike(x=1), Same(x=1)]),
    (Secret[int], Secret[int](5)),
    (Hidden, Hidden(name="a", note="b")),
    (Named, Named(theNumber=5)),
    (dict[str, Any], {"$fastask": {"$bytes": "AAA="}}),
    (Any, {"$fastask": {"$uuid": "x"}}),
    (Any, {"$fastask": [1], "b": b"\xff", "c": {"$ref": 1}}),
    (Any, [float("nan"), 2**80, "\ud800", Path("a").name]),
    (Any, SecretStr("hunter2")),
    (Any, SecretBytes(b"\xff")),
    (list, [SecretStr("hunter2")]),
    (Loose, {"name": "pen", "more": [1, b"\xff"]}),
]


"""Values that JSON would change or does not have, so they travel in an envelope."""


EVERYTHING = [*VALUES, *UNTOLD]


def equal(got: Any, value: Any) -> bool:
    is_equal = is_same(value, got) and (got == value or repr(got) == repr(value))
    return is_equal and zone_of(got) == zone_of(value)


def zone_of(value: Any) -> str | None:
    """The name of a time's zone, where it is more than an offset."""
    key: str | None = getattr(getattr(value, "tzinfo", None), "key", None)
    return None if key == "UTC" else key
