"""Annotations that leave something open: what is beside it is held to what is annotated."""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from math import inf
from typing import Annotated, Any, Generic, NamedTuple, NewType, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    FutureDatetime,
    NaiveDatetime,
    PastDate,
    PastDatetime,
    SecretStr,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from typing_extensions import TypeAliasType, TypedDict

from fastask import InvalidArgumentsError
from fastask.wire.values import ValueWire
from tests.unit.test_wire_corners import Alike, Same, task_of, there

T = TypeVar("T")
Bound = TypeVar("Bound", bound=UUID | str)
Either = TypeVar("Either", UUID, str)
BERLIN = datetime(2026, 10, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
ONE = UUID(int=1)
Job = TypeAliasType("Job", tuple[Any, datetime])
Row = TypeAliasType("Row", list[tuple[UUID | str, Any]])
Both = TypeAliasType("Both", tuple[T, T, Any], type_params=(T,))
Named = NewType("Named", list[tuple[UUID | str, Any]])


@dataclass
class Box(Generic[T]):
    value: T
    at: datetime
    id: UUID | str = ""


@dataclass
class Chain(Generic[T]):
    value: T
    boxes: tuple[Box[T], ...] = ()


class Filed(TypedDict, Generic[T]):
    value: T
    at: datetime


class Entry(NamedTuple, Generic[T]):
    value: T
    at: datetime


class Holding(BaseModel):
    ids: Mapping[str, UUID | str]


class Bounded(BaseModel, Generic[Bound, Either]):
    bound: Bound
    either: Either
    data: Any = None


class Queued(BaseModel):
    queue: deque = deque()  # type: ignore[type-arg]


class Event(BaseModel):
    """It is read as the class that its kind names."""

    kind: str = "event"

    @model_validator(mode="wrap")
    @classmethod
    def read(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if cls is Event and isinstance(value, dict) and value.get("kind") == "made":
            return Made.model_validate(value)
        return handler(value)


class Made(Event):
    kind: str = "made"
    data: Any = None
    price: float = 0


class Frozen(datetime):
    """As libraries have them that make or mock times."""


class FrozenDay(date):
    pass


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int
    id: UUID | str = ""


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Sequence[UUID | str], [ONE, "a"]),
        (Sequence[Same | Alike], [Alike(x=1)]),
        (Sequence[bytes | str], [b"a"]),
        (Sequence[date | str], [date(2026, 1, 2)]),
        (Sequence[datetime], [BERLIN]),
        (MutableSequence[datetime], [BERLIN]),
        (Collection[UUID], [ONE]),
        (Mapping[str, Same | Alike], {"a": Alike(x=1)}),
        (Mapping[UUID | str, datetime], {ONE: BERLIN}),
        (AbstractSet[UUID | str], frozenset({ONE})),
        (AbstractSet[datetime], frozenset({BERLIN})),
        (list[Sequence[datetime]], [[BERLIN]]),
        (dict[str, Any] | Sequence[UUID | str], [ONE]),
        (Holding, Holding(ids={"a": ONE})),
        (Box[Any], Box(1, BERLIN, ONE)),
        (Box[int], Box(1, BERLIN, ONE)),
        (Chain[Any], Chain(1, (Box(1, BERLIN, ONE),))),
        (Chain[UUID | str], Chain(ONE, (Box(ONE, BERLIN),))),
        (Filed[Any], {"value": 1, "at": BERLIN}),
        (Entry[Any], Entry(1, BERLIN)),
        (Job, (1, BERLIN)),
        (Row, [(ONE, 2)]),
        (Both[datetime], (BERLIN, BERLIN, 1)),
        (Named, [(ONE, 2)]),
        (Annotated[Row, Field(description="it")], [(ONE, 2)]),
        (set[tuple[Any, datetime]], {(1, BERLIN)}),
        (defaultdict[str, list[tuple[Any, datetime]]], defaultdict(list, {"a": [(1, BERLIN)]})),
        (deque[tuple[Any, datetime]], deque([(1, BERLIN)])),
        (deque[Any], deque([1], 3)),
        (Counter[datetime], Counter({BERLIN: 1})),
        (OrderedDict[datetime, Any], OrderedDict({BERLIN: 1})),
        (Bounded, Bounded(bound=ONE, either=ONE)),
        (Extra, Extra.model_validate({"number": 1, "id": ONE, "more": "a"})),
        (tuple[dict[str, Any] | None, datetime], ({"a": 1}, BERLIN)),
    ],
    ids=str,
)
def test_closed_beside_open(kind: Any, value: Any) -> None:
    """Items of an abstract container, and fields beside an open one, arrive as they were."""
    got = there(kind, value)
    assert got == value
    assert repr(got) == repr(value)


