"""Arguments of every type, to JSON-compatible values and back."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, PydanticUserError, SecretStr, field_validator

from fastask import FastTask, InvalidArgumentsError, InvalidResultError, UnresolvableTasksError
from tests.unit.doubles import RecordingBroker, one_sentence
from tests.unit.wire_values import (
    EVERYTHING,
    NOW,
    SERIALIZERS,
    UNTOLD,
    VALUES,
    Aliased,
    Color,
    Item,
    Level,
    Pair,
    Point,
    Word,
    echo_of,
    equal,
    ids,
)


@pytest.fixture
def ft() -> FastTask:
    return FastTask(FastAPI())


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=ids(VALUES))
async def test_round_trip(ft: FastTask, kind: Any, value: Any) -> None:
    """Arguments of every sort and the result arrive equal and of equal type, over JSON."""
    task, seen = echo_of(ft, kind)
    sent = await task.kiq(value, value, named=value)
    result = await sent.result(timeout=1)
    for got in (*seen, result):
        assert got == value
        assert type(got) is type(value)
    assert len(seen) == 3


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=ids(VALUES))
def test_json_compatible(ft: FastTask, kind: Any, value: Any) -> None:
    """What is dumped is plain JSON already: a second dump changes nothing."""
    task, _ = echo_of(ft, kind)
    dumped = task._definition.arguments.dump((value,), {"named": value})
    assert json.loads(json.dumps(dumped)) == [dumped[0], dumped[1]]
    result = task._definition.results.dump(value)
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=lambda made: made.__name__)
@pytest.mark.parametrize(("kind", "value"), EVERYTHING, ids=ids(EVERYTHING))
async def test_serializers(kind: Any, value: Any, serializer: Any) -> None:
    """Each serializer gives each value back, in messages and in results."""
    broker = RecordingBroker().with_serializer(serializer())
    task, _ = echo_of(FastTask(FastAPI(), broker), kind)
    await task.kiq(value, value, named=value)
    [message] = broker.messages
    args, kwargs = task._definition.arguments.load(message.args, message.kwargs)
    read = serializer().loadb(serializer().dumpb(task._definition.results.dump(value)))
    got = [*args, kwargs["named"], task._definition.load_result(read)]
    assert len(got) == 4
    assert all(equal(one, value) for one in got)


@pytest.mark.parametrize(("kind", "value"), UNTOLD, ids=ids(UNTOLD))
async def test_what_json_does_not_have(ft: FastTask, kind: Any, value: Any) -> None:
    """What JSON would change travels in an envelope, and arrives as it was."""
    task, seen = echo_of(ft, kind)
    form = task._definition.results.dump(value)
    assert list(form) == ["$fastask"]
    assert json.loads(json.dumps(form, allow_nan=False)) == form
    sent = await task.kiq(value, value, named=value)
    result = await sent.result(timeout=1)
    assert len(seen) == 3
    assert all(equal(got, value) for got in (*seen, result))


async def test_secret(ft: FastTask, caplog: pytest.LogCaptureFixture) -> None:
    """A secret travels, and is shown nowhere."""
    caplog.set_level("DEBUG")
    task, seen = echo_of(ft, SecretStr)
    sent = await task.kiq(SecretStr("hunter2"))
    result = await sent.result(timeout=1)
    assert [got.get_secret_value() for got in (*seen, result)] == ["hunter2"] * 2
    assert "hunter2" not in caplog.text
    with pytest.raises(InvalidArgumentsError) as caught:
        await task.kiq({"password": "hunter2"})
    assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.errors}"


@pytest.mark.parametrize(
    "form",
    [
        {"$nothing": 1},
        {"$uuid": "x"},
        {"$decimal": "x"},
        {"$bytes": "\u00e4"},
        {"$datetime": []},
        {"$datetime": ["2026-01-01T00:00:00", "No/Where", 0]},
        {"$datetime": 5},
        {"$int": "zz"},
        {"$dict": [1]},
        {"$dict": [[[], 1]]},
        {"$set": [[]]},
        {"$timedelta": [10**30, 0, 0]},
        {"$timedelta": ["1", 0, 0]},
        {"$path": None},
        {"$class": ["builtins:int", 5]},
        {"$class": []},
        {"$class": ["tests.unit.wire_values:Word", "no"]},
        {"$secret": 5},
        {"$tuple": 5},
    ],
    ids=str,
)
async def test_envelope_of_somebody_else(ft: FastTask, form: Any) -> None:
    """An envelope that fastask would not write is refused, by the parameter's name."""
    task, seen = echo_of(ft, Any)
    with pytest.raises(InvalidArgumentsError) as caught:
        task._definition.load([{"$fastask": form}], {"named": {"$fastask": form}})
    assert [problem["loc"] for problem in caught.value.errors] == [("value",), ("named",)]
    with pytest.raises(InvalidResultError, match="envelope"):
        task._definition.load_result({"$fastask": form})
    assert seen == []


