"""Starting and stopping: every step that is done is undone once, whatever goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from fastask import FastTask
from fastask.exceptions import UnresolvableTasksError
from tests.behaviour.stages import KINDS, STEPS, Failure, Stage, notes
from tests.unit.doubles import PATIENCE, remaining

HAPPY = list(STEPS)
EVENTS = {
    "broker up": ["broker up"],
    "startup": ["broker up", "startup", "broker down"],
    "body": HAPPY,
    "shutdown": HAPPY,
    "broker down": HAPPY,
}
HOWS = ("raises", "raises CancelledError", "is cancelled")
CELLS = [("", "works"), *product(STEPS, HOWS)]


def is_down(stage: Stage) -> bool:
    """Whether nothing is left of a cycle."""
    lifespan, program = stage.ft._lifespan, stage.ft._program
    return not (
        lifespan.is_running
        or lifespan.loop
        or program.state
        or program.lifecycle.is_up
        or remaining()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("step", "how"), CELLS)
async def test_matrix(step: str, how: str, kind: str) -> None:
    """Whatever step fails: what was done is undone, its error is raised, the next cycle works."""
    # Every cell exists. In a worker the body's error goes to Taskiq and not to the lifespan,
    # which is left without one in the call that follows; `ft.testing()` gives it none either.
    stage = Stage(kind, [step] if step else [], how)
    if step:
        expected = Failure if how == "raises" else asyncio.CancelledError
        with pytest.raises(expected) as caught:
            await stage.cycle()
        assert notes(caught.value) == []
        if how == "raises":
            assert caught.value.args == (step,)
    else:
        await stage.cycle()
    assert stage.events == EVENTS.get(step, HAPPY)
    assert is_down(stage)

    stage.events.clear()
    stage.fails = ()
    await stage.cycle()
    assert stage.events == HAPPY
    assert is_down(stage)


NOTES = {
    "shutdown": "Then the shutdown of the lifespan raised Failure: shutdown",
    "broker down": "Then the shutdown of the broker raised Failure: broker down",
}
SEVERAL = [
    ("body", "shutdown"),
    ("body", "broker down"),
    ("shutdown", "broker down"),
    ("startup", "broker down"),
    ("body", "shutdown", "broker down"),
]


@pytest.mark.parametrize("kind", ["web", "embedded", "testing"])
@pytest.mark.parametrize("steps", SEVERAL, ids=" and ".join)
async def test_several_errors(steps: tuple[str, ...], kind: str) -> None:
    """The first error is raised, and those that follow are noted on it, in their order."""
    first, *later = steps
    stage = Stage(kind, steps)
    with pytest.raises(Failure) as caught:
        await stage.cycle()
    assert caught.value.args == (first,)
    told = notes(caught.value)
    assert [note.rpartition(" raised ")[2] for note in told] == [f"Failure: {s}" for s in later]
    if kind != "testing":  # where the steps are called as it likes
        assert told == [NOTES[step] for step in later]
    assert stage.events == EVENTS[first]
    assert is_down(stage)


@pytest.mark.parametrize("steps", SEVERAL, ids=" and ".join)
async def test_several_errors_in_a_worker(steps: tuple[str, ...]) -> None:
    """Each of Taskiq's two calls raises its first error, and the others are noted on it."""
    stage = Stage("worker", steps)
    with pytest.raises(Failure, match=steps[0]):
        await stage.cycle()
    # The body's error is Taskiq's own: it is not noted on, as the shutdown never sees it.
    calls = [("body",), steps[1:]] if steps[0] == "body" else [steps]
    assert [error.args for error in stage.errors] == [(call[0],) for call in calls]
    for error, (_, *later) in zip(stage.errors, calls, strict=True):
        assert [note.rpartition(" raised ")[2] for note in notes(error)] == [
            f"Failure: {step}" for step in later
        ]
    assert stage.events == EVENTS[steps[0]]
    assert is_down(stage)


async def test_error_that_follows_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error that follows another one is logged with its traceback."""
    stage = Stage("web", ["body", "broker down"])
    with pytest.raises(Failure, match="body"):
        await stage.cycle()
    (record,) = caplog.records
    first, *lines = record.getMessage().splitlines()
    assert first == "the shutdown of the broker raised after another error:"
    assert lines[0].startswith("Traceback")
    assert lines[-1].endswith("Failure: broker down")


class Translated(Exception):
    """What a user's lifespan makes of an error."""


