"""Values that are hard to send, and messages that are hard to read."""

import enum
from collections import ChainMap, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer, field_validator

from fastask import FastTask, InvalidArgumentsError, InvalidResultError
from fastask.wire.results import ResultWire

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Kind(enum.Enum):
    ONE = "one"


class Cold(BaseModel):
    """Defaults that pydantic leaves as they are."""

    price: float = 0
    amount: Decimal = 0  # type: ignore[assignment]
    name: str = None  # type: ignore[assignment]
    pair: tuple[int, ...] = []  # type: ignore[assignment]


class Valued(BaseModel):
    model_config = ConfigDict(use_enum_values=True)
    kind: Kind = Kind.ONE


class Doubled(BaseModel):
    """It is written as another value."""

    number: int

    @field_serializer("number")
    def double(self, number: int) -> int:
        return number * 2


class Same(BaseModel):
    x: int


class Alike(BaseModel):
    x: int


class Mixed(BaseModel):
    """Closed fields beside an open one."""

    at: datetime | str = ""
    item: Same | Alike = Same(x=1)
    hidden: str = Field(default="", exclude=True)
    doubled: Doubled = Doubled(number=1)
    data: Any = None


class Extensible(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int


class Adding(BaseModel):
    number: int
    data: Any = None

    @field_validator("number")
    @classmethod
    def add(cls, number: int) -> int:
        return number + 1


@dataclass
class Plain:
    number: float
    numbers: list[float]


@dataclass(frozen=True)
class Key:
    number: int


def task_of(kind: Any) -> Any:
    async def echo(value: Any) -> Any:
        return value

    echo.__annotations__.update({"value": kind, "return": kind})
    return FastTask(FastAPI()).task("echo")(echo)


def there(kind: Any, value: Any) -> Any:
    """What arrives, as an argument and as a result."""
    definition = task_of(kind)._definition
    args, _ = definition.arguments.dump((value,), {})
    [got], _ = definition.load(args, {})
    result = definition.load_result(definition.results.dump(value))
    assert repr(got) == repr(result)
    return got


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Cold, Cold()),
        (Cold, Cold(price=2, name="a")),
        (list[Cold], [Cold()]),
        (Valued, Valued()),
        (Valued, Valued(kind=Kind.ONE)),
        (Doubled, Doubled(number=3)),
        (list[Doubled], [Doubled(number=3)]),
        (Plain, Plain(1, [2])),
        (Mixed, Mixed()),
        (Mixed, Mixed(at=NOW, data={"a": 1})),
        (Mixed, Mixed(item=Alike(x=1), data=[1])),
        (Mixed, Mixed(hidden="a", doubled=Doubled(number=2))),
        (tuple[datetime | str, Any], (NOW, 1)),
        (date | datetime, NOW),
        (date | datetime, NOW.date()),
        (dict[Key, int], {Key(1): 2}),
        (set[Key], {Key(1)}),
        (deque[SecretStr], deque([SecretStr("a")], 3)),
        (deque[bytes], deque([b"\xff"])),
        (Any, {SecretStr("a"): 1}),
        (Any, {(SecretStr("a"), 1): b"\xff"}),
        (Literal[Kind.ONE, "one"], Kind.ONE),
        (Extensible, Extensible(number=1, more="a")),
        (Fraction, Fraction(1, 3)),
        (Decimal | str, Decimal("1E+1000")),
        (Same | dict[str, Any], Same(x=1)),
        (dict | Mixed, Mixed(at=NOW)),
        (list[Same | list[Any]], [Same(x=1), [1]]),
        (Mapping[str, Any] | Same | None, Same(x=1)),
        (UUID | list, UUID(int=1)),
    ],
    ids=str,
)
def test_arrives_as_it_was(kind: Any, value: Any) -> None:
    """Neither defaults of other types nor serializers nor open fields change a value."""
    got = there(kind, value)
    assert type(got) is type(value)
    assert got == value


