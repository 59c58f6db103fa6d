"""Messages that are no good: nothing runs, the sender gets an error, the worker goes on."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from taskiq import (
    AsyncBroker,
    BrokerMessage,
    SimpleRetryMiddleware,
    TaskiqResult,
)
from taskiq.acks import AcknowledgeType
from taskiq.formatters.json_formatter import JSONFormatter
from taskiq.kicker import AsyncKicker
from taskiq.receiver import Receiver
from taskiq.serializers import PickleSerializer

from fastask import FastTask, InvalidArgumentsError, InvalidMessageError, UnknownTaskError
from tests.behaviour.bad_messages import (
    ADD,
    COUNT,
    ID,
    KINDS,
    PRICES,
    RETRIED,
    SECRET,
    Bad,
    message,
)
from tests.behaviour.receiving import QueueBroker
from tests.unit.doubles import PATIENCE


class Shop:
    """A program whose tasks note that they ran."""

    def __init__(self, broker: AsyncBroker | None = None) -> None:
        self.queue = QueueBroker()
        self.broker = broker or self.queue
        self.ran: list[Any] = []
        app = FastAPI()
        self.ft = FastTask(lambda: app, self.broker)
        app.router.lifespan_context = self.ft.lifespan()
        self._declare()

    def _declare(self) -> None:
        def get_pool() -> str:
            return "pool"

        @self.ft.task(ADD)
        async def add(n: int, pool: str = Depends(get_pool)) -> int:
            self.ran.append(n)
            return n

        @self.ft.task(COUNT)
        async def count(numbers: list[int]) -> None:
            self.ran.append(numbers)

        @self.ft.task(PRICES)
        async def prices(of: dict[str, int]) -> None:
            self.ran.append(of)

        @self.ft.task(RETRIED, retries=3)
        async def retried(n: int) -> None:
            self.ran.append(n)
            raise OSError

        self.add = add

    async def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        await self.broker.kick(BrokerMessage(task_id="", task_name="", message=raw, labels={}))

    async def result(self, task_id: str = ID) -> TaskiqResult[Any] | None:
        """Give a result, if there is one."""
        results = self.broker.result_backend
        found = await results.is_result_ready(task_id)
        return await results.get_result(task_id) if found else None

    @asynccontextmanager
    async def serving(self, **options: Any) -> AsyncIterator[None]:
        """Run a worker, one message after the other."""
        self.broker.is_worker_process = True
        finish = asyncio.Event()
        receiver = Receiver(self.broker, max_async_tasks=1, **options)
        async with asyncio.timeout(PATIENCE * 4):
            listening = asyncio.create_task(receiver.listen(finish))
            try:
                yield
            finally:
                finish.set()
                await listening
                await self.broker.shutdown()

    async def error_after(self, raw: bytes, **options: Any) -> BaseException | None:
        """Have a worker process a message and a good one, and give the error of the first."""
        async with self.serving(**options):
            await self.send(raw)
            sent = await self.add.kiq(5)
            assert await sent.result() == 5
        found = await self.result()
        return None if found is None else found.error


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastask.brokers.unknown._FIRST_PAUSE", 0.0001)
    monkeypatch.setattr("fastask.brokers.unknown._LONGEST_PAUSE", 0.0001)


@pytest.mark.parametrize("bad", KINDS.values(), ids=KINDS.keys())
async def test_sender_gets_an_error_and_the_worker_goes_on(
    bad: Bad, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not run, is acknowledged once, and the log is short and without its values."""
    shop = Shop()
    caplog.set_level(logging.DEBUG)
    error = await shop.error_after(bad.raw())
    gc.collect()  # an error that nobody has taken would be logged now
    assert shop.ran == [5]
    assert shop.queue.acknowledged == 2
    if bad.error:
        assert type(error).__name__ == bad.error
        assert bad.told in str(error)
        assert len(str(error)) < 1000
    else:
        assert error is None
        [line] = [each for each in caplog.messages if each.startswith("dropped a message")]
        assert bad.told in line
        assert [each.message for each in caplog.records if each.levelno > logging.INFO] == [line]
    assert SECRET not in caplog.text + str(error)
    assert max(map(len, caplog.text.splitlines())) < 1000
    assert len(caplog.text) < 10_000


@pytest.mark.parametrize("bad", ["wrong", "ack_type", "cut off"])
async def test_manual_acknowledgement_is_not_left_to_a_task_that_never_runs(bad: str) -> None:
    """Or the message would be delivered again, for ever."""
    shop = Shop()
    async with shop.serving(ack_type=AcknowledgeType.MANUAL):
        await shop.send(KINDS[bad].raw())
        await (await shop.add.kiq(5)).result()
    assert await shop.result() is not None
    assert shop.queue.acknowledged == 1  # and the good one is its own business


async def test_message_that_is_handed_back_is_acknowledged() -> None:
    """Also where tasks acknowledge messages by themselves: another one is on its way."""
    shop = Shop()
    async with shop.serving(ack_type=AcknowledgeType.MANUAL):
        sent = await AsyncKicker[[], None]("shop:new", shop.broker, {}).kiq()
        result = await sent.wait_result(check_interval=0.001)
    assert isinstance(result.error, UnknownTaskError)
    assert (shop.queue.kicked, shop.queue.acknowledged) == (11, 11)


