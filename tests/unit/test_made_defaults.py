"""Defaults of a task's own parameters that are made for each run, however they are passed."""

from typing import Any

import pytest
from fastapi import Query

from fastask import Task
from tests.unit.doubles import program

SENTINEL = object()


async def by_position(
    n: int = 1,
    x: Any = SENTINEL,
    q: int = Query(5),
    seen: list[int] = [],  # noqa: B006 - the point of the test
    /,
) -> Any:
    seen.append(n)
    return [n, x is SENTINEL, q, list(seen)]


async def behind_more(n: int, *more: int, q: int = Query(5), seen: list[int] = []) -> Any:  # noqa: B006 - the same
    seen.append(n)
    return [n, *more, q, list(seen)]


async def beside_names(seen: list[int] = [], /, **named: int) -> Any:  # noqa: B006
    seen.append(1)
    return [list(seen), named]


def declared(func: Any) -> Task[..., Any]:
    ft, _ = program()
    task: Task[..., Any] = ft.task("task")(func)
    return task


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), [1, True, 5, [1]]),
        ((2,), [2, True, 5, [2]]),
        ((2, 3), [2, False, 5, [2]]),
        ((2, 3, 4), [2, False, 4, [2]]),
        ((2, 3, 4, [9]), [2, False, 4, [9, 2]]),
    ],
)
async def test_positional_only(args: tuple[Any, ...], expected: list[Any]) -> None:
    """They go by position; a sentinel before them stays what it is."""
    task = declared(by_position)
    assert [await task.run(*args) for _ in range(2)] == [expected, expected]


@pytest.mark.parametrize("more", [(), (2,), (2, 3, 4)])
async def test_behind_any_number_of_arguments(more: tuple[int, ...]) -> None:
    """They are made, too, where more arguments come by position than they stand behind."""
    task = declared(behind_more)
    assert [await task.run(1, *more) for _ in range(2)] == [[1, *more, 5, [1]]] * 2


async def test_name_that_is_free_again() -> None:
    """What has the name of a positional-only parameter is another argument."""
    task = declared(beside_names)
    assert [await task.run(seen=7) for _ in range(2)] == [[[1], {"seen": 7}]] * 2