@pytest.mark.parametrize("kind", [datetime, list[datetime], datetime | None])
def test_zone_arrives(kind: Any) -> None:
    """A zone with a name stays one: the next day at noon is not 24 hours later."""
    noon = datetime(2026, 10, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    got = there(kind, [noon] if kind == list[datetime] else noon)
    [got] = got if isinstance(got, list) else [got]
    assert got.tzinfo is noon.tzinfo
    assert (got + timedelta(days=1)).isoformat() == "2026-10-25T12:00:00+01:00"


def test_zone_that_is_no_more_than_an_offset() -> None:
    """It travels as plain Taskiq sends it."""
    definition = task_of(datetime)._definition
    for zone in (UTC, ZoneInfo("UTC"), timezone(timedelta(hours=1))):
        moment = datetime(2026, 10, 24, 12, tzinfo=zone)
        [form], _ = definition.arguments.dump([moment], {})
        assert datetime.fromisoformat(form) == moment


@dataclass
class Detailed(Plain):
    more: int = 1


def test_dataclass_of_a_subclass() -> None:
    """It arrives as the class that is annotated, as a model does."""
    assert there(Plain, Detailed(1.0, [2.0], more=3)) == Plain(1.0, [2.0])


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (deque([SecretStr("a"), NOW]), [SecretStr("a"), "2026-01-02T00:00:00Z"]),
        ({"a": SecretStr("a")}.values(), [SecretStr("a")]),
        (ChainMap({"a": SecretStr("a")}), {"a": SecretStr("a")}),
        (range(2), [0, 1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_mask_arrives(value: Any, arrives: Any) -> None:
    """A secret in any container arrives as it is, and what is beside it as JSON has it."""
    got = there(Any, value)
    assert got == arrives
    assert str(got) == str(arrives)  # of equal types


def test_one_that_is_read_once() -> None:
    """An iterator is refused, unless the annotation asks for an `Iterable`."""
    for kind, value in ((Any, iter([1])), (list, [iter([1])]), (dict[str, Any], {"a": iter("a")})):
        with pytest.raises(InvalidArgumentsError, match="JSON"):
            task_of(kind)._definition.arguments.dump((value,), {})
    for given in ([UUID(int=1)], iter([UUID(int=1)])):
        definition = task_of(Iterable[UUID])._definition
        args, _ = definition.arguments.dump((given,), {})
        assert args == [[str(UUID(int=1))]]
        [got], _ = definition.load(args, {})
        assert list(got) == [UUID(int=1)]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("kind", [Any, list, dict[str, Any]])
async def test_too_deep(kind: Any) -> None:
    """What no result backend could store is refused: in the caller, or as a failed result."""
    value: Any = nested(300) if kind != dict[str, Any] else {"a": nested(300)}
    with pytest.raises(InvalidArgumentsError, match="JSON form"):
        await task_of(kind).kiq(value)
    with pytest.raises(InvalidResultError, match="JSON form"):
        ResultWire("a", kind).dump(value)
    assert there(list, nested(100)) == nested(100)


def test_value_that_its_class_changes() -> None:
    """A validator that adds at each reading is told of, beside an open field too."""
    with pytest.raises(InvalidArgumentsError, match="its class changes"):
        there(Adding, Adding(number=1))


HOSTILE = [
    {"$decimal": "1E+999999999"},
    {"$decimal": "1" * 1_000_000},
    {"$int": "0x" + "f" * 2_000_000},
    {"$set": [{"$int": hex(number * (2**61 - 1))} for number in range(20_000)]},
    {"$dict": [[{"$int": hex(number * (2**61 - 1))}, 1] for number in range(20_000)]},
    {"$secretbytes": {"a": [1]}},
    {"$uuid": 5},
    {"$float": "1.5"},
    {"$deque": [[1], "a"]},
]


@pytest.mark.parametrize("form", HOSTILE, ids=lambda form: next(iter(form)))
@pytest.mark.parametrize("kind", [int, Decimal, Fraction, UUID])
def test_hostile_envelope(kind: Any, form: Any) -> None:
    """What would keep a worker busy for minutes is refused before its annotation is asked."""
    definition = task_of(kind)._definition
    with pytest.raises(InvalidArgumentsError, match="the envelope can't be read"):
        definition.load([{"$fastask": form}], {})
    with pytest.raises(InvalidResultError, match="the envelope can't be read"):
        definition.load_result({"$fastask": form})


@pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")
async def test_alias_is_no_name() -> None:
    """An alias of a parameter belongs to routes; it is refused, not dropped."""
    ft = FastTask(FastAPI())

    @ft.task
    async def aliased(number: Annotated[int, Field(alias="n")] = 3) -> int:
        return number

    with pytest.raises(InvalidArgumentsError, match="Unexpected keyword argument"):
        await aliased.kiq(n=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("count", [2, 20_000])
def test_misfit_of_a_long_result(count: int) -> None:
    """The error of a result with many wrong items, or a long key, is short."""
    with pytest.raises(InvalidResultError) as caught:
        ResultWire("a", list[int]).dump(["x"] * count)
    assert len(str(caught.value)) < 400
    with pytest.raises(InvalidResultError) as caught:
        ResultWire("a", dict[str, int]).dump({"k" * 1_000_000: "x"})
    assert len(str(caught.value)) < 500
