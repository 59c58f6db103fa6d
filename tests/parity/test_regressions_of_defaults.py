"""Rules of defaults, schemes and decorators that fastask once got wrong."""

from functools import partial
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Query, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection

from fastask import FastTask
from tests.parity.runs import same_answer


class Page(BaseModel):
    limit: int = 10


async def test_use_cache_of_a_decorator_s_dependency() -> None:
    """`dependencies=[Depends(x), Depends(x, use_cache=False)]` calls `x` once."""
    log: list[str] = []

    def noted() -> None:
        log.append("called")

    async def endpoint() -> None: ...

    dependencies = [Depends(noted), Depends(noted, use_cache=False)]
    assert (await same_answer(endpoint, log, dependencies=dependencies)).log == ["called"]


@pytest.mark.parametrize("kind", [int, list[int]])
async def test_factory_of_a_plain_field(kind: Any) -> None:
    """Pydantic's own `Field(default_factory=...)` inside `Annotated` gives a default."""

    def dependency(value: Annotated[kind, Field(default_factory=lambda: 3)]) -> Any:
        return value

    async def endpoint(value: Any = Depends(dependency)) -> Any:
        return value

    assert (await same_answer(endpoint)).value == 3


async def test_default_of_a_model_of_parameters() -> None:
    """The default of a parameter whose model is made of parameters is never used."""

    def dependency(page: Annotated[Page, Query()] = Page(limit=50)) -> int:
        return page.limit

    async def endpoint(value: Any = Depends(dependency)) -> Any:
        return value

    assert (await same_answer(endpoint)).value == 10


async def test_partial_of_a_security_scheme() -> None:
    """A scheme is called for each set of scopes, inside a partial too."""
    log: list[str] = []

    class Noting(HTTPBearer):
        async def __call__(self, request: HTTPConnection) -> Any:
            log.append("scheme")
            return len(log)

    scheme = partial(Noting(auto_error=False))

    def user(token: Any = Depends(scheme)) -> Any:
        return token

    async def endpoint(
        one: int = Security(user, scopes=["a"]), other: int = Security(user, scopes=["b"])
    ) -> Any:
        return [one, other]

    assert (await same_answer(endpoint, log)).value == [1, 2]


async def test_default_of_the_task_itself() -> None:
    """A list that a task changes is as it was declared for the next run."""

    async def endpoint(value: list[int] = [1]) -> Any:  # noqa: B006 - the point of the test
        value.append(2)
        return value

    assert (await same_answer(endpoint)).value == [1, 2]


async def test_error_made_with_keywords_arrives() -> None:
    """FastAPI's own security raises `HTTPException(status_code=401, ...)`."""
    ft = FastTask(FastAPI())

    @ft.task
    async def task() -> None:
        raise HTTPException(status_code=401, detail="who are you?")

    async with ft.testing():
        sent = await task.kiq()
        with pytest.raises(HTTPException, match="who are you"):
            await sent.result()
