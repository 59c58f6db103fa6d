"""Counterexamples that random trees found, and rules that are easy to get wrong, one by one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Security
from fastapi.security import SecurityScopes

from fastask import FastTask
from tests.parity.runs import answers, same_answer

Log = list[Any]


def noting(log: Log, name: str, handling: str = "", raises: str = "") -> Callable[..., Any]:
    """A generator that notes what it does; it may swallow errors, or raise in its teardown."""

    async def generator() -> AsyncIterator[str]:
        log.append(f"+{name}")
        try:
            yield name
        except BaseException as error:
            log.append(f"{name} saw {error}")
            if handling != "swallows":
                raise
        else:
            log.append(f"-{name}")
        if raises:
            raise ValueError(raises)

    return generator


async def test_uncached_below_a_cached_one_is_called_for_every_use() -> None:
    """FastAPI resolves what a dependency needs before it looks for its cached value."""
    log: Log = []

    def counted() -> int:
        log.append("counted")
        return len(log)

    def cached(value: int = Depends(counted, use_cache=False)) -> int:
        return value

    async def endpoint(first: int = Depends(cached), second: int = Depends(cached)) -> Any:
        return [first, second]

    answer = await same_answer(endpoint, log)
    assert answer.value == [1, 1]
    assert answer.log == ["counted", "counted"]


async def test_uncached_value_serves_later_uses_if_it_is_the_first() -> None:
    """`use_cache=False` does not read the cache, but fills it when it is empty."""
    log: Log = []

    def counted() -> int:
        log.append("counted")
        return len(log)

    async def endpoint(
        first: int = Depends(counted, use_cache=False),
        second: int = Depends(counted, use_cache=False),
        third: int = Depends(counted),
    ) -> Any:
        return [first, second, third]

    assert (await same_answer(endpoint, log)).value == [1, 2, 1]


async def test_scope_of_a_generator_is_part_of_its_cache_key() -> None:
    """No scope and "request" share one value of a generator, "function" has its own."""
    log: Log = []
    opened = noting(log, "opened")

    async def endpoint(
        first: str = Depends(opened),
        early: str = Depends(opened, scope="function"),
        late: str = Depends(opened, scope="request"),
    ) -> None:
        log.append("endpoint")

    answer = await same_answer(endpoint, log)
    assert answer.log == ["+opened", "+opened", "endpoint", "-opened", "-opened"]


async def test_scope_of_a_function_is_part_of_its_cache_key() -> None:
    """Even where nothing is closed, two scopes make two values."""
    log: Log = []

    def counted() -> int:
        log.append("counted")
        return len(log)

    async def endpoint(
        first: int = Depends(counted),
        early: int = Depends(counted, scope="function"),
        late: int = Depends(counted, scope="request"),
    ) -> Any:
        return [first, early, late]

    assert (await same_answer(endpoint, log)).value == [1, 2, 3]


async def test_security_scopes_are_part_of_the_cache_key_below_too() -> None:
    """A dependency is called for each set of scopes if anything below it reads them."""
    log: Log = []

    def lowest(scopes: SecurityScopes) -> list[str]:
        return scopes.scopes

    def between(scopes: list[str] = Depends(lowest)) -> list[str]:
        log.append(scopes)
        return scopes

    def user(scopes: list[str] = Depends(between)) -> list[str]:
        return scopes

    async def endpoint(
        one: Any = Security(user, scopes=["a"]),
        other: Any = Security(user, scopes=["b", "a"]),
        same: Any = Security(user, scopes=["a", "b"]),
        none: Any = Depends(user),
    ) -> Any:
        return [one, other, same, none]

    answer = await same_answer(endpoint, log)
    assert answer.value == [["a"], ["b", "a"], ["b", "a"], []]
    assert answer.log == [["a"], ["b", "a"], []]


async def test_scope_is_named_once() -> None:
    """FastAPI repeats a scope that two dependencies above ask for; a task does not."""

    def lowest(scopes: SecurityScopes) -> str:
        return scopes.scope_str

    def below(scopes: str = Depends(lowest)) -> str:
        return scopes

    def between(scopes: str = Security(below, scopes=["a"])) -> str:
        return scopes

    async def endpoint(scopes: str = Security(between, scopes=["a"])) -> str:
        return scopes

    as_route, as_task = await answers(endpoint)
    assert (as_route.value, as_task.value) == ("a a", "a")


async def test_equal_callables_share_one_value_and_one_override() -> None:
    """Instances that are equal are one dependency, as bound methods of one object are."""
    log: Log = []

    @dataclass(frozen=True)
    class Limit:
        limit: int

        def __call__(self) -> int:
            log.append(self.limit)
            return self.limit

        def doubled(self) -> int:
            log.append("doubled")
            return 2 * self.limit

    five = Limit(5)

    async def endpoint(
        one: int = Depends(Limit(1)),
        also_one: int = Depends(Limit(1)),
        ten: int = Depends(five.doubled),
        also_ten: int = Depends(five.doubled),
    ) -> Any:
        return [one, also_one, ten, also_ten]

    answer = await same_answer(endpoint, log)
    assert (answer.value, answer.log) == ([1, 1, 10, 10], [1, "doubled"])
    overridden = await same_answer(
        endpoint, log, overrides={Limit(1): lambda: 7, five.doubled: lambda: 8}
    )
    assert (overridden.value, overridden.log) == ([7, 7, 8, 8], [])


async def test_override_reaches_below_an_uncached_dependency() -> None:
    """What `use_cache=False` asks for is overridden as well, and all that it needs."""

    def lowest() -> str:
        return "real"

    def between(value: str = Depends(lowest, use_cache=False)) -> str:
        return value

    async def endpoint(value: str = Depends(between, use_cache=False)) -> str:
        return value

    assert (await same_answer(endpoint, overrides={lowest: lambda: "fake"})).value == "fake"


async def test_override_takes_scope_and_cache_key_of_what_it_replaces() -> None:
    """A generator in the place of a function is closed when the function's marker says."""
    log: Log = []

    def early() -> str:
        raise AssertionError

    def late() -> str:
        raise AssertionError

    opened = noting(log, "opened")

    async def endpoint(
        background: BackgroundTasks,
        one: str = Depends(early, scope="function"),
        two: str = Depends(late),
        three: str = Depends(late),
    ) -> None:
        background.add_task(log.append, "background")

    answer = await same_answer(endpoint, log, overrides={early: opened, late: opened})
    assert answer.log == ["+opened", "+opened", "-opened", "background", "-opened"]


