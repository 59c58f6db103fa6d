"""Routes that ask by `ft.depends` for what is written with Taskiq's markers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import pytest
from fastapi import Depends
from taskiq import Context, TaskiqDepends
from taskiq_dependencies import ParamInfo

from fastask import FastTask
from tests.parity.runs import answers, same_answer

T = TypeVar("T")


def lowest() -> str:
    return "lowest"


class Made:
    def __init__(self, value: str = TaskiqDepends(lowest)) -> None:
        self.value = value

    def __call__(self, value: str = TaskiqDepends(lowest)) -> Iterator[str]:
        yield value


class Box(Generic[T]):
    def __init__(self, inside: T = TaskiqDepends()) -> None:
        self.inside = inside


def named(info: ParamInfo = TaskiqDepends()) -> str:
    return info.name


@contextmanager
def managed(value: str = TaskiqDepends(lowest)) -> Iterator[str]:
    yield value


async def test_adapted_partial_of_a_generator() -> None:
    """A route that asks by `ft.depends` for a partial with Taskiq's markers calls it rightly."""

    async def endpoint(value: Any = FastTask.depends(partial(Made("x")))) -> str:
        return str(value)

    assert (await same_answer(endpoint)).value == "lowest"


async def test_adapted_class_of_an_annotation() -> None:
    """`ft.depends()` without an argument adapts the annotated class."""

    async def endpoint(
        one: Annotated[Made, FastTask.depends()], other: Made = FastTask.depends()
    ) -> Any:
        return [str(one.value), str(other.value)]

    assert (await same_answer(endpoint)).value == ["lowest", "lowest"]


async def unboxed(box: Box[Made] = TaskiqDepends()) -> str:
    return box.inside.value


async def unmanaged(value: str = TaskiqDepends(managed)) -> str:
    return value


@pytest.mark.parametrize("dependency", [unboxed, unmanaged])
async def test_adapted_specialities_of_taskiq(dependency: Any) -> None:
    """Generic classes and context manager functions, in a route by `ft.depends`."""

    async def endpoint(value: Any = FastTask.depends(dependency)) -> Any:
        return value

    assert (await same_answer(endpoint)).value == "lowest"


async def of_task(context: Context = TaskiqDepends()) -> str:
    return context.message.task_name


@pytest.mark.parametrize(("dependency", "value"), [(named, "value"), (of_task, "tried")])
async def test_what_only_a_task_has(dependency: Any, value: str) -> None:
    """A route is told so, unless it overrides the dependency."""

    async def endpoint(value: Any = FastTask.depends(dependency)) -> Any:
        return value

    as_route, as_task = await answers(endpoint)
    assert as_route.error is not None
    assert as_route.error[0] == "DependencyError"
    assert "override this dependency in routes" in as_route.error[1]
    assert as_task.value == value
    assert (await same_answer(endpoint, overrides={dependency: lambda: "x"})).value == "x"


async def test_adapted_kwargs() -> None:
    """Taskiq's fixed arguments are given in a route, and equal ones share one value."""
    log: list[Any] = []

    def made(tag: int = 0, value: str = TaskiqDepends(lowest)) -> Any:
        log.append(tag)
        return [tag, value]

    def above(
        one: Any = TaskiqDepends(made, kwargs={"tag": 1}),
        same: Any = TaskiqDepends(made, kwargs={"tag": 1}),
        other: Any = TaskiqDepends(made, kwargs={"tag": 2, "value": "fixed"}),
    ) -> Any:
        return [one, same is one, other]

    async def endpoint(value: Any = FastTask.depends(above)) -> Any:
        return value

    answer = await same_answer(endpoint, log)
    assert answer.value == [[1, "lowest"], True, [2, "fixed"]]
    assert answer.log == [1, 2]


async def test_adapted_dependency_is_the_dependency() -> None:
    """`Depends` of the same function shares its value, and an override serves both."""
    log: list[str] = []

    def plain() -> str:
        log.append("plain")
        return "plain"

    def above(value: str = TaskiqDepends(plain)) -> str:
        return value

    async def endpoint(
        one: str = FastTask.depends(above), other: str = Depends(plain), third: Any = Depends(Made)
    ) -> Any:
        return [one, other, third]

    options = {Made: lambda: "made"}
    answer = await same_answer(endpoint, log, overrides=options)
    assert (answer.value, answer.log) == (["plain", "plain", "made"], ["plain"])
    answer = await same_answer(endpoint, log, overrides={**options, above: lambda: "over"})
    assert (answer.value, answer.log) == (["over", "plain", "made"], ["plain"])
    answer = await same_answer(endpoint, log, overrides={**options, plain: lambda: "over"})
    assert (answer.value, answer.log) == (["over", "over", "made"], [])