async def test_task_that_fails_to_send_another_one_keeps_its_manual_acknowledgement() -> None:
    """Wrong arguments of another task don't mean that this one has not run."""
    shop = Shop()

    @shop.ft.task("shop:outer", ack_type="manual")
    async def outer() -> None:
        await shop.add.kiq("no number")  # type: ignore[arg-type]

    async with shop.serving():
        sent = await outer.kiq()
        result = await sent.wait_result(check_interval=0.001)
    assert isinstance(result.error, InvalidArgumentsError)
    assert shop.queue.acknowledged == 0


@pytest.mark.parametrize("bad", ["wrong", "args are a number", "ack_type"])
async def test_other_formatters(bad: str) -> None:
    """The id is read by the broker's serializer, or where Taskiq writes it."""
    shop = Shop()
    shop.broker.formatter = formatter = JSONFormatter()
    shop.broker.serializer = PickleSerializer()
    assert type(await shop.error_after(KINDS[bad].raw())).__name__ == KINDS[bad].error
    assert shop.broker.formatter is formatter


async def test_other_serializers() -> None:
    """What a serializer raises is told by its type alone."""
    shop = Shop()
    shop.broker.serializer = PickleSerializer()
    error = await shop.error_after(message(args=[SECRET]))
    assert isinstance(error, InvalidMessageError)
    assert error.args == ("", "it can't be decoded (UnpicklingError)")


async def test_retries_of_everything_end_with_the_same_error() -> None:
    """Where a middleware sends again whatever has failed."""
    shop = Shop()
    shop.broker.add_middlewares(SimpleRetryMiddleware(default_retry_label=True))
    async with shop.serving():
        await shop.send(KINDS["timeout"].raw())
        while (result := await shop.result()) is None:
            await asyncio.sleep(0.001)
    assert isinstance(result.error, InvalidMessageError)
    assert result.error.task == ADD


@pytest.mark.parametrize("args", [[], ["a", SECRET * 10_000], [1, [2]]])
async def test_forged_refusal_is_harmless(args: list[Any]) -> None:
    """The name that stands for messages that are no good can be sent by anybody."""
    shop = Shop()
    error = await shop.error_after(message(task_name="fastask:invalid_message", args=args))
    assert isinstance(error, InvalidMessageError)
    assert len(str(error)) < 1000
    assert shop.ran == [5]


async def test_worker_that_has_stopped_leaves_nothing_behind() -> None:
    """The broker reads messages as before, with the middlewares that it had."""
    shop = Shop()
    former = shop.broker.formatter, list(shop.broker.middlewares)
    for _ in range(2):
        async with shop.serving():
            await (await shop.add.kiq(5)).result()
            assert shop.broker.formatter is not former[0]
    assert (shop.broker.formatter, shop.broker.middlewares) == former


@pytest.mark.parametrize("where", ["test", "embedded", "embedded, without a lifespan"])
@pytest.mark.parametrize("bad", ["wrong", "timeout", "ack_type", "args are a number", "cut off"])
async def test_one_process(where: str, bad: str) -> None:
    """In a test and with the embedded broker it is the same."""
    shop = Shop(FastTask(FastAPI()).broker if "embedded" in where else None)
    context: Any = shop.ft.testing()
    if where == "embedded":
        context = shop.ft.app.router.lifespan_context(shop.ft.app)
    if where == "embedded, without a lifespan":
        await shop.send(KINDS[bad].raw())
        result = await shop.result()
    else:
        async with context:
            await shop.send(KINDS[bad].raw())
            await (await shop.add.kiq(5)).result()
            result = await shop.result()
    assert result is not None
    assert type(result.error).__name__ == KINDS[bad].error
    assert shop.ran == ([] if where.endswith("without a lifespan") else [5])


async def test_labels_arrive_as_they_were_sent() -> None:
    """They are parsed once."""
    shop = Shop()
    labels: dict[str, Any] = {"raw": b"\xff", "size": 5, "share": 0.5, "is_new": True, "why": "5"}
    async with shop.serving():
        sent = await shop.add.kicker().with_labels(**labels).kiq(5)
        result = await sent.wait_result(check_interval=0.001)
    assert {name: result.labels[name] for name in labels} == labels


async def test_client_logs_no_arguments(caplog: pytest.LogCaptureFixture) -> None:
    """At debug level Taskiq would show what is sent."""
    caplog.set_level(logging.DEBUG)
    shop = Shop()
    async with shop.ft.testing():
        sent = await AsyncKicker[..., Any](ADD, shop.broker, {}).kiq(SECRET, n=SECRET)
        assert isinstance((await sent.get_result()).error, InvalidArgumentsError)
    assert f"Kicking {ADD}" in caplog.text
    assert SECRET not in caplog.text


async def test_huge_words_of_an_error_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    """An error of the user's may repeat an argument; the traceback is there all the same."""
    shop = Shop()

    @shop.ft.task("shop:fail")
    async def fail(text: str) -> None:
        raise OSError(text) from ExceptionGroup(text, [ValueError(text)])

    async with shop.ft.testing():
        sent = await fail.kiq("x" * 10_000_000)
        result = await sent.get_result()
    assert isinstance(result.error, OSError)
    assert len(caplog.text) < 20_000
    assert "in fail" in caplog.text
    assert "OSError: xxx" in caplog.text
    [record] = [each for each in caplog.records if each.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[1] is result.error