async def test_depth(ft: FastTask) -> None:
    """What is nested without an end is refused in the caller, or when it arrives."""
    task, _ = echo_of(ft, Any)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidArgumentsError, match="form"):
        await task.kiq(endless)
    form: Any = {"$tuple": []}
    for _ in range(100_000):
        form = {"$tuple": [form]}
    with pytest.raises(InvalidArgumentsError, match="envelope"):
        task._definition.load([{"$fastask": form}], {})


class Twice(BaseModel):
    """Its validator changes what it has changed."""

    name: str

    @field_validator("name")
    @classmethod
    def louder(cls, name: str) -> str:
        return f"{name}!"


@pytest.mark.parametrize("value", [Twice(name="a"), [1, Twice(name="a")]], ids=repr)
async def test_what_would_arrive_as_another_value(ft: FastTask, value: Any) -> None:
    """What even an envelope does not keep is refused in the caller."""
    task, seen = echo_of(ft, tuple[int, Twice] if isinstance(value, list) else Twice)
    with pytest.raises(InvalidArgumentsError) as caught:
        await task.kiq(value)
    [problem] = caught.value.errors
    assert (problem["type"], problem["loc"]) == ("unsendable", ("value",))
    assert seen == []


class Moment(datetime):
    """A datetime as test tools and date libraries make them."""


@pytest.mark.parametrize("kind", [datetime, datetime | int])
async def test_subclass_of_a_plain_type(ft: FastTask, kind: Any) -> None:
    """A value of a subclass arrives as the plain type."""
    task, seen = echo_of(ft, kind)
    await task.kiq(Moment(2026, 1, 2, tzinfo=UTC))
    assert seen == [datetime(2026, 1, 2, tzinfo=UTC)]
    assert type(seen[0]) is datetime


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
    """What has no annotation arrives as JSON has it, models as their fields."""

    @ft.task
    async def loose(a, b: Any = None):
        return [a, b]

    sent = await loose.kiq({"x": (1, 2)}, Item(name="pen", at=NOW))
    assert await sent.result(timeout=1) == [
        {"x": [1, 2]},
        {"name": "pen", "at": "2026-01-02T03:04:05.678901Z", "price": "1.10"},
    ]
    sent = await loose.kiq([Color.RED, Level.LOW, Word.YES], Pair(1, Path("a")))
    assert await sent.result(timeout=1) == [["red", 1, "yes"], [1, "a"]]


OPEN: list[tuple[Any, Any]] = [
    (NOW, "2026-01-02T03:04:05.678901Z"),
    ({"at": NOW.date(), "for": timedelta(days=1)}, {"at": "2026-01-02", "for": "P1D"}),
    ((UUID(int=1), {Decimal("1.10")}), ["00000000-0000-0000-0000-000000000001", ["1.10"]]),
    ([b"text", Path("a"), bytearray(b"b"), 1j], ["text", "a", "b", "1j"]),
    ({1: "a", None: "b", (1, 2): frozenset({1})}, {"1": "a", "None": "b", "1,2": [1]}),
    ({1: "a", "1": "b"}, {1: "a", "1": "b"}),
    ({b"\xff": 1}, {b"\xff": 1}),
    ({"secret": SecretStr("a"), "at": NOW}, {"secret": SecretStr("a"), "at": f"{NOW:%FT%T.%fZ}"}),
    (Aliased(theNumber=5), {"number": 5}),
    (Point(1, {"a"}), {"x": 1, "tags": ["a"]}),
    (Moment(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
]


@pytest.mark.parametrize(("value", "arrives"), OPEN, ids=str)
@pytest.mark.parametrize("kind", [Any, object, list, dict[str, Any]])
async def test_open_annotation(ft: FastTask, kind: Any, value: Any, arrives: Any) -> None:
    """Where the annotation leaves the type open JSON decides, as in plain Taskiq."""
    if kind is list:
        value, arrives = [value], [arrives]
    if kind == dict[str, Any]:
        value, arrives = {"value": value}, {"value": arrives}
    task, seen = echo_of(ft, kind)
    sent = await task.kiq(value)
    assert seen == [arrives]
    assert await sent.result(timeout=1) == arrives


async def test_open_container(ft: FastTask) -> None:
    """A container that an annotation leaves open arrives as JSON has it, with typed items."""
    task, seen = echo_of(ft, Sequence[UUID])
    await task.kiq((UUID(int=1), UUID(int=2)))
    assert seen == [[UUID(int=1), UUID(int=2)]]


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
    with pytest.raises(InvalidArgumentsError, match="value: it has no JSON form"):
        await opaque.kiq(value)
    with pytest.raises(InvalidArgumentsError, match="Opaque"):
        await opaque.kiq(5)  # type: ignore[arg-type]


async def test_annotation_that_can_not_be_used(ft: FastTask) -> None:
    """An annotation without a meaning is told when the task is compiled, not when declared."""

    class Broken:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            raise PydanticUserError("it has none", code=None)

    async def broken(value: Broken) -> None: ...

    task = ft.task("broken")(broken)
    assert task.task_name == "broken"
    with pytest.raises(UnresolvableTasksError, match=r"a parameter can't be used .it has none."):
        task.compile()
    with pytest.raises(UnresolvableTasksError):
        await task.kiq(Broken())
