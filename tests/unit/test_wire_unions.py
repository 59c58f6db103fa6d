"""Unions: a value arrives as the member that it was."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import PurePath, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import pytest
from pydantic import VERSION, AnyUrl, BaseModel, ByteSize, Field, HttpUrl, SecretStr
from typing_extensions import TypedDict

from fastask import InvalidArgumentsError
from fastask.wire.values import UnsendableError, ValueWire
from tests.unit.test_wire_corners import Kind, task_of, there

T = TypeVar("T")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ONE = UUID(int=1)


class Event(BaseModel):
    id: int


class Created(Event):
    """It adds nothing."""


class Renamed(Event):
    name: str = "?"


class Special(Created):
    """No annotation names it."""

    more: int = 1


class Priced(BaseModel):
    price: float = 0


class Heading(BaseModel):
    event: Event | Created


class Noted(BaseModel):
    data: dict[str, Any]


class Dated(Noted):
    """The same fields, one of them open."""


@dataclass
class Shape:
    width: int


@dataclass
class Square(Shape):
    pass


@dataclass(frozen=True)
class Key:
    number: int


@dataclass(frozen=True)
class Door(Key):
    pass


@dataclass
class Counting:
    """A number that is read as a base of `bool`, beside one that is not."""

    number: int
    is_odd: bool


@dataclass
class Left(Generic[T]):
    value: T


@dataclass
class Right(Generic[T]):
    value: T


class Pair(NamedTuple):
    left: int


class Card(TypedDict):
    at: datetime | str


class Password(SecretStr):
    pass


class Site(BaseModel):
    url: HttpUrl | str
    address: IPv4Address | str


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Event | Created, Created(id=1)),
        (Event | Created, Event(id=1)),
        (Created | Event, Event(id=1)),
        (list[Created | Event], [Event(id=1), Created(id=1)]),
        (dict[str, Event | Created | None], {"a": Created(id=1)}),
        (Event | Renamed, Renamed(id=1)),
        (Heading, Heading(event=Created(id=1))),
        (Shape | Square, Square(1)),
        (Noted | Dated, Dated(data={"a": ONE})),
        (set[Key | Door], {Door(1), Key(1)}),
        (Sequence[Event | Created], [Created(id=1)]),
        (Counting, Counting(3, is_odd=True)),
        (dict[bool | int, int], {True: 1, 0: 2}),
        (tuple[int, ...] | list[Any], (1, 2)),
        (tuple[int, int] | list, (1, 2)),
        pytest.param(
            Pair | tuple[int],
            (1,),
            marks=pytest.mark.skipif(
                VERSION < "2.13",
                reason="pydantic 2.12's own check makes a Pair of it, as `run` does",
            ),
        ),
        (list[UUID] | list[Any], ["a", ONE]),
        (Card | dict[str, Any], {"at": NOW}),
        (Literal[Kind.ONE] | dict[str, Any] | str, Kind.ONE),
        (UUID | Any, ONE),
        (ByteSize | int, ByteSize(5)),
    ],
    ids=str,
)
def test_member_of_a_union(kind: Any, value: Any) -> None:
    """Neither a base of its class nor an open member takes it."""
    got = there(kind, value)
    assert repr(got) == repr(value) or got == value
    assert type(got) is type(value)
    assert [*map(type, got)] == [*map(type, value)] if isinstance(value, list) else True


def test_result_of_a_subclass() -> None:
    definition = task_of(Event | Created)._definition
    assert type(definition.load_result(definition.results.dump(Created(id=1)))) is Created


async def test_union_is_what_it_is_in_a_run() -> None:
    """`run` and a message give a task the same class."""
    task = task_of(Event | Created)
    assert type(await task.run(Created(id=1))) is type(there(Event | Created, Created(id=1)))


def test_class_that_no_annotation_names() -> None:
    """It arrives as the nearest class that one names."""
    for kind, nearest in ((Event, Event), (Event | Created, Created)):
        assert type(there(kind, Special(id=1))) is nearest
    assert there(Counting, Counting(True, is_odd=True)) == Counting(1, is_odd=True)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (IPv4Address | str, IPv4Address("1.2.3.4")),
        (IPv4Address | str, "1.2.3.4"),
        (str | IPv4Address | IPv6Address, IPv6Address("::1")),
        (IPv4Address | IPv4Network, IPv4Network("1.2.3.4/32")),
        (HttpUrl | str, HttpUrl("http://a/")),
        (AnyUrl | str, AnyUrl("http://a/")),
        (list[HttpUrl | str], [HttpUrl("http://a/"), "http://a/"]),
        (dict[HttpUrl | str, int], {HttpUrl("http://a/"): 1}),
        (Annotated[HttpUrl, Field(description="it")] | str, HttpUrl("http://a/")),
        (Sequence[Fraction | str], [Fraction(1, 2), "1/2"]),
        (Mapping[str, Fraction | str], {"a": Fraction(1, 2)}),
        (str | re.Pattern[str], re.compile("a")),
        (PurePath | str, PurePosixPath("a")),
        (Password | str, Password("hunter2")),
        (Site, Site(url=HttpUrl("http://a/"), address=IPv4Address("1.2.3.4"))),
        (Left[int] | Right[int], Right(1)),
        (list[Left[datetime] | Right[datetime]], [Right(NOW), Left(NOW)]),
        (Left[Event] | Right[Event | Created], Right(Created(id=1))),
    ],
    ids=str,
)
def test_class_without_fields_and_generic_one(kind: Any, value: Any) -> None:
    """It travels by its name where its JSON form is that of another member."""
    got = there(kind, value)
    assert got == value
    assert repr(got) == repr(value)


def test_plain_form_where_there_is_one() -> None:
    """A value that is read as it was is in no envelope."""
    for kind, value, form in (
        (IPv4Address | str, "a", "a"),
        (IPv4Address | int, IPv4Address("1.2.3.4"), "1.2.3.4"),
        (Event | Created, Event(id=1), {"id": 1}),
        (Event | Renamed, Renamed(id=1, name="a"), {"id": 1, "name": "a"}),
        (Sequence[UUID | int], (ONE, 2), [str(ONE), 2]),
    ):
        assert ValueWire(kind).dump(value) == form


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        (list[Event] | list[int], [Special(id=1)], [{"id": 1}]),
        (list[Event] | list[str] | None, [Special(id=1)], [{"id": 1}]),
        (Sequence[Event] | Sequence[str], [Special(id=1)], [{"id": 1}]),
        (tuple[Event, ...] | tuple[str, ...], (Special(id=1),), [{"id": 1}]),
        (tuple[Event, int] | tuple[str, int], (Special(id=1), 2), [{"id": 1}, 2]),
        (list[list[Event]] | list[list[int]], [[Special(id=1)]], [[{"id": 1}]]),
        (list[Noted] | list[str], [Noted(data={"a": ONE})], [{"data": {"a": str(ONE)}}]),
        (
            dict[str, Noted] | dict[str, str],
            {"a": Noted(data={"a": ONE})},
            {"a": {"data": {"a": str(ONE)}}},
        ),
        (dict[str, Any] | dict[int, str], {"a": ONE}, {"a": str(ONE)}),
        (list[Priced] | list[str], [Priced()], [{"price": 0.0}]),
        (list[Annotated[Event, {}]] | list[str], ["a"], ["a"]),
    ],
    ids=str,
)
def test_members_of_one_container(kind: Any, value: Any, form: Any) -> None:
    """Items are held to what any of the members names, and not to all of them."""
    assert ValueWire(kind).dump(value) == form


def test_items_of_one_container_are_told_apart() -> None:
    """An item is the nearest of those that the members name."""
    for kind, value in (
        (list[Event] | list[Created], [Created(id=1)]),
        (list[str] | list[UUID], [ONE]),
        (dict[str, str] | dict[str, datetime], {"a": NOW}),
        (set[Key] | set[Door], {Door(1)}),
    ):
        got = there(kind, value)
        assert (got, [*map(type, got)]) == (value, [*map(type, value)])
    with pytest.raises(UnsendableError, match="has no JSON form"):
        ValueWire(Callable[[int], int] | Callable[[str], int]).dump(len)


def test_type_arguments_hold_in_an_envelope() -> None:
    """Whoever sends it, the values in a generic class are of the types that are annotated."""
    definition = task_of(Left[int] | Right[int])._definition
    form = {"$fastask": {"$class": [f"{__name__}:Right", {"value": "text"}]}}
    with pytest.raises(InvalidArgumentsError, match="envelope"):
        definition.load([form], {})


def test_classes_of_one_name() -> None:
    """What can't be told apart by its name is refused, and the error says why."""

    def made() -> Any:
        class Twin(BaseModel):
            x: int

        return Twin

    one, other = made(), made()
    assert one is not other
    with pytest.raises(UnsendableError, match="has the same module and name; rename one of them"):
        ValueWire(one | other).dump(other(x=1))
