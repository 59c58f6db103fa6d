"""Brokers that are started and stopped by hand: older bridges, scripts, forked processes."""

import asyncio
import json
import os
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fastapi import FastAPI
from taskiq import TaskiqEvents
from taskiq.receiver import Receiver

from tests.behaviour.stages import KINDS, STEPS, Failure, Stage
from tests.unit.doubles import PATIENCE, program, remaining


def bridged(kind: str, form: str, *, is_wrapped: bool, fails: tuple[str, ...] = ()) -> Stage:
    """A stage whose lifespan starts and stops the broker itself, as an older bridge wants it."""
    stage = Stage(kind, fails)

    def is_asked() -> bool:
        return form == "unguarded" or not stage.broker.is_worker_process

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        if is_asked():
            await stage.broker.startup()
        await stage.step("startup")
        yield {"pool": "pool"}
        await stage.step("shutdown")
        if is_asked():
            await stage.broker.shutdown()

    stage.app = FastAPI(lifespan=stage.ft.lifespan(lifespan) if is_wrapped else lifespan)
    if not is_wrapped and kind in ("web", "embedded"):
        stage.state = {}  # nobody has told it
    return stage


@pytest.mark.parametrize("form", ["guarded", "unguarded"])
@pytest.mark.parametrize("is_wrapped", [True, False], ids=["wrapped", "plain"])
@pytest.mark.parametrize("kind", KINDS)
async def test_lifespan_of_an_older_bridge(kind: str, is_wrapped: bool, form: str) -> None:
    """A lifespan that starts and stops the broker itself: it starts once and stops once."""
    stage = bridged(kind, form, is_wrapped=is_wrapped)
    for _ in range(2):
        await stage.cycle()
        assert stage.events == list(STEPS)
        assert not stage.ft._program.lifecycle.is_up
        assert remaining() == set()
        stage.events.clear()


@pytest.mark.parametrize("form", ["guarded", "unguarded"])
@pytest.mark.parametrize("kind", KINDS)
async def test_failing_lifespan_of_an_older_bridge(kind: str, form: str) -> None:
    """Where its startup fails and it stops nothing, the broker is stopped nevertheless."""
    stage = bridged(kind, form, is_wrapped=True, fails=("startup",))
    with pytest.raises(Failure, match="startup"):
        await stage.cycle()
    assert stage.events == ["broker up", "startup", "broker down"]
    stage.events.clear()
    stage.fails = ()
    await stage.cycle()
    assert stage.events == list(STEPS)


async def test_script() -> None:
    """A script that starts the broker twice and stops it twice does each once, and may go on."""
    ft, broker = program()
    for _ in range(2):
        for call in (broker.startup, broker.startup, broker.shutdown, broker.shutdown):
            await call()
        assert broker.events == ["broker up", "broker down"]
        assert not ft._program.lifecycle.is_up
        broker.events.clear()


def test_script_with_several_loops() -> None:
    """A broker may be started in one event loop after another."""
    _, broker = program()

    async def script() -> None:
        await broker.startup()
        await broker.shutdown()

    asyncio.run(script())
    asyncio.run(script())
    assert broker.events == ["broker up", "broker down"] * 2


@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_shutdown_without_startup(kind: str) -> None:
    """What is not up is not stopped; it can be started afterwards."""
    stage = Stage(kind)
    await stage.broker.shutdown()
    assert stage.events == []
    await stage.cycle()
    assert stage.events == list(STEPS)
    await stage.broker.shutdown()
    assert stage.events == list(STEPS)


@pytest.mark.parametrize("fails", ["broker up", "broker down"])
async def test_script_that_fails(fails: str) -> None:
    """After a failure the broker is not up, and may be started again."""
    _, broker = program()
    broker.fails = fails

    async def script() -> None:
        await broker.startup()
        await broker.shutdown()

    with pytest.raises(ConnectionError, match=fails):
        await script()
    await broker.shutdown()
    assert broker.events == ["broker up", "broker down"][: 1 + (fails == "broker down")]
    broker.events.clear()
    broker.fails = ""
    await script()
    assert broker.events == ["broker up", "broker down"]


