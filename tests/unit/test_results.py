"""Results: the return annotation decides."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from fastask import FastTask, InvalidResultError, UnresolvableTasksError
from tests.unit.doubles import one_sentence

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Item(BaseModel):
    name: str
    at: datetime


@dataclass
class Point:
    x: int
    tags: set[str]


@pytest.fixture
def ft() -> FastTask:
    return FastTask(FastAPI())


async def test_result_is_converted(ft: FastTask) -> None:
    """The return annotation decides what a result is."""

    @ft.task
    async def loose() -> Item:
        return {"name": "pen", "at": NOW.isoformat()}  # type: ignore[return-value]

    assert await (await loose.kiq()).result(timeout=1) == Item(name="pen", at=NOW)


@pytest.mark.parametrize("how", ["async", "sync"])
async def test_misfit(ft: FastTask, how: str) -> None:
    """A result that does not fit is a failed task, without the value in the error."""

    async def wrong() -> dict[str, int]:
        return {"a": "hunter2"}  # type: ignore[dict-item]

    def wrong_sync() -> dict[str, int]:
        return {"a": "hunter2"}  # type: ignore[dict-item]

    task: Any = ft.task("wrong")(wrong if how == "async" else wrong_sync)
    sent = await task.kiq()
    result = await sent.get_result()
    assert result.is_err
    error = result.error
    assert isinstance(error, InvalidResultError)
    assert error.task == "wrong"
    assert one_sentence(error, "task 'wrong'", "a: Input should be a valid integer", "(got str)")
    assert "hunter2" not in repr(error)
    with pytest.raises(InvalidResultError):
        await sent.result(timeout=1)


async def test_result_without_a_json_form(ft: FastTask) -> None:
    """A result that JSON can't hold is a failed task."""

    @ft.task
    async def strange() -> Any:
        return object()

    with pytest.raises(InvalidResultError, match="strange"):
        await (await strange.kiq()).result(timeout=1)


async def test_result_of_nothing(ft: FastTask) -> None:
    """A task that is annotated with `None` and returns something fails."""

    @ft.task
    async def nothing() -> None:
        return 5  # type: ignore[return-value]

    with pytest.raises(InvalidResultError):
        await (await nothing.kiq()).result(timeout=1)


@pytest.mark.parametrize("kind", [int, str, bool, list[int], Item])
async def test_forgotten_return(ft: FastTask, kind: Any) -> None:
    """A task that returns nothing though it should is a failed one, where it is stored."""

    async def forgotten() -> None: ...

    forgotten.__annotations__["return"] = kind
    task = ft.task("forgotten")(forgotten)
    for _ in range(2):  # the second time by what was written out
        sent = await task.kiq()
        stored = await ft.broker.result_backend.get_result(sent.task_id)
        assert stored.is_err
        assert stored.return_value is None


@pytest.mark.parametrize("kind", [None, int | None, Any])
async def test_nothing_that_is_annotated(ft: FastTask, kind: Any) -> None:
    """`None` is a value where the annotation says so."""

    async def nothing() -> None: ...

    nothing.__annotations__["return"] = kind
    task: Any = ft.task("nothing")(nothing)
    assert await (await task.kiq()).result(timeout=1) is None


def undefined(ft: FastTask) -> Any:
    async def make() -> "OnlyForCheckers":  # type: ignore[name-defined]  # noqa: F821
        return "anything"

    return ft.task("make")(make)


async def test_return_annotation_that_is_not_there(ft: FastTask) -> None:
    """A name that only type checkers see is told, when a worker starts and when it is sent."""
    task = undefined(ft)
    for _ in range(2):
        with pytest.raises(UnresolvableTasksError, match="'OnlyForCheckers' is not defined"):
            task.compile()
        with pytest.raises(UnresolvableTasksError, match="not for type checkers alone"):
            await task.kiq()


async def test_result_without_an_annotation(ft: FastTask) -> None:
    """Without a return annotation the result is what JSON makes of it."""

    @ft.task
    async def loose():
        return {"at": NOW, "point": Point(1, {"a"})}

    assert await (await loose.kiq()).result(timeout=1) == {
        "at": "2026-01-02T03:04:05.678901Z",
        "point": {"x": 1, "tags": ["a"]},
    }


async def test_run_returns_the_value_itself(ft: FastTask) -> None:
    """`run` gives what the function returns, unchecked and uncopied."""
    value = object()

    @ft.task
    async def same() -> int:
        return value  # type: ignore[return-value]

    assert await same.run() is value