def test_items_of_an_iterable() -> None:
    """They are checked one by one as they are read, in the caller too."""
    definition = task_of(Iterable[UUID | str])._definition
    args, _ = definition.arguments.dump(([ONE],), {})
    [got], _ = definition.load(args, {})
    assert list(got) == [ONE]
    with pytest.raises(InvalidArgumentsError, match=r"value.*0: Input should be a valid UUID"):
        task_of(Iterable[UUID])._definition.arguments.dump((["x"],), {})


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        (Sequence[UUID], (ONE,), [str(ONE)]),
        (Sequence, (ONE,), [str(ONE)]),
        (Mapping[str, UUID], {"a": ONE}, {"a": str(ONE)}),
        (AbstractSet[UUID], frozenset({ONE}), [str(ONE)]),
        (Mapping[str, Any], {"a": ONE}, {"a": str(ONE)}),
        (Row, [("a", ONE)], [["a", str(ONE)]]),
        (Box[Any], Box(ONE, BERLIN.astimezone(UTC)), None),
        (Filed[Any], {"value": ONE, "at": datetime(2026, 1, 1, tzinfo=UTC)}, None),
        (set[Any], {ONE}, [str(ONE)]),
        (OrderedDict[str, Any], OrderedDict(a=ONE), {"a": str(ONE)}),
        (deque[Any], deque([ONE]), [str(ONE)]),
        (Union[dict[str, Any], list[Any]], [ONE], [str(ONE)]),  # noqa: UP007 - another type
        (
            Extra,
            Extra.model_validate({"number": 1, "more": ONE}),
            {"number": 1, "id": "", "more": str(ONE)},
        ),
    ],
    ids=str,
)
def test_what_is_open_is_as_json_has_it(kind: Any, value: Any, form: Any) -> None:
    """In no envelope, so that plain Taskiq reads it."""
    got = ValueWire(kind).dump(value)
    assert got == form if form else "$fastask" not in got


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (datetime, datetime(2026, 10, 25, 2, 30, fold=1)),  # noqa: DTZ001
        (time, time(2, 30, fold=1)),
        (deque[int], deque([1], 3)),
    ],
    ids=str,
)
def test_what_equality_does_not_see(kind: Any, value: Any) -> None:
    """The second of two equal times of a day, and how long a queue may become, arrive."""
    assert repr(there(kind, value)) == repr(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (deque, deque([SecretStr("hunter2")])),
        (deque, deque([b"\xff", inf, 2**70])),
        (Queued, Queued(queue=deque([SecretStr("hunter2")]))),
        (SerializeAsAny[Event], Made(data=SecretStr("hunter2"))),
        (SerializeAsAny[Event], Made(data={"a": ONE})),
        (list[SerializeAsAny[Event]], [Made(data=b"a")]),
        (SerializeAsAny[Event], Made(data=1)),
    ],
    ids=str,
)
def test_parts_without_an_annotation(kind: Any, value: Any) -> None:
    """Items of a bare `deque`, and fields that only a subclass has, don't change unseen."""
    got = there(kind, value)
    assert (got, type(got)) == (value, type(value))
    if isinstance(value, deque):
        assert [*map(type, got)] == [*map(type, value)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (AwareDatetime, Frozen(2020, 1, 1, tzinfo=UTC)),
        (AwareDatetime, Frozen(2020, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))),
        (AwareDatetime | None, Frozen(2020, 1, 1, tzinfo=UTC)),
        (AwareDatetime | str, Frozen(2020, 1, 1, tzinfo=UTC)),
        (NaiveDatetime, Frozen(2020, 1, 1)),
        (PastDatetime, Frozen(2020, 1, 1)),
        (FutureDatetime, Frozen(9999, 1, 1, tzinfo=UTC)),
        (list[PastDate], [FrozenDay(2020, 1, 1)]),
        (FutureDate | None, FrozenDay(9999, 1, 1)),
        (datetime, Frozen(2020, 1, 1, tzinfo=UTC)),
    ],
    ids=str,
)
def test_time_of_a_subclass(kind: Any, value: Any) -> None:
    """It arrives as the plain one, whatever else is demanded of it."""
    got = there(kind, value)
    assert got == value
    item = got[0] if isinstance(got, list) else got
    assert type(item) in (datetime, date)
