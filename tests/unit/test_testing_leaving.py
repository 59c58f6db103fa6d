"""What runs when a test is left, or when its sender is, has the time to end well."""

import asyncio
import threading
from contextlib import suppress
from itertools import pairwise
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

import fastask.testing.underway
from tests.unit.doubles import PATIENCE, remaining
from tests.unit.office import Office, swallowed
from tests.unit.shop import Shop


async def tidy(office: Office) -> None:
    """Await something in the end, as who closes a connection does."""
    office.started.set()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        office.events.append("tidy")


@pytest.mark.parametrize("how", ["sender", "leaving"])
@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_cancelled_task_cleans_up(
    office: Office, kind: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may await something then."""
    monkeypatch.setattr(fastask.testing.underway, "_PATIENCE", 0.1)

    async def function() -> None:
        await tidy(office)

    task: Any = office.ft.task("tidy")(function)
    if kind == "plain":
        task = office.broker.register_task(function, "plain")
    async with asyncio.timeout(PATIENCE), office.ft.testing(raise_errors=False):
        if how == "leaving":
            await office.begin(task)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(task.kiq(), 0.02)
    assert office.events == ["tidy", "lifespan down"]


async def test_task_that_minds_no_cancellation(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its time to clean up, and no more."""
    monkeypatch.setattr(fastask.testing.underway, "_PATIENCE", 0.02)

    @office.ft.task("twice")
    async def twice() -> None:
        with suppress(asyncio.CancelledError):
            await tidy(office)
        await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE), office.ft.testing(raise_errors=False) as tasks:
        await office.begin(twice)
    assert tasks.sent[0].state == "failed"
    assert office.events == ["tidy", "lifespan down"]


async def test_test_that_has_failed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for less time: the usual one is longer than the patience here."""
    monkeypatch.setattr(fastask.testing.underway, "_PATIENCE_FAILED", 0.01)
    with pytest.raises(LookupError) as caught:  # noqa: PT012
        async with asyncio.timeout(PATIENCE), office.ft.testing():
            await office.begin(office.stubborn)
            raise LookupError
    assert "task 'stubborn' still ran" in "".join(caught.value.__notes__)
    assert office.events == ["lifespan down"]


@pytest.mark.parametrize("how", ["with", "fixture"])
def test_plain_test_that_has_failed(
    office: Office, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a plain one, also in a fixture, which is not told of the error."""
    monkeypatch.setattr(fastask.testing.underway, "_PATIENCE_FAILED", 0.01)
    sending = threading.Thread(target=lambda: asyncio.run(swallowed(office.stubborn)))
    begin = monotonic()
    with suppress(LookupError), office.ft.testing(raise_errors=False) as tasks:
        sending.start()
        assert office.started.wait(PATIENCE)
        if how == "with":
            raise LookupError
        tasks.session.check(LookupError())  # as the plugin does
    assert monotonic() - begin < PATIENCE
    sending.join(PATIENCE)
    assert office.events == ["lifespan down"]


async def test_task_that_is_to_be_sent(office: Office) -> None:
    """What was just created, and has not begun, is waited for too."""
    office.go.set()
    async with asyncio.timeout(PATIENCE), office.ft.testing() as tasks:
        sending = asyncio.create_task(office.slow.kiq())
    assert [sent.state for sent in tasks.sent] == ["succeeded"] * 2
    assert office.events == ["child", "slow", "lifespan down"]
    await sending


async def test_what_the_shutdown_sends(office: Office) -> None:
    """A task that the shutdown begins, and does not wait for, is cancelled and told of."""

    async def lifespan(app: Any) -> Any:
        yield
        await office.begin(office.stubborn)

    office.app.router.lifespan_context = office.ft.lifespan(lifespan)
    with pytest.raises(ExceptionGroup, match="stubborn"):
        async with asyncio.timeout(PATIENCE), office.ft.testing():
            pass
    await asyncio.sleep(0)
    assert remaining() == set()


def test_wait_that_is_interrupted(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop and the lifespan of a plain test end nevertheless."""

    def interrupt(pause: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fastask.testing.underway, "time", SimpleNamespace(sleep=interrupt))
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt), office.ft.testing() as tasks:
        tasks.run(office.child)
    assert office.events == ["child", "lifespan down"]
    assert threading.active_count() == threads


async def test_listing_of_a_long_chain() -> None:
    """It may be longer than Python's stack, and a line is not as long as the chain."""
    shop = Shop()
    async with shop.ft.testing("never") as tasks:
        for _ in range(1200):
            await shop.price.kiq("pen")
        for sender, sent in pairwise(tasks.sent):
            sender.sent.append(sent)
            sent.sender = sender
        lines = str(tasks).splitlines()
    assert lines[:3] == ["price  waiting", "  price  waiting", "    price  waiting"]
    assert len(lines) == 1200
    assert len(lines[-1]) < 60
