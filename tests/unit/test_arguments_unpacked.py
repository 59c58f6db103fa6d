"""`**names: Unpack[...]` of a `TypedDict`: each of its fields travels by its own annotation."""

from typing import Annotated, Any, Generic, NotRequired, TypeVar, Unpack
from uuid import UUID

import pytest
from fastapi import FastAPI
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypedDict

from fastask import FastTask, InvalidArgumentsError

T = TypeVar("T")
ID = UUID(int=1)


class Card(BaseModel):
    number: int


class Names(TypedDict, total=False):
    id: UUID
    card: "Card | None"
    count: Annotated[NotRequired[int], Field(gt=0)]
    cents: NotRequired[Annotated[int, AfterValidator(lambda euros: euros * 100)]]
    both: UUID | str


class Box(TypedDict, Generic[T]):
    item: T


async def named(n: int, **names: Unpack[Names]) -> None: ...


async def boxed(**names: Unpack[Box[int]]) -> None: ...


def test_fields_travel_by_their_annotations() -> None:
    """In plain JSON where that is enough, without a warning, and as the same values."""
    definition = FastTask(FastAPI()).task("named")(named)._definition
    given: Any = {"id": ID, "card": Card(number=5), "count": 3, "cents": 5}
    args, form = definition.arguments.dump((1,), given)
    assert (args, form) == ([1], {"id": str(ID), "card": {"number": 5}, "count": 3, "cents": 5})
    assert definition.load(args, form) == ((1,), {**given, "cents": 500})
    for either in (ID, "text"):
        form = definition.arguments.dump((1,), {"both": either})[1]
        assert definition.load((1,), form) == ((1,), {"both": either})


@pytest.mark.parametrize(
    ("given", "place"),
    [({"id": "x"}, ("id",)), ({"card": {}}, ("card", "number")), ({"count": 0}, ("count",))],
)
def test_fields_are_checked(given: dict[str, Any], place: Any) -> None:
    """A problem names the field."""
    definition = FastTask(FastAPI()).task("named")(named)._definition
    for refused in (definition.arguments.dump, definition.load):
        with pytest.raises(InvalidArgumentsError) as caught:
            refused((1,), given)
        assert [one["loc"] for one in caught.value.errors] == [place]


def test_names_that_are_not_fields() -> None:
    """They are refused, and the parameter's own name is none either."""
    arguments = FastTask(FastAPI()).task("named")(named)._definition.arguments
    for name in ("other", "names"):
        with pytest.raises(InvalidArgumentsError, match=name):
            arguments.dump((1,), {name: ID})


def test_generic_fields() -> None:
    """Type arguments are checked."""
    definition = FastTask(FastAPI()).task("boxed")(boxed)._definition
    assert definition.load(*definition.arguments.dump((), {"item": 5})) == ((), {"item": 5})
    with pytest.raises(InvalidArgumentsError, match="item"):
        definition.arguments.dump((), {"item": "x"})
