"""Instances that hold a wrong value: the error names the field and the type."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from fastask import InvalidArgumentsError, InvalidResultError
from fastask.wire.results import ResultWire
from fastask.wire.values import UnsendableError, ValueWire
from tests.unit.doubles import one_sentence
from tests.unit.test_wire_corners import task_of


class Item(BaseModel):
    number: int
    key: SecretStr = SecretStr("hunter2")


class Order(BaseModel):
    item: Item
    items: list[Item] = []


class Loose(BaseModel):
    number: int
    data: Any = None


class Adding(BaseModel):
    number: Annotated[int, AfterValidator(lambda number: number + 1)]


@dataclass
class Point:
    x: int


def assigned(item: Item, value: Any) -> Item:
    item.number = value
    return item


WRONG = Item.model_construct(number="abc")  # type: ignore[arg-type]
LAX = assigned(Item(number=1), "7")
INTEGER = "Input should be a valid integer, unable to parse string as an integer"
READ = "it would be read as int, so send that"


@pytest.mark.parametrize(
    ("kind", "value", "place", "words", "got"),
    [
        (Item, WRONG, ("number",), INTEGER, "str"),
        (Item, Item.model_construct(), ("number",), "Field required", ""),  # type: ignore[call-arg]
        (Item, Item(number=1).model_copy(update={"number": "x"}), ("number",), INTEGER, "str"),
        (Item, LAX, ("number",), READ, "str"),
        (Item | None, LAX, ("number",), READ, "str"),
        (Order, Order.model_construct(item=WRONG), ("item", "number"), INTEGER, "str"),
        (Order, Order(item=LAX), ("item", "number"), READ, "str"),
        (Order, Order(item=Item(number=1), items=[LAX]), ("items", 0, "number"), READ, "str"),
        (dict[str, list[Item]], {"a": [LAX]}, ("a", 0, "number"), READ, "str"),
        (Loose, Loose.model_construct(number="x"), ("number",), INTEGER, "str"),  # type: ignore[arg-type]
        (Point, Point("abc"), ("x",), INTEGER, "str"),  # type: ignore[arg-type]
        (Point, Point("5"), ("x",), READ, "str"),  # type: ignore[arg-type]
        (list[Point], [Point(1), Point("abc")], (1, "x"), INTEGER, "str"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_instance_that_holds_a_wrong_value(
    kind: Any, value: Any, place: Any, words: str, got: str
) -> None:
    """In an argument and in a result."""
    with pytest.raises(UnsendableError) as caught:
        ValueWire(kind).dump(value)
    [problem] = caught.value.problems
    assert (problem["loc"], problem["msg"], problem["got"]) == (place, words, got)
    told = ".".join(map(str, place))
    with pytest.raises(InvalidArgumentsError, match=f"{told}: {words}") as refused:
        task_of(kind)._definition.arguments.dump((value,), {})
    assert one_sentence(refused.value, "task 'echo': value")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(InvalidResultError, match=f"allow: {told}: {words}"):
        ResultWire("a", kind).dump(value)


def test_many_wrong_values() -> None:
    """The first one is told, and how many there are."""
    with pytest.raises(UnsendableError, match=r"0.number: .* \(got str\); and 299 more") as caught:
        ValueWire(list[Item]).dump([WRONG] * 300)
    assert len(caught.value.problems) + caught.value.more == 300


def test_class_that_changes_what_it_reads() -> None:
    """That is no wrong value: the error says what it is."""
    for kind, value in ((Adding, Adding(number=1)), (list[Adding], [Adding(number=1)])):
        with pytest.raises(UnsendableError, match="its class changes") as caught:
            ValueWire(kind).dump(value)
        assert caught.value.problems[0]["loc"] == ()


def test_items_that_are_checked_late() -> None:
    """Those of an `Iterable` are told with their places."""
    with pytest.raises(UnsendableError) as caught:
        ValueWire(Iterable[UUID]).dump(iter(ValueWire(Iterable[UUID]).check(["x"])))
    assert caught.value.problems[0]["loc"] == (0,)


class Login(BaseModel):
    user: str
    password: SecretStr

    @field_validator("user")
    @classmethod
    def refuse(cls, user: str) -> str:
        raise PydanticCustomError("taken", "{user} is taken", {"user": user})


class Changing(BaseModel):
    old: SecretStr
    new: str

    @field_validator("new")
    @classmethod
    def differ(cls, new: str, info: ValidationInfo) -> str:
        raise ValueError(f"{info.data['old'].get_secret_value()} is the old one")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Login, {"user": "hunter2", "password": "hunter2"}),
        (Login, Login.model_construct(user="hunter2", password=SecretStr("hunter2"))),
        (Changing, {"old": "hunter2", "new": "x"}),
        (Changing, Changing.model_construct(old=SecretStr("hunter2"), new="x")),
        (dict[SecretStr, int], {"hunter2": "x"}),
    ],
    ids=str,
)
def test_secret_in_a_wrong_result(kind: Any, value: Any) -> None:
    """No error of a result tells it, whatever a validator says, nor one of an instance."""
    with pytest.raises(InvalidResultError) as caught:
        ResultWire("a", kind).dump(value)
    assert "hunter2" not in f"{caught.value} {caught.value!r}"
    with pytest.raises(InvalidArgumentsError) as refused:
        task_of(kind)._definition.arguments.dump((value,), {})
    assert "hunter2" not in f"{refused.value} {refused.value.errors}"
