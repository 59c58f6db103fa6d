"""The shapes of FastAPI's tutorial on dependencies, each as a route and as a task."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Self

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Query

from fastask import INJECTED, FastTask, TaskRouter
from tests.parity.runs import answers, call_route, same_answer

Log = list[Any]


async def paging(q: str | None = None, skip: int = 0, limit: int = 100) -> dict[str, Any]:
    return {"q": q, "skip": skip, "limit": limit}


class Paging:
    def __init__(self, q: str | None = None, skip: int = 0, limit: int = 100) -> None:
        self.q = q
        self.skip = skip
        self.limit = limit


class Contains:
    """A dependency with a parameter of its own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, q: str = "a query") -> bool:
        return self.text in q


def wanted(q: str | None = None) -> str | None:
    return q


def wanted_or_last(
    q: Annotated[str | None, Depends(wanted)],
    last_wanted: Annotated[str | None, Cookie()] = None,
) -> str | None:
    return q or last_wanted


async def test_common_parameters() -> None:
    """A dependency with defaults only gives them, since no query stands behind a task."""

    async def endpoint(common: Annotated[dict[str, Any], Depends(paging)]) -> Any:
        return common

    assert (await same_answer(endpoint)).value == {"q": None, "skip": 0, "limit": 100}


async def test_common_parameters_shared_by_an_alias() -> None:
    """One alias serves routes and tasks of both kinds; `INJECTED` makes it optional to callers."""
    shared = Annotated[dict[str, Any], Depends(paging)]

    async def awaited(common: shared) -> Any:
        return common["limit"]

    def blocking(common: shared = INJECTED) -> Any:
        return common["limit"]

    assert (await same_answer(awaited)).value == 100
    assert (await same_answer(blocking)).value == 100


async def first_spelling(common: Annotated[Any, Depends(Paging)]) -> Any:
    return [common.q, common.skip, common.limit]


async def second_spelling(common: Annotated[Paging, Depends(Paging)]) -> Any:
    return [common.q, common.skip, common.limit]


async def third_spelling(common: Annotated[Paging, Depends()]) -> Any:
    return [common.q, common.skip, common.limit]


async def as_default(common: Paging = Depends()) -> Any:
    return [common.q, common.skip, common.limit]


@pytest.mark.parametrize("endpoint", [first_spelling, second_spelling, third_spelling, as_default])
async def test_class_as_dependency(endpoint: Callable[..., Any]) -> None:
    """Three spellings of a class, and the one without `Annotated`."""
    assert (await same_answer(endpoint)).value == [None, 0, 100]


async def test_sub_dependency() -> None:
    """A query, or else a cookie: a task has neither."""

    async def endpoint(q: Annotated[str | None, Depends(wanted_or_last)]) -> Any:
        return {"q": q}

    assert (await same_answer(endpoint)).value == {"q": None}
    overridden = await same_answer(endpoint, overrides={wanted: lambda: "mine"})
    assert overridden.value == {"q": "mine"}


@pytest.mark.parametrize("use_cache", [True, False])
async def test_same_dependency_several_times(use_cache: bool) -> None:
    """One call serves all, unless the marker says otherwise."""
    log: Log = []

    def fresh() -> int:
        log.append("called")
        return len(log)

    async def endpoint(
        one: Annotated[int, Depends(fresh)],
        other: Annotated[int, Depends(fresh, use_cache=use_cache)],
    ) -> Any:
        return [one, other]

    assert (await same_answer(endpoint, log)).value == [1, 1 if use_cache else 2]


async def test_dependencies_of_a_decorator() -> None:
    """They are called for their effect, before the others and in their order."""
    log: Log = []

    async def token(x_token: Annotated[str, Header()] = "token") -> str:
        log.append(x_token)
        return x_token

    async def key(x_key: Annotated[str, Header()] = "key") -> None:
        log.append(x_key)

    async def endpoint(value: Annotated[str, Depends(token)]) -> str:
        log.append("endpoint")
        return value

    answer = await same_answer(endpoint, log, dependencies=[Depends(key), Depends(token)])
    assert (answer.value, answer.log) == ("token", ["key", "token", "endpoint"])


async def test_dependency_of_a_decorator_that_refuses() -> None:
    """Neither endpoint nor task runs."""

    async def token(x_token: Annotated[str, Header()] = "") -> None:
        if x_token != "secret":
            raise HTTPException(400, "the token is wrong")

    async def endpoint() -> None:
        raise AssertionError

    answer = await same_answer(endpoint, dependencies=[Depends(token)])
    assert answer.error == ("HTTPException", "400: the token is wrong")


async def test_global_dependencies() -> None:
    """Those of the app come first, then those of the router, then those of the route."""
    log: Log = []

    def noting(name: str) -> Any:
        def dependency() -> None:
            log.append(name)

        return Depends(dependency)

    async def endpoint() -> None:
        log.append("endpoint")

    app = FastAPI(openapi_url=None, dependencies=[noting("all")])
    routes = APIRouter(dependencies=[noting("router")])
    routes.post("/", dependencies=[noting("own")])(endpoint)
    app.include_router(routes)

    ft = FastTask(app, dependencies=[noting("all")])
    tasks = TaskRouter(dependencies=[noting("router")])
    task = tasks.task("own", dependencies=[noting("own")])(endpoint)
    ft.include_router(tasks)

    await call_route(app)
    expected, log[:] = list(log), []
    await task.run()
    assert log == expected == ["all", "router", "own", "endpoint"]


