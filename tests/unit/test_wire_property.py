"""Any value of any annotation arrives as it was: in messages and results, by each serializer."""

import enum
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass, make_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, Union
from uuid import UUID

from fastapi import FastAPI
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, computed_field, create_model
from typing_extensions import TypeAliasType, TypedDict

from fastask import FastTask
from tests.unit.doubles import RecordingBroker
from tests.unit.wire_values import SERIALIZERS, zone_of

Typed = tuple[Any, st.SearchStrategy[Any]]
T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)
    NOTHING = None


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2**70


class Word(enum.StrEnum):
    YES = "yes"


class Pair(NamedTuple):
    left: bytes
    right: float


class Area(BaseModel):
    """With an alias, a computed field, a secret."""

    width: Decimal = Field(alias="theWidth")
    kind: Literal["area"] = "area"
    key: SecretStr = SecretStr("")

    @computed_field
    def doubled(self) -> Decimal:
        return self.width * 2


class Line(BaseModel):
    kind: Literal["line"] = "line"
    ends: tuple[int, int] = (0, 1)


class Event(BaseModel):
    model_config = ConfigDict(frozen=True)
    at: datetime


class Created(Event):
    """It adds nothing."""


class Renamed(Event):
    name: str = "?"


@dataclass(frozen=True)
class Key:
    number: int


@dataclass(frozen=True)
class Door(Key):
    pass


@dataclass
class Box(Generic[T]):
    """What is beside the open field is closed."""

    value: T
    at: datetime
    id: UUID | str


class Filed(TypedDict, Generic[T]):
    value: T
    at: datetime


class Entry(NamedTuple, Generic[T]):
    value: T
    at: datetime


Noted = TypeAliasType("Noted", tuple[T, datetime, UUID | str], type_params=(T,))


NUMBERS = count()
TEXT = st.text(st.characters())  # with halves of surrogate pairs
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
SAFE_MOMENTS = {"min_value": datetime(1900, 1, 1), "max_value": datetime(2200, 1, 1)}  # noqa: DTZ001
ZONES = st.one_of(st.none(), st.just(UTC), st.timezones())
MOMENTS = st.datetimes(**SAFE_MOMENTS, timezones=ZONES)  # type: ignore[arg-type]
AREAS = st.builds(Area, theWidth=DECIMALS, key=TEXT.map(SecretStr))
LINES = st.builds(Line, ends=st.tuples(st.integers(), st.integers()))
KEYS: list[Typed] = [
    (int, st.integers()),
    (str, TEXT),
    (bool, st.booleans()),
    (bytes, st.binary()),
    (UUID, st.uuids()),
    (date, st.dates()),
    (datetime, MOMENTS),
    (tuple[datetime, int], st.tuples(MOMENTS, st.integers())),
    (timedelta, st.timedeltas()),
    (Decimal, DECIMALS),
    (Path, TEXT.filter(lambda text: "\0" not in text).map(Path)),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Word, st.sampled_from(Word)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Event | Created, st.builds(Event, at=MOMENTS) | st.builds(Created, at=MOMENTS)),
    (Key | Door, st.builds(Key, st.integers()) | st.builds(Door, st.integers())),
    (IPv4Address | str, st.ip_addresses(v=4) | TEXT),
]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
# Where the type is left open only JSON's own values arrive in their types.
OPEN: list[Typed] = [(Any, JSON), (object, JSON), (list, st.lists(JSON, max_size=2))]
LEAVES: list[Typed] = [
    *KEYS,
    (float, st.floats()),
    (time, st.times(timezones=ZONES)),
    (type(None), st.none()),
    (Event | Renamed, st.builds(Renamed, at=MOMENTS, name=TEXT)),
    (HttpUrl | str, st.just(HttpUrl("http://a/")) | TEXT),
    (SecretStr, TEXT.map(SecretStr)),
    (Pair, st.builds(Pair, st.binary(), st.floats())),
    (Area, AREAS),
    (Annotated[Area | Line, Field(discriminator="kind")], AREAS | LINES),
]


def one_of_each(container: Any, part: Typed, values: Any) -> Typed:
    """A container of one type, and its values."""
    return container[part[0]], values(part[1], max_size=3)


def either(one: Typed, other: Typed) -> Typed:
    return Union[one[0], other[0]], one[1] | other[1]  # noqa: UP007 - made at run time


def both(one: Typed, other: Typed) -> Typed:
    pair: Any = tuple
    return pair[one[0], other[0]], st.tuples(one[1], other[1])


def several(part: Typed) -> Typed:
    made: Any = tuple
    return made[part[0], ...], st.lists(part[1], max_size=3).map(tuple)


def mapping(key: Typed, item: Typed) -> Typed:
    made: Any = dict
    return made[key[0], item[0]], st.dictionaries(key[1], item[1], max_size=3)


def beside(part: Typed) -> st.SearchStrategy[Typed]:
    """Generic annotations of one type, with closed parts beside it."""
    kind, values = part
    items = st.uuids() | TEXT
    filed = st.tuples(values, MOMENTS).map(lambda pair: {"value": pair[0], "at": pair[1]})
    generics: list[Typed] = [
        (Box, st.builds(Box, values, MOMENTS, items)),
        (Entry, st.builds(Entry, values, MOMENTS)),
        (Filed, filed),
        (Noted, st.tuples(values, MOMENTS, items)),
    ]
    return st.sampled_from([(made[kind], values) for made, values in generics])


