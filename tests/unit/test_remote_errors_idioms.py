"""Errors that hold what has no form of its own: other errors, enums, models; and odd classes."""

import enum
import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PureWindowsPath
from typing import Any, NamedTuple
from urllib.error import URLError

import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, RootModel, SecretStr
from taskiq import AsyncTaskiqTask, InMemoryBroker
from taskiq.serializers import JSONSerializer

from fastask import FastTask, RemoteError
from fastask.wire.errors import dumped_error, loaded_error
from tests.unit.test_remote_errors import StoringResults, raised

SECRET = "hunter2"


class State(enum.Enum):
    OPEN = "open"
    SHUT = ("shut", 1)


class Level(enum.IntEnum):
    LOW = 1


class Name(str, enum.Enum):  # noqa: UP042 - its text is another one
    ANN = "ann"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Order(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: int
    items: list[str] = []
    state: State = State.OPEN


class Login(BaseModel):
    user: str
    password: SecretStr


class Tags(RootModel[dict[str, int]]):
    pass


@dataclass(slots=True)
class Point:
    x: int


class Row(NamedTuple):
    id: int
    state: State


class Job:
    """A class of no fields."""

    def __str__(self) -> str:
        return "job 5"


class WrongState(Exception):
    def __init__(self, state: Any) -> None:
        super().__init__(state)
        self.state = state

    def __str__(self) -> str:
        return f"it is {self.state.name}"


class Refused(Exception):
    """Its text is made of what it holds."""

    def __init__(self, order: Any, *, row: Any = None, cause: Any = None, job: Any = None) -> None:
        self.order, self.row, self.cause, self.job = order, row, cause, job

    def __str__(self) -> str:
        order = f"{type(self.order).__name__} {self.order.id} of {self.order.items}"
        return f"{order}, {self.row[0]} {self.row.state:}, {self.cause}, {self.job}"


class Late(ValueError, TimeoutError):
    pass


class Broken(ValueError, OSError):
    pass


class Keyed(KeyError, AttributeError):
    pass


class Mixin:
    pass


class Mixed(Mixin, Late):
    pass


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Unlike(int):
    def __repr__(self) -> str:
        return f"Unlike({int(self)})"


class Alike(str):
    __slots__ = ()


class When(datetime):
    def __str__(self) -> str:
        return "then"


ORDER = Order(id=1, items=["tea"], state=State.SHUT, more=Point(1))
ERRORS: list[BaseException] = [
    RuntimeError(ValueError("disk full")),
    RuntimeError([KeyError("a"), Late("b")]),
    URLError(OSError(2, "gone", "file")),
    ValueError(State.SHUT),
    KeyError(State.SHUT),
    ValueError(Level.LOW, Name.ANN, Right.READ, Right.READ | Right.WRITE),
    LookupError("no such", ORDER),
    ValueError(Point(1)),
    ValueError({"row": Row(1, State.OPEN)}, {State.OPEN: Tags({"a": 1})}),
    ValueError(Counter("aa"), OrderedDict(a=1), Unlike(5), Alike("a")),
    ValueError(PureWindowsPath("a")),
    ValueError(When(2026, 1, 1, tzinfo=UTC)),
    ValueError(int),
    ValueError(Job()),
    ValueError(Login(user="ann", password=SecretStr(SECRET))),
    HTTPException(409, detail={"state": State.SHUT}),
    WrongState(State.SHUT),
    Refused(ORDER, row=Row(7, State.OPEN), cause=ValueError("why"), job=Job()),
    ExceptionGroup("two", [ValueError(State.OPEN), Frozen(2)]),
    Late("late"),
    Broken("broken"),
    Keyed("key"),
    Mixed("mixed"),
    Frozen(5),
]


def told(error: BaseException | None) -> Any:
    """What callers see of an error."""
    return None if error is None else [type(error), str(error), repr(error), told(error.__cause__)]


def sent(error: BaseException) -> Any:
    """The error that arrives."""
    form = json.dumps(dumped_error(error))
    assert SECRET not in form
    return loaded_error(json.loads(form))


@pytest.mark.parametrize(
    "error", ERRORS, ids=[f"{n} {type(e).__name__}" for n, e in enumerate(ERRORS)]
)
async def test_error_says_the_same(error: BaseException) -> None:
    """Of the same class, and with the same message: alone, as a cause, and as a result."""
    assert told(sent(error)) == told(error)
    outer = raised(error)
    around = raised(ValueError(error))
    around.__cause__ = outer
    assert told(sent(ValueError(around))) == told(ValueError(around))
    backend = StoringResults(JSONSerializer())
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(backend))

    @ft.task("fails")
    async def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await (await fails.kiq()).result(timeout=5)
    assert told(caught.value) == told(error)


