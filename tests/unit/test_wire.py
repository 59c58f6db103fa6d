"""Arguments of every type, to JSON-compatible values and back."""

import enum
import json
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from fastask import FastTask, InvalidArgumentsError, UnresolvableTasksError
from tests.unit.doubles import one_sentence

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Flag(enum.Enum):
    PAIR = (1, 2)


class Item(BaseModel):
    name: str
    at: datetime
    price: Decimal = Decimal("1.10")


class Aliased(BaseModel):
    number: int = Field(alias="theNumber")


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


class Pair(NamedTuple):
    left: int
    right: Path


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


Animal = Annotated[Cat | Dog, Field(discriminator="kind")]
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
]
IDS = [f"{getattr(kind, '__name__', kind)}-{index}" for index, (kind, _) in enumerate(VALUES)]


@pytest.fixture
def ft() -> FastTask:
    return FastTask(FastAPI())


def echo_of(ft: FastTask, kind: Any) -> tuple[Any, list[Any]]:
    """A task that takes and returns a type, and what its calls were given."""
    seen: list[Any] = []

    async def echo(value: Any, *more: Any, **named: Any) -> Any:
        seen.extend([value, *more, *named.values()])
        return value

    echo.__annotations__.update({"value": kind, "more": kind, "named": kind, "return": kind})
    return ft.task("echo")(echo), seen


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=IDS)
async def test_round_trip(ft: FastTask, kind: Any, value: Any) -> None:
    """Arguments of every sort and the result arrive equal and of equal type, over JSON."""
    task, seen = echo_of(ft, kind)
    sent = await task.kiq(value, value, named=value)
    result = await sent.result(timeout=1)
    for got in (*seen, result):
        assert got == value
        assert type(got) is type(value)
    assert len(seen) == 3


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=IDS)
def test_json_compatible(ft: FastTask, kind: Any, value: Any) -> None:
    """What is dumped is plain JSON already: a second dump changes nothing."""
    task, _ = echo_of(ft, kind)
    dumped = task._definition.arguments.dump((value,), {"named": value})
    assert json.loads(json.dumps(dumped)) == [dumped[0], dumped[1]]
    result = task._definition.results.dump(value)
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize(
    ("kind", "value"),
    [(datetime | str, NOW), (UUID | str, uuid4()), (float | Decimal, Decimal("1.10"))],
    ids=["datetime", "UUID", "Decimal"],
)
async def test_union_that_json_can_not_tell(ft: FastTask, kind: Any, value: Any) -> None:
    """A member of a union whose JSON form is another member's arrives as itself, or is refused."""
    task, seen = echo_of(ft, kind)
    with suppress(InvalidArgumentsError):
        await task.kiq(value)
    assert [type(got) for got in seen] in ([], [type(value)])


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        pytest.param(Flag, Flag.PAIR, id="an enum of tuples"),
        pytest.param(bytes, bytes(range(256)), id="bytes that are no text"),
    ],
)
async def test_what_json_would_change_is_refused(
    ft: FastTask, annotation: type, value: Any
) -> None:
    """What would arrive as another value is refused in the caller, by its parameter's name."""
    task, seen = echo_of(ft, annotation)
    with pytest.raises(InvalidArgumentsError) as caught:
        await task.kiq(value)
    [problem] = caught.value.errors
    assert problem["type"] == "unsendable"
    assert problem["loc"] == ("value",)
    assert problem["got"] == annotation.__name__
    assert seen == []


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
async def test_floats_that_json_does_not_have(ft: FastTask, value: float) -> None:
    """Infinity and NaN arrive as they were, or are refused in the caller."""
    task, seen = echo_of(ft, float)
    try:
        sent = await task.kiq(value)
    except InvalidArgumentsError:
        return
    result = await sent.result(timeout=1)
    assert [str(got) for got in (*seen, result)] == [str(value)] * 2


async def test_secret(ft: FastTask) -> None:
    """A secret arrives as it was or is refused in the caller; a task never gets its mask."""
    task, seen = echo_of(ft, SecretStr)
    with suppress(InvalidArgumentsError):
        await task.kiq(SecretStr("hunter2"))
    assert [got.get_secret_value() for got in seen] in ([], ["hunter2"])


