"""A lifespan that is held in a task of its own: what is told of when something in it dies."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from fastask.owner import LifespanOwner
from tests.behaviour.scenes import Scene, settle, with_group, with_task
from tests.behaviour.stages import Stage
from tests.unit.doubles import PATIENCE, remaining


async def test_child_of_a_task_group_dies() -> None:
    """A task group's child that kills the lifespan is told of once, and not raised again."""
    scene = Scene()
    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(with_group(scene))
        scene.go.set()
        await scene.is_told.wait()
        await owner.leave()
    (error,) = scene.told
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(LookupError) is not None
    assert scene.events == ["shutdown"]
    assert remaining() == set()


async def test_lifespan_returns_early() -> None:
    """A lifespan that ends by itself without an error is told of as well."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            yield
        scene.events.append("shutdown")

    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        await scene.is_told.wait()
        await owner.leave()
    (error,) = scene.told
    assert isinstance(error, RuntimeError)
    assert "ended by itself" in str(error)
    assert scene.events == ["shutdown"]
    assert remaining() == set()


async def test_task_of_the_startup_dies() -> None:
    """A plain asyncio task of the startup that dies is told of; the lifespan is left as usual."""
    scene = Scene()
    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(with_task(scene))
        scene.go.set()
        await scene.is_told.wait()
        await owner.leave()
    assert [str(error) for error in scene.told] == ["dead"]
    assert scene.events == ["shutdown"]
    assert remaining() == set()


async def test_task_dies_before_the_startup_is_complete() -> None:
    """A task that died while the startup was still under way is told of too."""
    scene = Scene()
    scene.go.set()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        task = scene.start(scene.die())
        await scene.dead.wait()
        assert task.done()
        yield

    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        await settle()
        await owner.leave()
    with suppress(LookupError):
        scene.kept[0].result()
    assert [str(error) for error in scene.told] == ["dead"]
    assert asyncio.get_running_loop().get_task_factory() is None


async def test_tasks_of_others_are_not_told_of() -> None:
    """What others begin while a lifespan starts is their business; their factory is kept."""
    scene, loop = Scene(), asyncio.get_running_loop()

    def factory(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(work, loop=loop, **options)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        scene.begin.set()
        await scene.dead.wait()
        yield

    async def other() -> None:
        await scene.begin.wait()
        scene.start(scene.die())
        scene.go.set()

    loop.set_task_factory(factory)
    try:
        async with asyncio.timeout(PATIENCE):
            others = asyncio.create_task(other())
            owner = await scene.watched(lifespan())
            await others
            await settle()
            await owner.leave()
        assert loop.get_task_factory() is factory
    finally:
        loop.set_task_factory(None)
    with suppress(LookupError):
        scene.kept[0].result()
    assert scene.told == []


async def test_startup_that_swallows_its_cancellation() -> None:
    """It is cancelled again whenever whoever enters it is, and is never left behind."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        scene.begin.set()
        with suppress(asyncio.CancelledError):
            await scene.go.wait()
        scene.events.append("goes on")
        await scene.go.wait()
        yield

    async with asyncio.timeout(PATIENCE):
        entering = asyncio.create_task(LifespanOwner(lifespan()).enter())
        await scene.begin.wait()
        while not entering.done():
            entering.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert entering.cancelled()
    assert scene.events == ["goes on"]
    assert remaining() == set()


@pytest.mark.parametrize("how", ["is cancelled", "returns"])
async def test_task_that_ends_in_peace(how: str) -> None:
    """A task of the startup that is cancelled, or returns, is not told of."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        scene.start(scene.go.wait())
        yield

    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        (task,) = scene.kept
        if how == "is cancelled":
            await asyncio.sleep(0)
            task.cancel()
        scene.go.set()
        await settle()
        assert task.done()
        await owner.leave()
    assert scene.told == []


async def test_task_dies_while_the_lifespan_is_left() -> None:
    """A task that dies while the lifespan is left is not told of; awaited, it is raised."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        task = scene.start(scene.die())
        yield
        scene.go.set()
        await task

    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        with pytest.raises(LookupError, match="dead"):
            await owner.leave()
        await settle()
    assert scene.told == []


async def test_group_dies_while_the_lifespan_is_left() -> None:
    """A task group's child that dies while the lifespan is left is raised, and not told of."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with with_group(scene):
            yield
            scene.go.set()

    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        with pytest.raises(ExceptionGroup) as caught:
            await owner.leave()
        await settle()
    assert caught.group_contains(LookupError, match="dead")
    assert scene.told == []
    assert remaining() == set()


async def test_left_at_the_moment_of_its_death() -> None:
    """A lifespan that dies just before it is left is told of or raised, and never lost."""
    scene = Scene()
    ended = asyncio.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            async with with_group(scene):
                yield
        finally:
            ended.set()

    raised: list[BaseException] = []
    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        scene.go.set()
        await ended.wait()
        try:
            await owner.leave()
        except ExceptionGroup as error:
            raised.append(error)
        await settle()
    assert len(scene.told + raised) == 1


async def test_lifespan_itself_is_cancelled() -> None:
    """A lifespan whose own task is cancelled is gone, which is told of as any other end."""
    scene = Scene()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        yield

    async with asyncio.timeout(PATIENCE):
        owner = await scene.watched(lifespan())
        await settle()
        with suppress(asyncio.CancelledError):
            await owner.leave()
    assert len(scene.told) == 1
    assert remaining() == set()


@pytest.mark.parametrize("step", ["startup", "shutdown"])
async def test_sys_exit(step: str) -> None:
    """sys.exit in a lifespan becomes an error, as it would stop the event loop at once."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if step == "startup":
            sys.exit(1)
        yield
        sys.exit(1)

    async def cycle() -> None:
        owner = LifespanOwner(lifespan())
        await owner.enter()
        await owner.leave()

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(RuntimeError, match=r"sys\.exit\(1\)") as caught:
            await cycle()
    assert isinstance(caught.value.__cause__, SystemExit)
    assert remaining() == set()


async def test_cancelled_startup_that_raises() -> None:
    """What a startup raises when it is cancelled is not left for the garbage collector to find."""
    scene = Scene()
    lost: list[dict[str, Any]] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            scene.begin.set()
            await scene.go.wait()
            yield
        except asyncio.CancelledError:
            raise LookupError("startup") from None

    async with asyncio.timeout(PATIENCE):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        entering = asyncio.create_task(LifespanOwner(lifespan()).enter())
        await scene.begin.wait()
        entering.cancel()
        with pytest.raises((asyncio.CancelledError, LookupError)):
            await entering
        del entering
        await settle()
        gc.collect()
    assert [context["message"] for context in lost] == []


async def test_worker_tells_of_a_lifespan_that_dies(caplog: pytest.LogCaptureFixture) -> None:
    """A worker logs the crash of its app's lifespan, and stops its broker when it is told to."""
    scene, stage = Scene(), Stage("worker")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with with_group(scene):
            yield

    stage.app = FastAPI(lifespan=stage.ft.lifespan(lifespan))
    async with asyncio.timeout(PATIENCE):
        await asyncio.create_task(stage.broker.startup())
        scene.go.set()
        await scene.dead.wait()
        await settle()
        await asyncio.create_task(stage.broker.shutdown())
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "the lifespan has crashed: LookupError: dead" in record.getMessage()
    assert stage.events == ["broker up", "broker down"]
    assert remaining() == set()
