"""Messages for tasks that are not there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from taskiq import AsyncBroker
from taskiq.kicker import AsyncKicker
from taskiq.receiver import Receiver

from fastask import FastTask, UnknownTaskError
from fastask.brokers.lifecycle import BrokerLifecycle
from tests.behaviour.receiving import QueueBroker
from tests.unit.doubles import PATIENCE

UNKNOWN = "shop:sendd"


def program(broker: AsyncBroker | None = None) -> FastTask:
    app = FastAPI()
    ft = FastTask(lambda: app, broker)
    app.router.lifespan_context = ft.lifespan()
    for name in ("shop:send", "mails:sent", "other"):

        @ft.task(name)
        async def known() -> None: ...

    return ft


async def error_of(broker: AsyncBroker, name: str = UNKNOWN) -> BaseException | None:
    sent = await AsyncKicker[[], None](name, broker, {}).kiq()
    result = await sent.wait_result(check_interval=0.001, timeout=PATIENCE)
    return result.error


@asynccontextmanager
async def worker(broker: AsyncBroker) -> AsyncIterator[None]:
    broker.is_worker_process = True
    finish = asyncio.Event()
    listening = asyncio.create_task(Receiver(broker, max_async_tasks=10).listen(finish))
    try:
        yield
    finally:
        finish.set()
        await listening
        await broker.shutdown()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastask.brokers.unknown._FIRST_PAUSE", 0.0001)
    monkeypatch.setattr("fastask.brokers.unknown._LONGEST_PAUSE", 0.0001)


async def test_worker_hands_back_and_then_fails(caplog: pytest.LogCaptureFixture) -> None:
    """After ten times the result is an error with similar names; every copy is acknowledged."""
    broker = QueueBroker()
    program(broker)
    async with asyncio.timeout(PATIENCE), worker(broker):
        error = await error_of(broker)
    assert isinstance(error, UnknownTaskError)
    assert error.args == (UNKNOWN, ["shop:send", "mails:sent"])
    assert (broker.kicked, broker.acknowledged) == (11, 11)
    assert caplog.text.count("is handed back for other workers") == 1


async def test_pauses_grow_and_are_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the reader that has waited longest when a pause is over would be the same each time."""
    monkeypatch.undo()  # the short ones of the other tests
    pauses: list[float] = []

    async def pause(_: BrokerLifecycle, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(BrokerLifecycle, "pause", pause)
    broker = QueueBroker()
    program(broker)
    async with asyncio.timeout(PATIENCE), worker(broker):
        await error_of(broker)
    assert len(set(pauses)) == 10
    due = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4, 4, 4, 4]
    assert all(0.75 <= seen / expected <= 1.25 for seen, expected in zip(pauses, due, strict=True))


async def test_worker_that_knows_it_gets_it() -> None:
    """What one worker hands back, the next one runs."""
    broker = QueueBroker()
    ft = program(broker)
    sent = await AsyncKicker[[], str](UNKNOWN, broker, {}).kiq()
    async with asyncio.timeout(PATIENCE), worker(broker):
        while broker.kicked < 3:
            await asyncio.sleep(0)

        @ft.task(UNKNOWN)
        async def late() -> str:
            return "ran"

        result = await sent.wait_result(check_interval=0.001)
    assert (result.error, result.return_value) == (None, "ran")


async def test_worker_that_stops_does_not_wait() -> None:
    """A message that is being held is handed back at once when the worker is told to stop."""
    broker = QueueBroker()
    program(broker)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastask.brokers.unknown._FIRST_PAUSE", 3600.0)
        patch.setattr("fastask.brokers.unknown._LONGEST_PAUSE", 3600.0)
        broker.is_worker_process = True
        await broker.startup()
        unknown = broker.find_task(UNKNOWN)
        assert unknown is not None
        lifecycle = BrokerLifecycle.of(broker)
        lifecycle.stopping = asyncio.Event()
        sent = await AsyncKicker[[], None](UNKNOWN, broker, {}).kiq()
        receiver = Receiver(broker, max_async_tasks=10, run_startup=False)
        async with asyncio.timeout(PATIENCE):
            delivery = await anext(broker.listen())
            running = asyncio.create_task(receiver.callback(delivery))
            await asyncio.sleep(0.01)
            assert not running.done()
            lifecycle.stopping.set()
            await running
        assert (broker.kicked, broker.acknowledged) == (2, 1)
        assert not await sent.is_ready()
        await broker.shutdown()
    assert broker.find_task(UNKNOWN) is None


async def test_timeout_of_the_task_is_about_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is handed back however long that takes, and with all its labels."""
    monkeypatch.setattr("fastask.brokers.unknown._FIRST_PAUSE", 0.02)
    broker = QueueBroker()
    program(broker)
    labels = {"timeout": 0.01, "raw": b"\xff"}
    async with asyncio.timeout(PATIENCE), worker(broker):
        sent = await AsyncKicker[[], None](UNKNOWN, broker, labels).kiq()
        result = await sent.wait_result(check_interval=0.001)
    assert isinstance(result.error, UnknownTaskError)
    assert broker.kicked == 11
    assert (result.labels["timeout"], result.labels["raw"]) == (0.01, b"\xff")


async def test_embedded_broker_has_nobody_to_hand_it_to() -> None:
    """In one process the task fails at once."""
    ft = program()
    async with ft.app.router.lifespan_context(ft.app):
        assert isinstance(await error_of(ft.broker), UnknownTaskError)
    assert isinstance(await error_of(ft.broker), UnknownTaskError)  # a script


async def test_test_tells_it_at_once() -> None:
    """In a test, too; afterwards the broker finds what it found before."""
    ft = program(QueueBroker())
    async with ft.testing():
        assert isinstance(await error_of(ft.broker), UnknownTaskError)
    assert ft.broker.find_task(UNKNOWN) is None


async def test_no_name_is_near() -> None:
    """An error without a hint says what to do all the same."""
    ft = program(QueueBroker())
    async with ft.testing():
        error = await error_of(ft.broker, "zzz")
    assert str(error) == (
        "no task is named 'zzz' here; import its module in the app, or start a worker that has it"
    )
