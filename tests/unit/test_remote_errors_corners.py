"""Errors that are hard to send: large, deep, secret, or of odd classes."""

import itertools
import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from fastapi import FastAPI
from pydantic import (
    AfterValidator,
    BaseModel,
    SecretStr,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticCustomError
from taskiq import InMemoryBroker

from fastask import FastTask, RemoteError
from fastask.wire.errors import dumped_error, loaded_error
from tests.unit.test_remote_errors import StoringResults, raised
from tests.unit.wire_values import SERIALIZERS


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code


class Wrapped(Exception):
    """It holds its cause twice."""

    def __init__(self, inner: Exception) -> None:
        super().__init__("wrapped", inner)
        self.inner = inner


class Line(BaseModel):
    id: int = 1
    name: str = "widget"


class Order(BaseModel):
    lines: list[Line] = []


class Node(BaseModel):
    child: "Node | None" = None
    number: int = 1


class Pair(NamedTuple):
    line: Line
    number: int


class Refused(Exception):
    def __init__(self, order: Any) -> None:
        self.order = order

    def __str__(self) -> str:
        return f"refused {self.order.lines[-1].name}"


class Oddly(Exception):
    __notes__ = 5  # type: ignore[assignment]


def test_slots() -> None:
    """Attributes in slots come back, too."""
    got: Any = loaded_error(dumped_error(Slotted(5)))
    assert (type(got), got.code) == (Slotted, 5)
    assert type(loaded_error(dumped_error(Oddly("a")))) is Oddly


def test_nothing_is_read_or_shown(tmp_path: Path) -> None:
    """Open files, endless iterators and secrets of an error stay where they are."""
    path = tmp_path / "file"
    path.write_text("content")
    error = ValueError(SecretStr("hunter2"))
    with path.open() as opened:
        error.file, error.ids = opened, itertools.repeat(0)  # type: ignore[attr-defined]
        error.secret = SecretStr("hunter2")  # type: ignore[attr-defined]
        form = json.dumps(dumped_error(error))
        assert opened.read() == "content"
    assert "hunter2" not in form
    got = loaded_error(json.loads(form))
    assert vars(got) == {}
    assert got.args == ("SecretStr('**********')",)


def test_payload_of_a_validation_error() -> None:
    """Each missing field has the whole payload as its input; it does not travel so often."""
    fields: Any = {f"f{n}": (int, ...) for n in range(300)}
    payload = {"text": "x" * 100_000}
    error: Any = raised(lambda: create_model("Long", **fields).model_validate(payload))
    form = json.dumps(dumped_error(error))
    assert len(form) < 500_000
    got = loaded_error(json.loads(form))
    assert isinstance(got, ValidationError)
    assert got.errors()[0]["loc"] == ("f0",)


def test_validation_error_of_ones_own_type() -> None:
    """A type of error that is not pydantic's comes back with its words."""

    def refuse(value: int) -> int:
        raise PydanticCustomError("odd", "no {good} at all", {"good": "good"})

    kind: Any = Annotated[int, AfterValidator(refuse)]
    error: Any = raised(lambda: TypeAdapter(kind).validate_python(1))
    got: Any = loaded_error(json.loads(json.dumps(dumped_error(error))))
    assert str(got) == str(error)
    assert (got.errors()[0]["type"], got.errors()[0]["input"]) == ("odd", 1)


def test_very_many_errors() -> None:
    """Groups in groups, which share their errors, are told to a number."""
    error: Exception = ValueError("x")
    for _ in range(7):
        error = ExceptionGroup("many", [error] * 8)
    assert len(json.dumps(dumped_error(error))) < 100_000
    assert isinstance(loaded_error(dumped_error(error)), ExceptionGroup | RemoteError)


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=lambda made: made.__name__)
async def test_error_that_is_nested_deeply(serializer: Any) -> None:
    """An error that no backend could store is told by its text, and not lost."""
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    backend = StoringResults(serializer())
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(backend))

    @ft.task("fails")
    async def fails() -> None:
        raise ValueError(deep)

    result = await (await fails.kiq()).wait_result(0.002, timeout=5)
    assert isinstance(result.error, ValueError)
    assert str(result.error).startswith("[[[[")


