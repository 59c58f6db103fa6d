"""The embedded broker: messages that are not due yet, results that expire."""

import asyncio
import logging
from typing import Any

import pytest
from taskiq import TaskiqResult

from fastask import NotSentError
from fastask.brokers import broker_from
from tests.unit.doubles import PATIENCE
from tests.unit.test_memory_broker import LOGGER, Bench


async def test_delayed() -> None:
    """A message with a delay runs when it is due, in the process."""
    bench = Bench()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE), bench.up():
        start = loop.time()
        later = await bench.note.kicker().with_labels(delay=0.2).kiq("later")
        soon = await bench.note.kicker().with_labels(delay="0.1").kiq("soon")
        await bench.note.kiq("now")
        await later.result(timeout=PATIENCE)
        assert loop.time() - start >= 0.2
        await soon.result(timeout=PATIENCE)
    assert bench.events == ["startup", "now", "soon", "later", "shutdown"]


async def test_draining_what_is_delayed(caplog: pytest.LogCaptureFixture) -> None:
    """At shutdown, what is due in time is waited for; the rest is dropped at once, and named."""
    bench = Bench(drain_timeout=PATIENCE)
    loop = asyncio.get_running_loop()
    start = loop.time()
    with caplog.at_level(logging.WARNING, LOGGER):
        async with asyncio.timeout(PATIENCE), bench.up():
            await bench.note.kicker().with_labels(delay=0.1).kiq("soon")
            far = await bench.note.kicker().with_labels(delay=3600).kiq("far")
    assert bench.events == ["startup", "soon", "shutdown"]
    assert loop.time() - start < PATIENCE - 1
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert messages == [f"dropped 1 queued tasks: note ({far.task_id})"]


async def test_delayed_without_a_lifespan() -> None:
    """In a script, `kiq` returns when the task has run."""
    bench = Bench()
    loop = asyncio.get_running_loop()
    start = loop.time()
    await bench.note.kicker().with_labels(delay=0.1).kiq("late")
    assert bench.events == ["late"]
    assert loop.time() - start >= 0.1


async def test_cancelled_without_a_lifespan() -> None:
    """A `kiq` that is cancelled before it is due has not sent anything: its key is free."""
    bench = Bench()
    waiting = bench.note.kicker(idempotency_key="key").with_labels(delay=3600)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting.kiq("never"), 0.01)
    for _ in range(2):
        await bench.note.kicker(idempotency_key="key").kiq("once")
    assert bench.events == ["once"]


async def test_retry_of_what_was_delayed() -> None:
    """The delay is that of the first run; a retry has its own."""
    bench = Bench()

    @bench.ft.task("flaky", retries=1)
    async def flaky() -> None:
        bench.events.append("run")
        if bench.events.count("run") == 1:
            bench.started.set()
            raise LookupError

    async with asyncio.timeout(PATIENCE), bench.up():
        await flaky.kicker().with_labels(delay=0.1).kiq()
        await bench.started.wait()
        while bench.events.count("run") < 2:
            assert not bench.broker._delayed
            await asyncio.sleep(0)


async def test_delay_that_is_none() -> None:
    """What can't be a delay is refused where it is sent, and may be sent again without."""
    bench = Bench()
    kicker = bench.note.kicker(idempotency_key="mine")
    async with bench.up():
        with pytest.raises(NotSentError, match="soon"):
            await kicker.with_labels(delay="soon").kiq("a")
        await kicker.with_labels(delay=0).kiq("a")
    assert bench.events == ["startup", "a", "shutdown"]


async def test_retry_that_waits_at_the_end() -> None:
    """A retry that waits when the process stops runs at once, rather than not at all."""
    bench = Bench()

    @bench.ft.task("flaky", retries=1, retry_delay=3600)
    async def flaky() -> None:
        bench.events.append("run")
        bench.started.set()
        raise LookupError

    async with asyncio.timeout(PATIENCE), bench.up():
        await flaky.kiq()
        await bench.started.wait()
    assert bench.events == ["startup", "run", "run", "shutdown"]


async def test_results_expire() -> None:
    """They are kept for as long as the URL says, each from when it was saved last."""
    backend: Any = broker_from("memory://?results_ttl=1").result_backend
    backend._ttl = 0.1
    for value in (1, 2):
        result: TaskiqResult[Any] = TaskiqResult(is_err=False, return_value=value, execution_time=0)
        await backend.set_result("first", result)
        await backend.set_result("second", result)
    assert await backend.is_result_ready("first")
    async with asyncio.timeout(PATIENCE):
        while await backend.is_result_ready("second"):
            await asyncio.sleep(0.01)
    assert not backend.results
    assert not backend._expires
    with pytest.raises(KeyError):
        await backend.get_result("first")


async def test_what_expires_is_limited() -> None:
    """Of results that were dropped for later ones nothing is left."""
    bench = Bench(max_results=2)
    for number in range(5):
        await bench.note.kiq(str(number))
    assert len(bench.broker.result_backend._expires) == 2
