"""Lifespans in which something dies when it is told to, and what is told of that."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from fastask.owner import _NOTICE, LifespanOwner


class Scene:
    """What such lifespans share: signals, notes, and what was told of."""

    def __init__(self) -> None:
        self.go = asyncio.Event()  # the doomed may die
        self.begin = asyncio.Event()  # whoever looks at the doomed may begin
        self.dead = asyncio.Event()
        self.told: list[BaseException] = []
        self.is_told = asyncio.Event()
        self.events: list[str] = []
        self.kept: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        self.kept.append(asyncio.create_task(work))
        return self.kept[-1]

    async def die(self) -> None:
        try:
            await self.go.wait()
            raise LookupError("dead")
        finally:
            self.dead.set()

    def tell(self, error: BaseException) -> None:
        self.told.append(error)
        self.is_told.set()

    async def watched(self, context: AbstractAsyncContextManager[Any]) -> LifespanOwner:
        owner = LifespanOwner(context)
        await owner.enter()
        owner.watch(self.tell)
        return owner


async def settle() -> None:
    """Wait until whatever there is to tell would have been told, where nothing is expected."""
    await asyncio.sleep(2 * _NOTICE)


@asynccontextmanager
async def with_group(scene: Scene) -> AsyncIterator[anyio.abc.TaskGroup]:
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(scene.die)
            yield group
    finally:
        scene.events.append("shutdown")


@asynccontextmanager
async def with_task(scene: Scene) -> AsyncIterator[asyncio.Task[Any]]:
    yield scene.start(scene.die())
    scene.events.append("shutdown")