def wrapped(times: int) -> Exception:
    error: Exception = ValueError("root")
    for _ in range(times):
        outer = Wrapped(error)
        outer.__cause__ = error
        error = outer
    return error


def sent(error: BaseException) -> Any:
    return loaded_error(json.loads(json.dumps(dumped_error(error))))


def test_errors_that_are_held_cost_no_cause() -> None:
    """Causes and members of groups arrive, however many errors are among the arguments."""
    got, causes = sent(wrapped(8)), 0
    while got.__cause__ is not None:
        got, causes = got.__cause__, causes + 1
    assert (causes, str(got)) == (8, "root")
    group = sent(ExceptionGroup("group", [wrapped(3) for _ in range(6)]))
    assert len(group.exceptions) == 6
    assert all(isinstance(one.__cause__.__cause__, Wrapped) for one in group.exceptions)


def test_size_of_an_error_that_holds_records() -> None:
    """It grows as the records do: neither do texts repeat what is in them, nor without end."""

    def size(held: Any) -> int:
        return len(json.dumps(dumped_error(ValueError(held))))

    def nested(depth: int) -> Node:
        node = Node()
        for _ in range(depth):
            node = Node(child=node)
        return node

    assert size(nested(60)) < 2.2 * size(nested(30))
    lines = [Line(id=n) for n in range(10_000)]
    plain = len(json.dumps([line.model_dump() for line in lines]))
    for held in (Order(lines=lines), lines):
        assert size(held) < 3 * plain + 200_000


def test_records_without_texts_of_their_own() -> None:
    """Those within others, and those that there is no room for, show their fields."""
    lines = [Line(id=n) for n in range(10_000)]
    for error in (Refused(Order(lines=lines)), Refused(Order(lines=lines[:2]))):
        got = sent(error)
        assert (type(got), str(got)) == (Refused, "refused widget")
        assert repr(got.order.lines[1]) == str(got.order.lines[1]) == "Line(id=1, name='widget')"
    got = sent(ValueError(lines))
    assert str(got.args[0][0]) == str(lines[0])
    assert str(got.args[0][-1]) == repr(lines[-1])
    got = sent(ValueError(Pair(Line(), 2)))
    assert (str(got.args[0]), got.args[0].line.id) == (str(Pair(Line(), 2)), 1)
    assert repr(sent(ValueError(Order(lines=lines)))).startswith("ValueError(Order(lines=[Line(")


@pytest.mark.parametrize(
    "shown",
    [
        ["A" * 201, "a", "a", 1, None],
        ["A", 1, "a", 1, None],
        ["A", "a", 2, 1, None],
        ["A", None, "a", [1], ["a"]],
        ["A", None, None, 1, None],
        ["A", "a", "a", [1], [1]],
        ["A", "a", "a", "xy", "xy"],
    ],
)
def test_stand_ins_that_nobody_writes(shown: list[Any]) -> None:
    """Names, texts and fields are what they should be, so that they can be shown."""
    forged = [{"$fastask": {"$class": ["shown", shown]}}]
    with pytest.raises(ValueError, match="envelope can't be read"):
        loaded_error({**dumped_error(ValueError("x")), "args": forged})


def test_very_many_classes_of_stand_ins() -> None:
    """A class takes long to make, so a forged error gets no more than a number of them."""
    shown = [{"$class": ["shown", [f"A{n}", "a", None, 1, None]]} for n in range(1000)]
    forged = [{"$fastask": [one]} for one in shown]  # in any number of arguments
    got = loaded_error({**dumped_error(ValueError("x")), "args": forged})
    kinds = {type(held) for (held,) in got.args}
    assert {str(held) for (held,) in got.args} == {"a"}
    assert len({kind.__name__ for kind in kinds}) <= 101
    class_of = type(sent(ValueError(Line())).args[0])
    assert class_of.__name__ == "Line"  # that of the next error is its own


def test_notes_that_are_no_texts() -> None:
    """Python's traceback would fail on them."""
    with pytest.raises(TypeError, match="a note that is no text"):
        loaded_error({**dumped_error(ValueError("x")), "notes": [5]})


def test_long_name_of_a_class() -> None:
    got = sent(ValueError(type("A" * 300, (Line,), {})()))
    assert str(got.args[0]) == "id=1 name='widget'"
