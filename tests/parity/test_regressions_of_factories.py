"""Where a task or a route should do what the other one does, and does not yet."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, Query
from pydantic import Field
from taskiq import TaskiqDepends

from fastask import FastTask
from tests.parity.runs import same_answer


def lowest() -> str:
    return "lowest"


class Session:
    """An object that can be entered, and whose dependency is a plain class."""

    def __init__(self, name: str = TaskiqDepends(lowest)) -> None:
        self.name = name

    def __enter__(self) -> str:
        raise AssertionError

    def __exit__(self, *error: object) -> None:
        raise AssertionError


def session(name: str = TaskiqDepends(lowest)) -> Session:
    return Session(name)


@pytest.mark.parametrize("dependency", [Session, session])
async def test_adapted_dependency_that_gives_a_context_manager(dependency: Any) -> None:
    """What a class or a plain function gives is given as it is; only generators are entered."""

    async def endpoint(value: Any = FastTask.depends(dependency)) -> Any:
        return type(value).__name__

    assert (await same_answer(endpoint)).value == "Session"


async def test_factory_beside_a_marker() -> None:
    """FastAPI merges all fields inside `Annotated`, and takes the factory of any."""

    def dependency(value: Annotated[int, Field(default_factory=lambda: 3), Query()]) -> int:
        return value

    async def endpoint(value: int = Depends(dependency)) -> int:
        return value

    assert (await same_answer(endpoint)).value == 3