class Detailed(Item):
    more: int = 1


async def test_subclass_is_what_is_annotated(ft: FastTask) -> None:
    """A message holds what the annotation says, not what a subclass adds."""
    task, seen = echo_of(ft, Item)
    await task.kiq(Detailed(name="pen", at=NOW))
    assert type(seen[0]) is Item


async def test_kinds_of_parameters(ft: FastTask) -> None:
    """Positional-only, keyword-only and variadic parameters arrive where they belong."""

    @ft.task
    async def kinds(a: int, /, b: int, *more: int, c: int, d: int = 4, **rest: int) -> Any:
        return [a, b, list(more), c, d, rest]

    sent = await kinds.kiq(1, 2, 3, c=5, a=6)
    assert await sent.result(timeout=1) == [1, 2, [3], 5, 4, {"a": 6}]
    assert await kinds.run(1, b=2, c=3) == [1, 2, [], 3, 4, {}]
    positional: Any = kinds
    with pytest.raises(InvalidArgumentsError):
        await positional.kiq(a=1, b=2, c=3)
    with pytest.raises(InvalidArgumentsError):
        await positional.kiq(1, 2, 3)


async def test_defaults(ft: FastTask) -> None:
    """A default is the function's own; `None` may be a default whatever the annotation."""
    marker = object()

    @ft.task
    async def defaults(a: int = None, b: Any = marker, c: list[int] = [1]) -> Any:  # type: ignore[assignment]  # noqa: B006, RUF013
        return a, b is marker, c

    assert await defaults.run() == (None, True, [1])
    assert await defaults.run(None) == (None, True, [1])  # type: ignore[arg-type]
    assert await defaults.run(a=3, c=[2]) == (3, True, [2])
    with pytest.raises(InvalidArgumentsError):
        await defaults.run("x")  # type: ignore[arg-type]


async def test_unannotated(ft: FastTask) -> None:
    """What has no annotation goes as it is, if JSON has it; models go as their fields."""

    @ft.task
    async def loose(a, b: Any = None):
        return [a, b]

    sent = await loose.kiq({"x": (1, 2)}, Item(name="pen", at=NOW))
    assert await sent.result(timeout=1) == [
        {"x": [1, 2]},
        {"name": "pen", "at": "2026-01-02T03:04:05.678901Z", "price": "1.10"},
    ]


async def test_no_json_form(ft: FastTask) -> None:
    """A value that JSON can't hold is refused in the caller, naming the parameter."""
    task, seen = echo_of(ft, Any)
    with pytest.raises(InvalidArgumentsError) as caught:
        await task.kiq(1, named=object())
    assert one_sentence(caught.value, "task 'echo'", "object")
    assert seen == []


async def test_no_json_form_names_the_parameter(ft: FastTask) -> None:
    """The error of a value without a JSON form says which argument it is."""
    task, _ = echo_of(ft, Any)
    with pytest.raises(InvalidArgumentsError) as caught:
        await task.kiq(object())
    assert caught.value.errors[0]["loc"] == ("value",)


class Opaque:
    """A class that pydantic does not know."""


async def test_class_that_pydantic_does_not_know(ft: FastTask) -> None:
    """An argument of an arbitrary class runs here, and is refused for a message."""

    @ft.task
    async def opaque(value: Opaque) -> None: ...

    value = Opaque()
    await opaque.run(value)
    with pytest.raises(InvalidArgumentsError, match="opaque"):
        await opaque.kiq(value)
    with pytest.raises(InvalidArgumentsError, match="Opaque"):
        await opaque.kiq(5)  # type: ignore[arg-type]


async def test_annotation_that_can_not_be_used(ft: FastTask) -> None:
    """An annotation without a meaning is told when the task is compiled, not when declared."""

    class Broken:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            return handler.generate_schema(Annotated[int, 5].__class__)

    async def broken(value: Broken) -> None: ...

    task = ft.task("broken")(broken)
    assert task.task_name == "broken"
    with pytest.raises((UnresolvableTasksError, InvalidArgumentsError)):
        await task.kiq(5)  # type: ignore[arg-type]