def abstract(part: Typed, key: Typed) -> st.SearchStrategy[Typed]:
    """Containers that are left open, with items that are not."""
    items = st.lists(part[1], max_size=3)
    made: list[tuple[Any, Any, Any]] = [
        (Sequence, part[0], items),
        (MutableSequence, part[0], items),
        (Mapping, (key[0], part[0]), st.dictionaries(key[1], part[1], max_size=3)),
        (AbstractSet, key[0], st.frozensets(key[1], max_size=3)),
    ]
    return st.sampled_from([(kind[arguments], values) for kind, arguments, values in made])


def compound(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """Annotations made of others, with their values."""
    keys = st.sampled_from(KEYS)
    return st.one_of(
        inner.map(lambda part: one_of_each(list, part, st.lists)),
        keys.map(lambda part: one_of_each(set, part, st.sets)),
        keys.map(lambda part: one_of_each(frozenset, part, st.frozensets)),
        inner.map(several),
        inner.map(lambda part: either(part, (None, st.none()))),
        st.builds(either, inner, inner),
        st.builds(both, inner, inner),
        st.builds(mapping, keys, inner),
        inner.flatmap(beside),
        st.tuples(inner, keys).flatmap(lambda parts: abstract(*parts)),
        st.lists(inner, min_size=1, max_size=3).map(model),
        st.lists(inner, min_size=1, max_size=3).map(record),
    )


def model(parts: list[Typed]) -> Typed:
    given_fields: Any = {f"f{n}": (kind, ...) for n, (kind, _) in enumerate(parts)}
    made = create_model(f"Made{next(NUMBERS)}", **given_fields)
    return made, st.builds(made, **{f"f{n}": values for n, (_, values) in enumerate(parts)})


def record(parts: list[Typed]) -> Typed:
    given_fields = [(f"f{n}", kind) for n, (kind, _) in enumerate(parts)]
    made = make_dataclass(f"Record{next(NUMBERS)}", given_fields)
    return made, st.builds(made, **{f"f{n}": values for n, (_, values) in enumerate(parts)})


def around(part: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """Annotations around an open one, without unions, whose other members it would take."""
    keys = st.sampled_from(KEYS)
    return st.one_of(
        part,
        part.map(lambda one: one_of_each(list, one, st.lists)),
        st.builds(mapping, keys, part),
        st.lists(part, min_size=1, max_size=2).map(model),
        part.map(lambda one: record([one, KEYS[0]])),
        part.flatmap(beside),
        st.tuples(part, keys).flatmap(lambda parts: abstract(*parts)),
    )


TYPED = st.one_of(
    st.recursive(st.sampled_from(LEAVES), compound, max_leaves=4), around(st.sampled_from(OPEN))
)


def told(value: Any) -> Any:
    """All that tells a value from others: the types of all its parts, and what they hold."""
    kind = type(value)
    if isinstance(value, BaseModel):
        return kind, [told(getattr(value, name)) for name in kind.model_fields]
    if is_dataclass(kind):
        return kind, [told(getattr(value, field.name)) for field in fields(kind)]
    if isinstance(value, dict):
        return kind, [(told(key), told(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return kind, [told(item) for item in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(told(item)) for item in value)
    return kind, plain(value)


def plain(value: Any) -> Any:
    """What a value holds that has no parts."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, datetime | time):
        # A zone without a name arrives as its offset.
        naive = repr(value if value.tzinfo is None else value.replace(tzinfo=None, fold=0))
        return naive, value.tzinfo is None, value.utcoffset(), zone_of(value)
    return repr(value)


@st.composite
def cases(draw: Callable[[st.SearchStrategy[Any]], Any]) -> tuple[Any, Any, Any]:
    kind, values = draw(TYPED)
    return kind, draw(values), draw(st.sampled_from(SERIALIZERS))()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
async def test_round_trip(case: tuple[Any, Any, Any]) -> None:
    """A value arrives as it was sent, however it was passed, and comes back as it was returned."""
    kind, value, serializer = case
    broker = RecordingBroker().with_serializer(serializer)
    ft = FastTask(FastAPI(), broker)

    async def echo(first: Any, *more: Any, only: Any = None, **named: Any) -> Any: ...

    of = {"first": kind, "more": kind, "only": kind, "named": kind, "return": kind}
    echo.__annotations__.update(of)
    task: Any = ft.task("echo")(echo)
    checked, _ = task._definition.arguments.check((value,), {})
    assume(told(checked[0]) == told(value))  # pydantic takes it for another member of a union
    await task.kiq(value, value, only=value, other=value)
    [message] = broker.messages
    args, kwargs = task._definition.load(message.args, message.kwargs)
    assert list(kwargs) == ["only", "other"]
    stored = serializer.loadb(serializer.dumpb(task._definition.results.dump(value)))
    got = [*args, *kwargs.values(), task._definition.load_result(stored)]
    assert [told(one) for one in got] == [told(value)] * 5