async def test_override_that_breaks_the_scopes_is_refused() -> None:
    """What no declaration may ask for, no override may bring in either."""

    def early() -> Iterator[None]:
        yield

    def harmless() -> None: ...

    def harmful(needed: Any = Depends(early, scope="function")) -> Iterator[None]:
        yield

    async def endpoint(value: Any = Depends(harmless, scope="request")) -> None: ...

    as_route, as_task = await answers(endpoint, overrides={harmless: harmful})
    assert as_route.error is not None
    assert as_route.error[0] == "DependencyScopeError"
    assert as_task.error is not None
    assert as_task.error[0] == "UnresolvableTasksError"
    assert "harmful (override)" in as_task.error[1]


async def test_scope_between_may_be_skipped() -> None:
    """A function between two generators hides that the outer one is closed later."""
    log: Log = []
    opened = noting(log, "inner")

    def between(value: str = Depends(opened, scope="function")) -> str:
        return value

    def outer(value: str = Depends(between)) -> Iterator[str]:
        yield value
        log.append("-outer")

    async def endpoint(value: str = Depends(outer)) -> None: ...

    assert (await same_answer(endpoint, log)).log == ["+inner", "-inner", "-outer"]


@pytest.mark.parametrize("scope", ["function", "request"])
async def test_swallowed_error_still_fails_the_task(scope: Any) -> None:
    """FastAPI raises an error of its own; a task fails with the one that was swallowed."""
    log: Log = []
    outer, swallows = noting(log, "outer"), noting(log, "inner", "swallows")

    async def endpoint(
        first: Any = Depends(outer), second: Any = Depends(swallows, scope=scope)
    ) -> None:
        raise ValueError("endpoint")

    as_route, as_task = await answers(endpoint, log)
    assert as_route.error is not None
    assert as_route.error[0] in ("FastAPIError", "UnboundLocalError")
    assert as_task.error == ("ValueError", "endpoint")
    last = "outer saw endpoint" if scope == "function" else "-outer"
    assert as_task.log == ["+outer", "+inner", "inner saw endpoint", last]


