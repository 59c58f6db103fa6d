"""Parameters that can't be given: what is injected is passed by name, as FastAPI does it."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, Request
from fastapi.security import SecurityScopes
from taskiq import TaskiqDepends

from fastask import INJECTED, UnresolvableTasksError
from tests.unit.doubles import program


def three() -> int:
    return 3


Three = Annotated[int, Depends(three)]


async def with_marker(pool: Three, /, n: int = 4) -> None: ...


async def with_default(pool: int = Depends(three), /) -> None: ...


async def with_injected(n: int, pool: Three = INJECTED, /) -> None: ...


async def with_request(pool: Request, /) -> None: ...


async def with_scopes(pool: SecurityScopes, /) -> None: ...


async def with_variadic(*pool: Three) -> None: ...


async def with_requests(n: int, *pool: Request) -> None: ...


def below(n: int = 1, /) -> int:
    return n


def below_injected(n: Three, /) -> int:
    return n


def below_fixed(n: int, /) -> int:
    return n


class Below:
    def __init__(self, n: int = 1, /) -> None:
        self.n = n


def below_generator(n: int = 1, /) -> Iterator[int]:
    yield n


async def over(value: Any = Depends(below)) -> None: ...
async def over_injected(value: Any = Depends(below_injected)) -> None: ...
async def over_fixed(value: Any = TaskiqDepends(below_fixed, kwargs={"n": 1})) -> None: ...
async def over_class(value: Annotated[Below, Depends()]) -> None: ...
async def over_generator(value: Any = Depends(below_generator)) -> None: ...


@pytest.mark.parametrize(
    ("func", "chain"),
    [
        (with_marker, "named -> pool"),
        (with_default, "named -> pool"),
        (with_injected, "named -> pool"),
        (with_request, "named -> pool"),
        (with_scopes, "named -> pool"),
        (with_variadic, "named -> pool"),
        (with_requests, "named -> pool"),
        (over, "named -> value -> below -> n"),
        (over_injected, "named -> value -> below_injected -> n"),
        (over_fixed, "named -> value -> below_fixed -> n"),
        (over_class, "named -> value -> Below -> n"),
        (over_generator, "named -> value -> below_generator -> n"),
    ],
)
def test_injected_parameter_that_has_no_name(func: Callable[..., Any], chain: str) -> None:
    """Every run would fail with a `TypeError`, as in a route; the worker's start tells."""
    ft, _ = program()
    with pytest.raises(UnresolvableTasksError) as caught:
        ft.task("named")(func).compile()
    [problem] = caught.value.problems
    assert problem.startswith(f"{chain}: it can only be passed by position, ")
    assert problem.endswith("; let it be passed by name, or wrap the function")


def test_override_whose_parameter_has_no_name() -> None:
    """What overrides is looked at in the same way, when it does."""
    ft, _ = program()

    @ft.task("task")
    async def task(pool: Three) -> None: ...

    task.compile()
    ft.app.dependency_overrides[three] = below
    with pytest.raises(UnresolvableTasksError, match=r"below \(override\) -> n: it can only"):
        task.compile()


@pytest.mark.parametrize("marker", [Depends(three), TaskiqDepends(three)])
def test_more_arguments_behind_an_injected_parameter(marker: Any) -> None:
    """The second of them would be the injected parameter's."""
    ft, _ = program()

    @ft.task("task")
    async def task(n: int, pool: int = marker, *more: int) -> None: ...

    with pytest.raises(UnresolvableTasksError) as caught:
        task.compile()
    [problem] = caught.value.problems
    assert problem.startswith("task -> more: ")
    assert problem.endswith("; put injected parameters behind *more")


async def test_what_can_be_passed() -> None:
    """Injected parameters behind the others are fine, whatever those are."""
    ft, _ = program()

    async def behind(a: int, b: int = 2, /, *more: int, pool: Three, **named: int) -> Any:
        return [a, b, *more, pool, named]

    async def between(a: int, /, pool: Three, b: int = 2, **named: int) -> Any:
        return [a, pool, b, named]

    async def only_effects(*more: int) -> Any:
        return more

    task: Any = ft.task("behind")(behind)
    assert await task.run(1, 5, 6, named=7) == [1, 5, 6, 3, {"named": 7}]
    task = ft.task("between")(between)
    assert await task.run(1, b=5, pool_=6) == [1, 3, 5, {"pool_": 6}]
    task = ft.task("effects", dependencies=[Depends(three)])(only_effects)
    assert await task.run(1, 2) == (1, 2)


def with_any_name(n: int = 1, /, **named: int) -> Any:
    return [n, named]


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [(with_any_name, [1, {"n": 1}]), (Counter, {"iterable": None})],
)
async def test_dependency_that_takes_any_name(dependency: Any, expected: Any) -> None:
    """With `**named` the call is a call, and a route makes it too."""
    ft, _ = program()

    @ft.task("task")
    async def task(value: Any = Depends(dependency)) -> Any:
        return value

    assert await task.run() == expected
