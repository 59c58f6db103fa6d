"""`ft.depends`: one marker for routes and tasks."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Self

import pytest
from fastapi import Depends, FastAPI, params
from starlette.testclient import TestClient

from fastask import INJECTED, FastTask, TaskRouter, UnresolvableTasksError

calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


@pytest.fixture
def ft(app: FastAPI) -> FastTask:
    return FastTask(app)


def word() -> str:
    return "word"


async def async_word() -> str:
    return "word"


def generated() -> Iterator[str]:
    yield "word"


async def async_generated() -> AsyncIterator[str]:
    yield "word"


def repeated(text: str, times: int = 1) -> str:
    return text * times


class Word(str):
    """A class that is a dependency."""

    __slots__ = ()

    def __new__(cls) -> Self:
        return super().__new__(cls, "word")


class Speaker:
    """An instance that is one."""

    def __call__(self) -> str:
        return "word"

    def speak(self) -> str:
        return "word"


KINDS: list[Any] = [
    word,
    async_word,
    generated,
    async_generated,
    Word,
    Speaker(),
    Speaker().speak,
    partial(repeated, "word"),
    lambda: "word",
]


@pytest.mark.parametrize("dependency", KINDS, ids=range(len(KINDS)))
@pytest.mark.parametrize("style", ["default", "Annotated"])
async def test_kinds(app: FastAPI, ft: FastTask, dependency: Any, style: str) -> None:
    """Every kind of dependency, in both styles, gives a route and a task the same value."""

    async def by_default(value: str = ft.depends(dependency)) -> str:
        return str(value)

    async def by_annotation(value: Annotated[Any, ft.depends(dependency)] = INJECTED) -> str:
        return str(value)

    func = by_default if style == "default" else by_annotation
    app.get("/")(func)
    assert TestClient(app).get("/").json() == "word"
    assert await ft.task("task")(func).run() == "word"
    names = [each["name"] for each in app.openapi()["paths"]["/"]["get"].get("parameters", [])]
    assert names == (["times"] if isinstance(dependency, partial) else [])


async def test_class_of_the_annotation(app: FastAPI, ft: FastTask) -> None:
    """Without a dependency the annotated class is meant."""

    async def show(value: Annotated[Speaker, ft.depends()] = INJECTED) -> str:
        return value.speak()

    app.get("/")(show)
    assert TestClient(app).get("/").json() == "word"
    assert await ft.task(show).run() == "word"


def test_is_fastapis_marker(ft: FastTask) -> None:
    """The marker is FastAPI's own, with the dependency itself where no adapter is needed."""
    marker: Any = ft.depends(word)
    assert isinstance(marker, params.Depends)
    assert asdict(marker) == asdict(Depends(word))
    marker = ft.depends(word, use_cache=False, scope="function")
    assert asdict(marker) == asdict(Depends(word, use_cache=False, scope="function"))
    marker = TaskRouter().depends(word)
    assert asdict(marker) == asdict(Depends(word))


async def counted() -> int:
    calls.append("counted")
    return len(calls)


async def test_cache(app: FastAPI, ft: FastTask) -> None:
    """`use_cache` means in a task what it means in a route."""

    async def show(
        one: int = ft.depends(counted),
        other: int = ft.depends(counted),
        fresh: int = ft.depends(counted, use_cache=False),
    ) -> list[int]:
        return [one, other, fresh]

    app.get("/")(show)
    assert TestClient(app).get("/").json() == [1, 1, 2]
    calls.clear()
    assert await ft.task(show).run() == [1, 1, 2]


WordDep = Annotated[str, Depends(word)]


async def test_injected(app: FastAPI, ft: FastTask) -> None:
    """`INJECTED` is a default that says nothing, in a route and in a task."""

    async def show(prefix: str = "a", *, value: WordDep = INJECTED) -> str:
        return prefix + value

    app.get("/")(show)
    assert TestClient(app).get("/").json() == "aword"
    assert await ft.task(show).run("b") == "bword"
    names = [parameter["name"] for parameter in app.openapi()["paths"]["/"]["get"]["parameters"]]
    assert names == ["prefix"]
    assert repr(INJECTED) == "INJECTED"


async def test_injected_without_a_marker(ft: FastTask) -> None:
    """`INJECTED` where nothing is injected is an error that names the parameter."""

    @ft.task("wrong")
    async def wrong(value: str = INJECTED) -> None: ...

    with pytest.raises(UnresolvableTasksError) as caught:
        wrong.compile()
    assert len(caught.value.problems) == 1
    assert "wrong -> value: INJECTED stands where" in str(caught.value)
    with pytest.raises(UnresolvableTasksError):
        await wrong.run()


async def test_injected_below(ft: FastTask) -> None:
    """`INJECTED` without a marker in a dependency is told with the chain."""

    def lower(value: str = INJECTED) -> None: ...

    @ft.task("wrong")
    async def wrong(value: None = ft.depends(lower)) -> None: ...

    with pytest.raises(UnresolvableTasksError, match=r"wrong -> value -> .*lower -> value"):
        wrong.compile()