async def test_swallowed_error_of_a_teardown_fails_the_task() -> None:
    """A commit that fails is not reported as done, although a route would answer with 200."""
    log: Log = []
    outer, commit = noting(log, "outer", "swallows"), noting(log, "commit", raises="commit")

    async def endpoint(first: Any = Depends(outer), second: Any = Depends(commit)) -> str:
        return "done"

    as_route, as_task = await answers(endpoint, log)
    assert (as_route.value, as_task.error) == ("done", ("ValueError", "commit"))
    assert as_task.log == as_route.log == ["+outer", "+commit", "-commit", "outer saw commit"]


async def test_http_exception_after_the_response_is_the_task_s_error() -> None:
    """FastAPI can't answer any more and wraps it; the task just fails with it."""

    def late() -> Iterator[None]:
        yield
        raise HTTPException(409, "late")

    async def endpoint(value: Any = Depends(late)) -> None: ...

    as_route, as_task = await answers(endpoint)
    assert as_route.error is not None
    assert as_route.error[0] == "RuntimeError"
    assert as_task.error == ("HTTPException", "409: late")


async def test_error_is_the_very_object_that_was_raised() -> None:
    """`run()` raises what the dependency raised, not a copy of it."""
    mine = KeyError("mine")

    async def fails() -> None:
        raise mine

    async def endpoint(value: Any = Depends(fails)) -> None: ...

    with pytest.raises(KeyError) as caught:
        await FastTask(FastAPI()).task("fails")(endpoint).run()
    assert caught.value is mine


@pytest.mark.parametrize("yields", [0, 2])
@pytest.mark.parametrize("scope", ["function", "request"])
@pytest.mark.parametrize("is_async", [True, False])
async def test_generator_that_does_not_yield_once(is_async: bool, scope: Any, yields: int) -> None:
    """`contextlib` complains of it, in a task as in a route."""

    async def asynchronous() -> AsyncIterator[int]:
        for number in range(yields):
            yield number

    def blocking() -> Iterator[int]:
        yield from range(yields)

    async def endpoint(
        value: int = Depends(asynchronous if is_async else blocking, scope=scope),
    ) -> int:
        return value

    what = "yield" if yields == 0 else "stop"
    assert (await same_answer(endpoint)).error == ("RuntimeError", f"generator didn't {what}")


@pytest.mark.parametrize(
    "error", [StopIteration, StopAsyncIteration, SystemExit, asyncio.CancelledError]
)
@pytest.mark.parametrize("where", ["coroutine", "thread", "endpoint"])
async def test_errors_that_python_treats_in_a_special_way(
    where: str, error: type[BaseException]
) -> None:
    """Generators see them and the caller gets them as in a route."""
    log: Log = []

    def in_thread() -> None:
        if where == "thread":
            raise error("x")

    async def coroutine(needed: Any = Depends(in_thread)) -> None:
        if where == "coroutine":
            raise error("x")

    def blocking() -> Iterator[None]:
        try:
            yield
        except BaseException as caught:
            log.append(repr(caught))
            raise

    async def endpoint(
        outer: Any = Depends(noting(log, "outer")),
        inner: Any = Depends(blocking, scope="function"),
        failing: Any = Depends(coroutine),
    ) -> None:
        raise error("x")

    answer = await same_answer(endpoint, log)
    assert answer.error is not None
    assert len(answer.log) == 3