class Session:
    """Stands for a database session."""

    def __init__(self, log: Log) -> None:
        self.log = log
        log.append("open")

    def close(self) -> None:
        self.log.append("close")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_session_closed_in_finally(fails: bool) -> None:
    """`try: yield ... finally: close()` closes in every case, once."""
    log: Log = []

    async def session() -> AsyncIterator[Session]:
        opened = Session(log)
        try:
            yield opened
        finally:
            opened.close()

    async def endpoint(opened: Annotated[Any, Depends(session)]) -> None:
        opened.log.append("endpoint")
        if fails:
            raise RuntimeError("endpoint")

    answer = await same_answer(endpoint, log)
    assert answer.log == ["open", "endpoint", "close"]
    assert answer.error == (("RuntimeError", "endpoint") if fails else None)


async def test_sub_dependencies_with_yield() -> None:
    """Each one is closed while what it depends on is still open."""
    log: Log = []

    async def first() -> AsyncIterator[str]:
        yield "a"
        log.append("close a")

    def second(a: Annotated[str, Depends(first)]) -> Iterator[str]:
        yield a + "b"
        log.append(f"close b with {a}")

    async def third(
        ab: Annotated[str, Depends(second)], a: Annotated[str, Depends(first)]
    ) -> AsyncIterator[str]:
        yield ab + a
        log.append(f"close c with {ab} and {a}")

    async def endpoint(value: Annotated[str, Depends(third)]) -> str:
        return value

    answer = await same_answer(endpoint, log)
    assert answer.value == "aba"
    assert answer.log == ["close c with ab and a", "close b with a", "close a"]


class OwnerError(Exception):
    pass


def owner() -> Iterator[str]:
    try:
        yield "Rick"
    except OwnerError as error:
        raise HTTPException(400, f"owner error: {error}") from error


async def test_dependency_that_turns_an_error_into_an_http_exception() -> None:
    """The task fails with the exception that a client would have got."""

    async def endpoint(name: Annotated[str, Depends(owner)]) -> None:
        raise OwnerError(name)

    assert (await same_answer(endpoint)).error == ("HTTPException", "400: owner error: Rick")


async def test_http_exception_passes_a_dependency_that_expects_other_errors() -> None:
    """What it does not catch goes on unchanged."""

    async def endpoint(name: Annotated[str, Depends(owner)]) -> None:
        raise HTTPException(404, "not found")

    assert (await same_answer(endpoint)).error == ("HTTPException", "404: not found")


class InternalError(Exception):
    pass


async def test_dependency_that_catches_and_raises_again() -> None:
    """The error is seen, and stays what it was."""
    log: Log = []

    def name() -> Iterator[str]:
        try:
            yield "Rick"
        except InternalError:
            log.append("seen")
            raise

    async def endpoint(value: Annotated[str, Depends(name)]) -> None:
        raise InternalError("no")

    answer = await same_answer(endpoint, log)
    assert (answer.error, answer.log) == (("InternalError", "no"), ["seen"])


async def test_dependency_that_catches_and_does_not_raise_again() -> None:
    """The mistake that the tutorial warns of: a task at least fails with the real error."""

    def name() -> Iterator[str]:
        try:
            yield "Rick"
        except InternalError:
            return

    async def endpoint(value: Annotated[str, Depends(name)]) -> None:
        raise InternalError("no")

    as_route, as_task = await answers(endpoint)
    assert as_route.error is not None
    assert as_route.error[0] == "FastAPIError"
    assert as_task.error == ("InternalError", "no")


async def test_early_exit() -> None:
    """With scope "function" the session is closed when the function returns."""
    log: Log = []

    async def session() -> AsyncIterator[Session]:
        async with Session(log) as opened:
            yield opened

    async def late(
        opened: Annotated[Any, Depends(session, scope="request")],
    ) -> AsyncIterator[None]:
        yield
        log.append("late")

    async def endpoint(
        value: Annotated[Any, Depends(late)],
        opened: Annotated[Any, Depends(session, scope="function")],
    ) -> None:
        opened.log.append("endpoint")

    answer = await same_answer(endpoint, log)
    assert answer.log == ["open", "open", "endpoint", "close", "late", "close"]


async def test_context_manager_inside_a_dependency() -> None:
    """`async with ...: yield` closes what the `with` opened."""
    log: Log = []

    async def session() -> AsyncIterator[Session]:
        async with Session(log) as opened:
            yield opened

    async def endpoint(opened: Annotated[Any, Depends(session)]) -> None:
        opened.log.append("endpoint")

    assert (await same_answer(endpoint, log)).log == ["open", "endpoint", "close"]


async def test_parametrized_dependency() -> None:
    """Two instances of one class are two dependencies."""

    async def endpoint(
        a: Annotated[bool, Depends(Contains("query"))],
        b: Annotated[bool, Depends(Contains("bar"))],
    ) -> Any:
        return [a, b]

    assert (await same_answer(endpoint)).value == [True, False]


async def test_parameters_that_only_http_can_give() -> None:
    """A route answers with 422; a task says at its start which parameter it is."""

    async def needs(q: Annotated[str, Query(min_length=3)]) -> str:
        return q

    async def endpoint(q: Annotated[str, Depends(needs)]) -> str:
        return q

    as_route, as_task = await answers(endpoint)
    assert as_route.value[0] == 422
    assert as_task.error is not None
    assert as_task.error[0] == "UnresolvableTasksError"
    assert "tried -> q -> needs -> q" in as_task.error[1]
    assert (await same_answer(endpoint, overrides={needs: lambda: "given"})).value == "given"
