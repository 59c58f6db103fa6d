"""Problems name the parameter, also of an argument that was passed by its position."""

import inspect
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request

from fastask import INJECTED, FastTask, InvalidArgumentsError
from fastask.markers import read_parameter
from fastask.wire.arguments import ArgumentsWire
from tests.unit.doubles import one_sentence

INJECTED_WORDS = "is injected by the worker and can't be sent; leave it out"
BEHIND = "comes after an injected parameter in the function; pass it by name"


def get_pool() -> str:
    return "pool"


Pool = Annotated[str, Depends(get_pool)]


def arguments_of(func: Any) -> ArgumentsWire:
    root = FastTask(FastAPI()).task("task")(func)._definition._root
    names = list(inspect.signature(func).parameters)
    messaged = {spec.name for spec in root.messaged}
    return ArgumentsWire("task", root.messaged, set(names) - messaged, names)


async def last(n: int, pool: str = Depends(get_pool)) -> None: ...


async def annotated(n: int, pool: Pool = INJECTED) -> None: ...


async def first(request: Request, pool: Pool, n: int) -> None: ...


async def between(n: int, request: Request, size: int = 5, pool: Pool = INJECTED) -> None: ...


@pytest.mark.parametrize(
    ("func", "args", "told"),
    [
        (last, (1, 2), {"pool": INJECTED_WORDS}),
        (annotated, (1, "forged"), {"pool": INJECTED_WORDS}),
        (first, (1, 2, 3), {"request": INJECTED_WORDS, "pool": INJECTED_WORDS, "n": BEHIND}),
        (
            between,
            (1, 2, 3, 4),
            {"request": INJECTED_WORDS, "size": BEHIND, "pool": INJECTED_WORDS},
        ),
        (last, (1, 2, 3), {"pool": INJECTED_WORDS, 2: "Unexpected positional argument"}),
    ],
)
def test_injected_by_position(func: Any, args: Sequence[Any], told: dict[Any, str]) -> None:
    """The error names the parameter that the position is for, and says what to do."""
    for refused in (arguments_of(func).dump, arguments_of(func).load):
        with pytest.raises(InvalidArgumentsError) as caught:
            refused(args, {})
        found = {one["loc"][0]: one["msg"] for one in caught.value.errors if one["got"]}
        assert found == told
        assert one_sentence(caught.value, *told.values())


async def rest(n: int, *numbers: int, size: int = 5, **names: list[int]) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "place"),
    [
        ((1, 2, "x"), {}, ("numbers", 1)),
        (("x",), {}, ("n",)),
        ((1,), {"names": [1, "x"]}, ("names", 1)),
        ((1,), {"other": [1, "x"]}, ("other", 1)),
    ],
)
def test_variadic_parameters(args: Sequence[Any], kwargs: dict[str, Any], place: Any) -> None:
    """A wrong item of `*numbers` is one of `numbers`."""
    with pytest.raises(InvalidArgumentsError) as caught:
        arguments_of(rest).dump(args, kwargs)
    assert [one["loc"] for one in caught.value.errors] == [place]
    assert one_sentence(caught.value, ".".join(map(str, place)))


def test_nothing_is_known_of_the_function() -> None:
    """Without the order of its parameters the position is told."""
    parameters = inspect.signature(last).parameters.values()
    [spec, _] = [read_parameter(each) for each in parameters]
    with pytest.raises(InvalidArgumentsError, match="1: Unexpected positional argument"):
        ArgumentsWire("task", [spec], ["pool"]).dump((1, 2), {})
