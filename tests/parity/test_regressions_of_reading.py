"""How dependencies and their parameters are read: kinds of callables, markers, defaults."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache, partial, wraps
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from unittest.mock import MagicMock

import pytest
from fastapi import Body, Cookie, Depends, Header, Query, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from typing_extensions import TypeAliasType

from tests.parity.runs import answers, same_answer

T = TypeVar("T")


class Stock:
    """Something with methods of every kind."""

    def __init__(self, size: int = 1) -> None:
        self.size = size

    def __call__(self, more: int = 2) -> Iterator[int]:
        yield more

    async def method(self, more: int = 3) -> int:
        return more

    async def generator(self, more: int = 4) -> AsyncIterator[int]:
        yield more

    @classmethod
    async def of_class(cls, more: int = 5) -> int:
        return more

    @staticmethod
    def static(more: int = 6) -> int:
        return more


class WithAsyncCall:
    """A class is called as a function, whatever its instances are."""

    def __init__(self, size: int = 7) -> None:
        self.size = size

    async def __call__(self) -> int:
        raise AssertionError


class Pair(NamedTuple):
    left: int = 1
    right: str = "r"


class Page(BaseModel):
    limit: int = 10
    tags: list[str] = []


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that is a plain function around anything."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@lru_cache
def settings() -> str:
    return "settings"


@passing
async def wrapped(value: int = 8) -> int:
    return value


@passing
async def wrapped_generator(value: int = 9) -> AsyncIterator[int]:
    yield value


STOCK = Stock()


@pytest.mark.parametrize(
    ("dependency", "value"),
    [
        (STOCK, 2),
        (partial(STOCK), 2),
        (STOCK.method, 3),
        (STOCK.generator, 4),
        (partial(STOCK.generator, more=14), 14),
        (partial(partial(STOCK.generator), 15), 15),
        (Stock.of_class, 5),
        (Stock.static, 6),
        (settings, "settings"),
        (wrapped, 8),
        (partial(wrapped), 8),
        (wrapped_generator, 9),
        (lambda: 10, 10),
    ],
)
async def test_kinds_of_callables(dependency: Any, value: Any) -> None:
    """FastAPI looks through partials, wrappers and instances to see how a call is made."""

    async def endpoint(got: Any = Depends(dependency)) -> Any:
        return got

    assert (await same_answer(endpoint)).value == value


async def test_classes_are_called_as_functions() -> None:
    """Also one with an async `__call__`, and a named tuple."""

    async def endpoint(
        one: Annotated[WithAsyncCall, Depends()], pair: Pair = Depends(), stock: Stock = Depends()
    ) -> Any:
        return [one.size, pair.left, pair.right, stock.size]

    assert (await same_answer(endpoint)).value == [7, 1, "r", 1]


async def test_what_blocks_runs_in_a_thread() -> None:
    """Functions, classes and both halves of a generator; the event loop goes on."""
    log: list[bool] = []

    def in_thread() -> bool:
        return threading.current_thread() is not threading.main_thread()

    def generator() -> Iterator[bool]:
        yield in_thread()
        log.append(in_thread())

    class Made:
        def __init__(self) -> None:
            self.in_thread = in_thread()

    def endpoint(
        one: bool = Depends(in_thread), two: bool = Depends(generator), made: Made = Depends()
    ) -> Any:
        return [one, two, made.in_thread, in_thread()]

    answer = await same_answer(endpoint, log)
    assert answer.value == [True] * 4
    assert answer.log == [True]


async def test_defaults_are_made_anew_for_every_call() -> None:
    """A list that a dependency changes is as it was declared for the next one."""

    def first(
        bare: list[int] = [1],  # noqa: B006 - the point of the test
        query: list[int] = Query([2]),
        made: list[int] = Query(default_factory=lambda: [3]),
        body: dict[str, int] = Body({"four": 4}),
    ) -> Any:
        seen = [list(bare), list(query), list(made), dict(body)]
        for changed in (bare, query, made):
            changed.append(0)
        body.clear()
        return seen

    async def endpoint(
        once: Any = Depends(first), again: Any = Depends(first, use_cache=False)
    ) -> Any:
        return [once, again]

    expected = [[1], [2], [3], {"four": 4}]
    assert (await same_answer(endpoint)).value == [expected, expected]


async def test_defaults_of_every_spelling() -> None:
    """A factory inside `Annotated`, aliases, cookies, headers, no annotation at all."""

    def dependency(
        made: Annotated[int, Query(default_factory=lambda: 1)],
        aliased: Annotated[int, Query(alias="other")] = 2,
        header: Annotated[str, Header(alias="X-Three")] = "3",
        cookie: str | None = Cookie(None),
        untyped="five",
        unchecked: int = Query("six"),
    ) -> Any:
        return [made, aliased, header, cookie, untyped, unchecked]

    async def endpoint(value: Any = Depends(dependency)) -> Any:
        return value

    assert (await same_answer(endpoint)).value == [1, 2, "3", None, "five", "six"]


@pytest.mark.parametrize("field", [Query(), Header(), Cookie()])
async def test_model_of_parameters_is_made_from_nothing(field: Any) -> None:
    """A model without required fields needs no default, beside other parameters too."""

    def dependency(page: Annotated[Page, field], other: int = 2) -> Any:
        return [page.limit, page.tags, other]

    async def endpoint(value: Any = Depends(dependency)) -> Any:
        return value

    assert (await same_answer(endpoint)).value == [10, [], 2]


async def test_last_marker_inside_annotated_counts() -> None:
    """An alias may be extended by another marker; a default beside a marker is ignored."""

    def one() -> int:
        return 1

    def two() -> int:
        return 2

    first = Annotated[int, Depends(one)]

    async def endpoint(
        second: Annotated[first, Depends(two)],
        field: Annotated[int, Query(), Depends(one)],
        default: first = 9,
    ) -> Any:
        return [second, field, default]

    assert (await same_answer(endpoint)).value == [2, 1, 1]


async def test_alias_of_an_alias_is_read_as_fastapi_reads_it() -> None:
    """One level of `type X = ...` is looked through; below that a marker is not seen."""
    inner = TypeAliasType("inner", Annotated[Any, Depends(settings)])
    outer = TypeAliasType("outer", Annotated[inner, "a note"])

    def sees(value: inner) -> Any:
        return value

    def misses(value: outer) -> Any:
        return value

    async def seeing(value: Any = Depends(sees)) -> Any:
        return value

    async def missing(value: Any = Depends(misses)) -> Any:
        return value

    assert (await same_answer(seeing)).value == "settings"
    as_route, as_task = await answers(missing)
    assert as_route.value[0] == 422
    assert as_task.error is not None
    assert as_task.error[0] == "UnresolvableTasksError"


@pytest.mark.parametrize("marker", [Query(), Depends(settings)])
async def test_two_markers_that_contradict_each_other_are_refused(marker: Any) -> None:
    """One inside `Annotated` and another one as the default."""

    async def endpoint(value: Annotated[Any, marker] = Depends(settings)) -> None: ...

    as_route, as_task = await answers(endpoint)
    assert as_route.error is not None
    assert as_route.error[0] == "AssertionError"
    assert as_task.error is not None
    assert as_task.error[0] == "UnresolvableTasksError"


async def test_requests_and_responses_are_one_object_per_run() -> None:
    """Whoever asks, under whichever name; a response has no status of its own yet."""

    def sets(request: Request, response: Response) -> None:
        request.state.mark = "set"
        response.headers["x-mark"] = "set"

    def reads(connection: HTTPConnection, response: Response) -> Any:
        return [connection.state.mark, response.headers["x-mark"], response.status_code]

    async def endpoint(
        request: Request,
        first: Any = Depends(sets),
        second: Any = Depends(reads),
        third: Any = Depends(reads, use_cache=False),
    ) -> Any:
        return [second, third, request.state.mark]

    assert (await same_answer(endpoint)).value == [["set", "set", None]] * 2 + ["set"]


async def test_postponed_annotations_need_no_name_that_is_missing() -> None:
    """Names that only type checkers know may stand where a marker names the dependency."""
    namespace: dict[str, Any] = {"Depends": Depends, "__name__": "late"}
    source = """