def test_what_the_error_holds_can_be_used() -> None:
    """Errors and members of enums are themselves; fields and items are where they were."""
    got = sent(Refused(ORDER, row=Row(7, State.OPEN), cause=ValueError("why")))
    assert got.row == (7, State.OPEN)
    assert (got.row.id, got.row.state) == (7, State.OPEN)
    assert (got.order.id, got.order.items, got.order.state) == (1, ["tea"], State.SHUT)
    assert got.order.more.x == 1
    assert isinstance(got.cause, ValueError)
    assert got.cause.args == ("why",)
    counts, number, text = sent(ValueError(Counter("aa"), Unlike(5), Alike("a"))).args
    assert (counts["a"], number + 1, text) == (2, 6, "a")
    assert f"{number} {number:03}" == "Unlike(5) 005"
    assert json.dumps([counts, number, text]) == '[{"a": 2}, 5, "a"]'


def test_enum_that_is_not_loaded() -> None:
    """It shows the same where only the worker has its class."""

    class Local(str, enum.Enum):  # noqa: UP042 - its text is another one
        ONE = "one"

    got = sent(ValueError(Local.ONE))
    assert told(got) == told(ValueError(Local.ONE))
    assert got.args == ("one",)


def test_attributes_that_are_not_shown() -> None:
    """An object of no fields is left out, unless the class has a text that may show it."""
    error = ValueError("a")
    error.jobs, error.number = [Job()], 5  # type: ignore[attr-defined]
    assert vars(sent(error)) == {"number": 5}


def test_errors_that_hold_themselves() -> None:
    """They are told to a depth."""
    error: Any = Refused(ORDER, row=Row(1, State.OPEN))
    error.args, error.other, error.others = (error,), error, [error] * 5
    got = sent(error)
    assert str(got) == str(error)
    depth = 0
    while isinstance(got, Refused):
        got, depth = got.args[0], depth + 1
    assert depth == 9


def test_argument_that_can_not_be_read() -> None:
    """What is written and can't be read again is told by its `repr`, and the error arrives."""

    class Path(list[int]):
        def __hash__(self) -> int:  # type: ignore[override]
            return 1

        def __repr__(self) -> str:
            return "Path()"

    got = sent(ValueError({Path([1]): 1}, "b"))
    assert got.args == ("{Path(): 1}", "b")


@pytest.mark.parametrize(
    "forged",
    [
        {"$class": ["member", ["os:environ", "PATH", "shown"]]},
        {"$class": ["member", ["builtins:ValueError", "args", "shown"]]},
        {"$class": ["member", ["nowhere:Nothing", "__class__", "shown"]]},
        {"$class": ["member", [f"{__name__}:State", "__class__", "shown"]]},
        {"$class": ["member", [f"{__name__}:State", "_member_map_", "shown"]]},
    ],
)
def test_nothing_but_members_is_looked_up(forged: Mapping[str, Any]) -> None:
    """A forged result gets at nothing but members of enums that are loaded."""
    form = {**dumped_error(ValueError("x")), "args": [{"$fastask": forged}]}
    assert loaded_error(form).args == ("shown",)


@pytest.mark.parametrize(
    "forged",
    [
        {"$class": ["error", {"type": "builtins:ValueError"}]},
        {"$class": ["shown", [5, "a", "a", 1, None]]},
        {"$class": ["shown", ["A", "a", "a", [1], ["a", "b"]]]},
        {"$class": [f"{__name__}:Order", {"id": 1}]},
    ],
)
def test_leaves_that_nobody_writes(forged: Mapping[str, Any]) -> None:
    """They are refused; `result()` gives Taskiq's own error then."""
    form = {**dumped_error(ValueError("x")), "args": [{"$fastask": forged}]}
    with pytest.raises(ValueError, match="envelope can't be read"):
        loaded_error(form)


class Shadowed(Exception):
    """Its name stands for something else."""


Shadowed.__qualname__ = "SECRET"


@pytest.mark.parametrize("error", [Frozen(5), Shadowed("a")], ids=["frozen", "shadowed"])
async def test_error_that_taskiq_can_not_make(error: BaseException) -> None:
    """Every client gets the failed result, where Taskiq's own would raise when it is read."""
    backend = StoringResults(JSONSerializer())
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(backend))

    @ft.task("fails")
    async def fails() -> None:
        raise ValueError("outer") from error

    @ft.task("fails at once")
    async def fails_at_once() -> None:
        raise error

    for task in (fails, fails_at_once):
        plain: Any = AsyncTaskiqTask((await task.kiq()).task_id, backend)
        result = await plain.wait_result(0.002, timeout=5)
        assert isinstance(result.error, RemoteError)
