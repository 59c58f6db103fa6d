"""Tasks of a startup that die, and whose error somebody looks at: nobody else is told of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.behaviour.scenes import Scene, settle
from tests.unit.doubles import PATIENCE, remaining


async def by_await(task: asyncio.Task[Any]) -> None:
    with suppress(LookupError):
        await task


async def by_gather(task: asyncio.Task[Any]) -> None:
    await asyncio.gather(task, return_exceptions=True)


async def by_shield(task: asyncio.Task[Any]) -> None:
    with suppress(LookupError):
        await asyncio.shield(task)


async def by_wait(task: asyncio.Task[Any]) -> None:
    done, _ = await asyncio.wait([task])
    for ended in done:
        ended.exception()


async def by_wait_for(task: asyncio.Task[Any]) -> None:
    with suppress(LookupError):
        await asyncio.wait_for(task, PATIENCE)


async def by_as_completed(task: asyncio.Task[Any]) -> None:
    for ended in asyncio.as_completed([task]):
        with suppress(LookupError):
            await ended


async def by_callback(task: asyncio.Task[Any]) -> None:
    seen = asyncio.Event()

    def look(ended: asyncio.Task[Any]) -> None:
        ended.exception()
        seen.set()

    task.add_done_callback(look)
    await seen.wait()


LOOKS: list[Callable[[asyncio.Task[Any]], Coroutine[Any, Any, None]]] = [
    by_await,
    by_gather,
    by_shield,
    by_wait,
    by_wait_for,
    by_as_completed,
    by_callback,
]


@pytest.mark.parametrize("when", ["in the startup", "later"])
@pytest.mark.parametrize("look", LOOKS)
async def test_somebody_looks_at_a_task(
    look: Callable[[asyncio.Task[Any]], Coroutine[Any, Any, None]], when: str
) -> None:
    """A task whose error somebody looks at is not told of, whenever that one has begun."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        doomed = scene.start(scene.die())

        async def supervise() -> None:
            await scene.begin.wait()
            await look(doomed)
            scene.events.append("seen")

        scene.start(supervise())
        yield

    if when == "in the startup":
        scene.begin.set()
    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        scene.begin.set()
        await settle()
        scene.go.set()
        await settle()
        await owner.leave()
    assert scene.events == ["seen"]
    assert scene.told == []
    assert remaining() == set()


async def test_task_group_of_asyncio() -> None:
    """A child of an asyncio.TaskGroup is its group's business."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async def supervise() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(scene.die())
            except* LookupError:
                scene.events.append("seen")

        scene.start(supervise())
        await asyncio.sleep(0)
        yield

    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        scene.go.set()
        await settle()
        await owner.leave()
    assert scene.events == ["seen"]
    assert scene.told == []
    assert remaining() == set()
