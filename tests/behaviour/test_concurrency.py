"""Two hundred runs at once: none sees anything of another."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.requests import HTTPConnection
from taskiq import Context, TaskiqDepends

from fastask import FastTask
from tests.behaviour.receiving import ReceivingBroker

RUNS = 200


async def pause() -> None:
    for _ in range(random.randint(0, 5)):
        await asyncio.sleep(0)


async def my_id(context: Context) -> str:
    await pause()
    return context.message.task_id


async def my_id_by_taskiq(context: Context = TaskiqDepends(use_cache=False)) -> str:
    await pause()
    return context.message.task_id


async def own_request(request: Request, connection: HTTPConnection) -> Request:
    await pause()
    assert request is connection
    return request


async def marked(request: Request, context: Context) -> AsyncIterator[str]:
    await pause()
    request.state.owner = context.message.task_id
    yield request.state.owner
    await pause()
    assert request.state.owner == context.message.task_id


@pytest.mark.parametrize("style", ["fastapi", "taskiq"])
async def test_runs_share_nothing(style: str) -> None:
    """Cached and uncached dependencies on `Context`, `Request` and generators.

    Taskiq 0.13 keeps the `Context` of all running messages in one dict, and an uncached
    dependency sees another task's.
    """
    depend: Any = Depends if style == "fastapi" else TaskiqDepends
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    requests: list[Request] = []

    @ft.task("shares:nothing")
    async def shares_nothing(
        expected: str,
        context: Context = TaskiqDepends(),
        first: Any = depend(my_id),
        fresh: Any = depend(my_id, use_cache=False),
        taskiqs: Any = depend(my_id_by_taskiq, use_cache=False),
        request: Any = depend(own_request),
        again: Any = depend(own_request, use_cache=False),
        owner: Any = depend(marked),
    ) -> None:
        await pause()
        ids = {expected, context.message.task_id, first, fresh, taskiqs, owner}
        assert ids == {expected}
        assert request is again
        assert request.state.owner == expected
        requests.append(request)

    for number in range(RUNS):
        task_id = f"run-{number}"
        await shares_nothing.kicker().with_task_id(task_id).kiq(task_id)
    results = await asyncio.wait_for(
        asyncio.gather(*(broker.deliver() for _ in range(RUNS))), timeout=60
    )
    assert [result.error for result in results] == [None] * RUNS
    assert len({id(request) for request in requests}) == RUNS
    assert broker.acknowledged == RUNS


async def test_lifespan_state_is_copied_for_each_run() -> None:
    """What one run puts into `request.state` is not there for the next one."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    seen: list[list[str]] = []

    @ft.task("leaves:state")
    async def leaves_state(request: Request) -> None:
        seen.append(sorted(request.scope["state"]))
        request.state.left_behind = True

    for _ in range(2):
        await broker.ran(leaves_state)
    assert seen == [[], []]
