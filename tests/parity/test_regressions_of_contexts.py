"""Cancel scopes, task groups, limits and context variables around a route or a task."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from fastapi import Depends, FastAPI

from fastask import FastTask
from tests.parity.runs import answers, call_route, same_answer

Log = list[Any]


async def test_task_group_stays_open_for_the_endpoint() -> None:
    """A dependency's task group ends when what was started in it has ended."""
    log: Log = []

    async def group() -> AsyncIterator[TaskGroup]:
        async with anyio.create_task_group() as opened:
            yield opened
        log.append("closed")

    async def child() -> None:
        await asyncio.sleep(0)
        log.append("child")

    async def endpoint(opened: Any = Depends(group)) -> str:
        opened.start_soon(child)
        return "done"

    answer = await same_answer(endpoint, log)
    assert (answer.value, answer.log) == ("done", ["child", "closed"])


async def test_failing_child_of_a_task_group_cancels_the_endpoint() -> None:
    """The group's error is the outcome."""

    async def group() -> AsyncIterator[TaskGroup]:
        async with anyio.create_task_group() as opened:
            yield opened

    async def child() -> None:
        raise ValueError("child")

    async def endpoint(opened: Any = Depends(group)) -> None:
        opened.start_soon(child)
        await asyncio.Event().wait()

    answer = await same_answer(endpoint)
    assert answer.error == ("ExceptionGroup", "unhandled errors in a TaskGroup (1 sub-exception)")


async def test_timeout_of_a_dependency_ends_the_endpoint() -> None:
    """Outer generators see the timeout, not the cancellation that it was made with."""
    log: Log = []

    async def outer() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    async def limited(needed: Any = Depends(outer)) -> AsyncIterator[None]:
        with anyio.fail_after(0):
            yield

    async def endpoint(value: Any = Depends(limited)) -> None:
        await asyncio.Event().wait()

    answer = await same_answer(endpoint, log)
    assert (answer.error, answer.log) == (("TimeoutError", ""), ["TimeoutError"])


@pytest.mark.parametrize("scope", ["function", "request"])
async def test_cancellation_that_a_dependency_swallows(scope: Any) -> None:
    """`move_on_after` leaves no result either: the task fails with the cancellation."""

    async def limited() -> AsyncIterator[None]:
        with anyio.move_on_after(0):
            yield

    async def endpoint(value: Any = Depends(limited, scope=scope)) -> None:
        await asyncio.Event().wait()

    as_route, as_task = await answers(endpoint)
    assert as_route.error is not None
    assert as_route.error[0] in ("FastAPIError", "UnboundLocalError")
    assert as_task.error is not None
    assert as_task.error[0] == "CancelledError"


@pytest.mark.parametrize("is_generator", [True, False])
async def test_max_concurrency_is_shared_by_routes_and_tasks(is_generator: bool) -> None:
    """One declaration has one limit, for the app and for its tasks in the same process."""
    inside = 0
    most = 0
    release = asyncio.Event()
    entered = asyncio.Event()

    async def limited() -> AsyncIterator[None]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        entered.set()
        await release.wait()
        yield
        inside -= 1

    async def coroutine() -> None:
        async for _ in limited():
            pass

    used = limited if is_generator else coroutine

    async def endpoint(value: Any = Depends(used, max_concurrency=1)) -> None: ...

    app = FastAPI(openapi_url=None)
    app.post("/")(endpoint)
    task = FastTask(app).task("limited")(endpoint)
    running = [
        asyncio.create_task(call_route(app)),
        asyncio.create_task(task.run()),
        asyncio.create_task(task.run()),
    ]
    await asyncio.wait_for(entered.wait(), 5)
    for _ in range(20):
        await asyncio.sleep(0)
    release.set()
    await asyncio.wait_for(asyncio.gather(*running), 5)
    assert (most, inside) == (1, 0)


async def test_context_variables_are_seen_as_in_a_route() -> None:
    """What a coroutine sets is seen later in the run; what a thread sets is not."""
    log: Log = []
    variable: ContextVar[int] = ContextVar("variable", default=0)

    async def sets() -> None:
        variable.set(1)

    async def sets_and_resets() -> AsyncIterator[None]:
        token = variable.set(variable.get() + 10)
        yield
        variable.reset(token)
        log.append(variable.get())

    def sets_in_thread() -> None:
        variable.set(100)

    def endpoint(
        first: Any = Depends(sets),
        second: Any = Depends(sets_and_resets),
        third: Any = Depends(sets_in_thread),
    ) -> int:
        return variable.get()

    answer = await same_answer(endpoint, log)
    assert (answer.value, answer.log) == (11, [1])