from __future__ import annotations

def made():
    class Local:
        def __init__(self, size: int = 4):
            self.size = size

    def dependency(a: Local = Depends(Local), b: Missing = Depends(Local)):
        return [a.size, b is a]

    async def endpoint(value: Any = Depends(dependency)):
        return value

    return endpoint
"""
    exec(compile(source, "<late>", "exec", dont_inherit=True), namespace)
    assert (await same_answer(namespace["made"]())).value == [4, True]


async def test_security_scheme_is_called_for_each_set_of_scopes() -> None:
    """Whether it reads them or not: FastAPI can't know."""
    log: list[str] = []

    class Noting(HTTPBearer):
        async def __call__(self, request: HTTPConnection) -> Any:
            log.append("scheme")
            return len(log)

    scheme = Noting(auto_error=False)

    def user(token: Any = Depends(scheme)) -> Any:
        return token

    async def endpoint(
        one: int = Security(user, scopes=["a"]), other: int = Security(user, scopes=["b"])
    ) -> Any:
        return [one, other]

    assert (await same_answer(endpoint, log)).value == [1, 2]


async def test_factory_of_the_endpoint_itself() -> None:
    """`Annotated[int, Query(default_factory=...)]` gives its default on a task too."""

    async def endpoint(value: Annotated[int, Query(default_factory=lambda: 3)]) -> Any:
        return value

    assert (await same_answer(endpoint)).value == 3


class Box(Generic[T]):
    def __init__(self, size: int = 3) -> None:
        self.size = size


@asynccontextmanager
async def managed() -> AsyncIterator[int]:
    yield 3


@contextmanager
def managed_in_thread() -> Iterator[int]:
    yield 3


def variadic(*args: Any, **kwargs: Any) -> int:
    return 3 + len(args) + len(kwargs)


def twice(one: Request, two: Request) -> int:
    return 3 if one is two else 0


@pytest.mark.parametrize(
    "dependency",
    [managed, managed_in_thread, variadic, twice, MagicMock(return_value=3)],
)
async def test_task_resolves_what_a_route_can_not(dependency: Any) -> None:
    """Context manager functions, variadic ones, two requests, mocks: harmless and useful."""

    async def endpoint(value: Any = Depends(dependency)) -> Any:
        return value

    as_route, as_task = await answers(endpoint)
    assert as_route.error is not None or as_route.value[0] == 422
    assert as_task.value == 3


async def test_generic_class_of_fastapi_s_marker() -> None:
    """FastAPI reads `*args, **kwargs` from `Box[int]`; a task reads the class."""

    async def endpoint(box: Box[int] = Depends()) -> int:
        return box.size

    as_route, as_task = await answers(endpoint)
    assert as_route.value[0] == 422
    assert as_task.value == 3