async def test_stopped_while_it_starts() -> None:
    """A broker that is stopped while it starts is not forgotten: it is stopped in the end."""
    ft, broker = program()
    starting, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(state: Any) -> None:
        starting.set()
        await go_on.wait()

    broker.add_event_handler(TaskiqEvents.CLIENT_STARTUP, slowly)
    async with asyncio.timeout(PATIENCE):
        startup = asyncio.create_task(broker.startup())
        await starting.wait()
        stop = asyncio.create_task(broker.shutdown())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait([startup, stop])
        await broker.shutdown()
    assert broker.events == ["broker up", "broker down"]
    assert not ft._program.lifecycle.is_up


async def test_web_in_a_script_that_has_started_the_broker() -> None:
    """Who started the broker stops it: a lifespan inside leaves it up."""
    stage = Stage("web")
    await stage.broker.startup()
    await stage.cycle()
    assert stage.events == list(STEPS[:-1])
    await stage.broker.shutdown()
    assert stage.events == list(STEPS)


async def test_stopped_by_hand_in_the_body() -> None:
    """While a lifespan holds the broker nobody else starts or stops it."""
    stage = Stage("web")
    async with stage.app.router.lifespan_context(stage.app):
        await stage.broker.startup()
        await stage.broker.shutdown()
        await stage.body()
    assert stage.events == list(STEPS)


async def test_shutdown_of_a_worker_that_times_out() -> None:
    """A worker that runs out of time while it waits for a task is stopped nevertheless."""
    stage = Stage("worker")
    stubborn, go_on = asyncio.Event(), asyncio.Event()

    @stage.ft.task("stubborn")
    async def task() -> None:
        stubborn.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await go_on.wait()

    async with asyncio.timeout(PATIENCE):
        await stage.broker.startup()
        await task.kiq()
        receiver = Receiver(stage.broker, max_async_tasks=1, run_startup=False)
        (sent,) = stage.broker.sent  # type: ignore[union-attr]
        running = asyncio.create_task(receiver.callback(sent.message))
        await stubborn.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stage.broker.shutdown(), 0.05)
        go_on.set()
        await asyncio.wait([running])
    left = remaining()
    for unended in left:
        unended.cancel()
    assert stage.events == ["broker up", "startup", "shutdown", "broker down"]
    assert left == set()


async def again(stage: Stage) -> dict[str, Any]:
    """What a forked process finds, and what a cycle does there."""
    stage.events.clear()
    found: dict[str, Any] = {"is up": stage.ft._program.lifecycle.is_up}
    await stage.broker.shutdown()
    found["stopped"] = list(stage.events)
    await stage.cycle()
    return {**found, "events": stage.events}


def in_a_fork(stage: Stage) -> dict[str, Any]:
    """Run `again` in a forked process, and give what it reports."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        report: dict[str, Any] = {}
        try:
            report = asyncio.run(again(stage))
        except BaseException as error:
            report = {"error": repr(error)}
        finally:
            os.write(writer, json.dumps(report).encode())
            os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], 2 * PATIENCE)
        assert ready, "the child says nothing"
        found: dict[str, Any] = json.loads(os.read(reader, 65536))
    finally:
        os.close(reader)
        os.waitpid(pid, 0)
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", ["script", "web", "worker"])
async def test_forked_process(kind: str) -> None:
    """A forked process knows that nothing is up there, stops nothing, and can start everything."""
    stage = Stage("worker" if kind == "worker" else "web")
    async with asyncio.timeout(3 * PATIENCE):
        if kind == "web":
            async with stage.app.router.lifespan_context(stage.app):
                found = in_a_fork(stage)
                assert stage.ft._program.lifecycle.is_up
        else:
            await stage.broker.startup()
            found = in_a_fork(stage)
            assert stage.ft._program.lifecycle.is_up
            await stage.broker.shutdown()
    assert found == {"is up": False, "stopped": [], "events": list(STEPS)}
    assert stage.events[-1] == "broker down"