@asynccontextmanager
async def translating(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    try:
        yield {"pool": "pool"}
    except Failure as error:
        raise Translated(*error.args) from error


@pytest.mark.parametrize("later", [(), ("broker down",)], ids=["alone", "and broker down"])
@pytest.mark.parametrize("kind", ["web", "embedded"])
async def test_translated_error(kind: str, later: tuple[str, ...]) -> None:
    """A lifespan that raises from the error it is given translates it; later ones are noted."""
    # In a worker and under `ft.testing()` no error reaches the lifespan to be translated.
    stage = Stage(kind, ["body", *later])
    stage.app = FastAPI(lifespan=stage.ft.lifespan(translating))
    with pytest.raises(Translated, match="body") as caught:
        await stage.cycle()
    assert isinstance(caught.value.__cause__, Failure)
    assert notes(caught.value) == [NOTES[step] for step in later]
    assert stage.events == ["broker up", "body", "broker down"]
    assert is_down(stage)


@pytest.mark.parametrize("kind", ["web", "embedded"])
async def test_swallowed_error(kind: str) -> None:
    """A lifespan that swallows the body's error ends well, and the broker is stopped."""
    stage = Stage(kind, ["body"])

    @asynccontextmanager
    async def swallowing(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        try:
            yield {"pool": "pool"}
        except Failure:
            stage.events.append("swallowed")

    stage.app = FastAPI(lifespan=stage.ft.lifespan(swallowing))
    await stage.cycle()
    assert stage.events == ["broker up", "body", "swallowed", "broker down"]
    assert is_down(stage)


@pytest.mark.parametrize("fails", [False, True], ids=["shutdown works", "shutdown raises"])
async def test_unresolvable_task_in_a_worker(fails: bool) -> None:
    """Tasks that can't be resolved stop the worker; what was started is stopped again."""
    stage = Stage("worker", ["shutdown"] if fails else [])

    @stage.ft.task("unresolvable")
    async def unresolvable(value: int = stage.ft.depends(lambda missing: missing)) -> None: ...

    with pytest.raises(UnresolvableTasksError) as caught:
        await stage.cycle()
    told = [note.rpartition(" raised ")[2] for note in notes(caught.value)]
    assert told == ["Failure: shutdown"] * fails
    assert stage.events == ["broker up", "startup", "shutdown", "broker down"]
    assert is_down(stage)


@pytest.mark.parametrize("kind", KINDS)
async def test_state_that_is_no_mapping(kind: str) -> None:
    """A lifespan whose state can't be used is left again before its error is told."""
    stage = Stage(kind)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        try:
            yield 5
        finally:
            stage.events.append("shutdown")

    stage.app = FastAPI(lifespan=stage.ft.lifespan(lifespan))
    with pytest.raises(TypeError):
        await stage.cycle()
    assert stage.events == ["broker up", "shutdown", "broker down"]
    assert is_down(stage)


class Slow(Stage):
    """Waits in its shutdowns, where a cancelled scope would end it."""

    async def step(self, name: str) -> None:
        await super().step(name)
        if name in ("shutdown", "broker down"):
            await asyncio.sleep(0.01)
            self.events.append(f"{name}, waited")


@pytest.mark.parametrize("kind", ["web", "embedded"])
@pytest.mark.parametrize("how", ["in the body", "from outside"])
async def test_cancelled_scope(kind: str, how: str) -> None:
    """In a cancelled scope the user's shutdown can't wait, but the broker's shutdown can."""
    stage = Slow(kind, ["body"] if how == "from outside" else [], "waits")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            if how == "from outside":
                group.start_soon(cancelled_in, scope, stage)
            async with asyncio.timeout(PATIENCE), stage.app.router.lifespan_context(stage.app):
                await stage.body()
                scope.cancel()
                await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert stage.events == [*STEPS, "broker down, waited"]
    assert is_down(stage)
    stage.events.clear()
    stage.fails = ()
    await stage.cycle()
    assert [event for event in stage.events if event in STEPS] == HAPPY


async def cancelled_in(scope: anyio.CancelScope, stage: Stage) -> None:
    await stage.reached.wait()
    scope.cancel()


async def test_cancelled_scope_during_startup() -> None:
    """A startup in a cancelled scope is undone, and the broker's shutdown can wait."""
    stage = Slow("web", ["startup"], "waits")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(cancelled_in, scope, stage)
            async with asyncio.timeout(PATIENCE), stage.app.router.lifespan_context(stage.app):
                raise AssertionError
    assert stage.events == ["broker up", "startup", "broker down", "broker down, waited"]
    assert is_down(stage)


async def test_embedded_tasks_after_a_cancelled_scope() -> None:
    """The cycle after one that a scope has cancelled executes tasks in the background."""
    ft = FastTask(lambda: app)
    app = FastAPI(lifespan=ft.lifespan())

    @ft.task("answer")
    async def answer() -> int:
        return 42

    with anyio.CancelScope() as scope:
        async with app.router.lifespan_context(app):
            scope.cancel()
            await anyio.sleep_forever()
    async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app):
        assert await (await answer.kiq()).result(timeout=PATIENCE / 5) == 42
    assert remaining() == set()


class Endless:
    """An embedded program with a task that only a cancellation ends."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.started = asyncio.Event()
        self.scope = anyio.CancelScope()
        self.ft = FastTask(lambda: self.app)
        self.app = FastAPI(lifespan=self.ft.lifespan(self.lifespan))
        self.task = self.ft.task("endless")(self.endless)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.events.append("shutdown")

    async def endless(self) -> None:
        try:
            self.started.set()
            await asyncio.Event().wait()
        finally:
            self.events.append("task ended")

    async def serve(self) -> None:
        with self.scope:
            async with self.app.router.lifespan_context(self.app):
                await self.task.kiq()
                await self.started.wait()


@pytest.mark.parametrize("by", ["scope", "task"])
async def test_embedded_tasks_end_with_a_cancelled_cycle(by: str) -> None:
    """When the draining is cancelled, a task that still runs is, before the user's shutdown."""
    endless = Endless()
    async with asyncio.timeout(PATIENCE):
        cycle = asyncio.create_task(endless.serve())
        await endless.started.wait()
        await asyncio.sleep(0.01)  # the draining has begun
        if by == "scope":
            endless.scope.cancel()
        else:
            cycle.cancel()
        await asyncio.wait([cycle])
    left = remaining()
    for task in left:
        task.cancel()
    assert endless.events == ["task ended", "shutdown"]
    assert left == set()
