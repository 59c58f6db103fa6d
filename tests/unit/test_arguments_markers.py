"""What is demanded of a value beside a marker of FastAPI's holds as it does in a route."""

from typing import Annotated, Any, Literal

import pytest
from fastapi import Body, FastAPI, Query
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypeAliasType

from fastask import FastTask, InvalidArgumentsError


def positive(value: int) -> int:
    if value <= 0:
        raise ValueError("not positive")
    return value


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


Pos = Annotated[int, Field(gt=0)]
Named = TypeAliasType("Named", Annotated[int, AfterValidator(positive), Query()])
Pet: Any = Field(discriminator="kind")


async def query(n: Annotated[Pos, Query()] = 5) -> None: ...


async def validator(n: Annotated[int, AfterValidator(positive), Query(alias="N")] = 5) -> None: ...


async def default_within(n: Annotated[int, Field(default=3), AfterValidator(positive)]) -> None: ...


async def field_as_default(n: Pos = Field(5, lt=10)) -> None: ...


async def query_as_default(n: Pos = Query(5, lt=10)) -> None: ...


async def two_markers(n: Annotated[int, Field(gt=0), Query(), Body()] = 5) -> None: ...


async def alias(n: Named = 5) -> None: ...


async def strict(n: Annotated[int, Field(strict=True, gt=0), Query()] = 5) -> None: ...


@pytest.mark.parametrize(
    "func",
    [
        query,
        validator,
        default_within,
        field_as_default,
        query_as_default,
        two_markers,
        alias,
        strict,
    ],
)
def test_constraints_beside_a_marker(func: Any) -> None:
    """They are not lost, and the caller writes the parameter's own name."""
    arguments = FastTask(FastAPI()).task("task")(func)._definition.arguments
    assert arguments.dump((), {"n": 4}) == ([], {"n": 4})
    assert arguments.dump((), {}) == ([], {})
    for refused in (arguments.dump, arguments.load):
        with pytest.raises(InvalidArgumentsError, match=r"n: .*(greater than 0|not positive)"):
            refused((-1,), {})


@pytest.mark.parametrize("func", [field_as_default, query_as_default])
def test_constraints_of_a_default(func: Any) -> None:
    """Those of the marker that is the default count, too."""
    arguments = FastTask(FastAPI()).task("task")(func)._definition.arguments
    with pytest.raises(InvalidArgumentsError, match="less than 10"):
        arguments.dump((11,), {})


def test_validator_beside_a_marker_runs_once() -> None:
    """Also where its marker holds the constraint."""
    Cents = Annotated[int, AfterValidator(lambda euros: euros * 100), Query(gt=0)]

    async def pay(amount: Cents = 5) -> None: ...

    definition = FastTask(FastAPI()).task("pay")(pay)._definition
    assert definition.load(*definition.arguments.dump((6,), {})) == ((600,), {})


def test_discriminator() -> None:
    """It is kept, as a default and beside one."""

    async def default(pet: Cat | Dog = Pet) -> None: ...

    async def beside(pet: Annotated[Cat | Dog, Pet, Query()] = Cat()) -> None: ...

    for func in (default, beside):
        arguments = FastTask(FastAPI()).task("task")(func)._definition.arguments
        assert arguments.load(({"kind": "cat", "lives": 8},), {}) == ((Cat(lives=8),), {})
        with pytest.raises(InvalidArgumentsError, match="Input tag does not match"):
            arguments.load(({"kind": "fish"},), {})
        with pytest.raises(InvalidArgumentsError, match="Unable to extract tag"):
            arguments.load(({},), {})
