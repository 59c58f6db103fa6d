"""Kickers and schedules: one message changed, or sent later."""

import asyncio
import pickle
import traceback
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, SecretStr
from starlette.testclient import TestClient
from taskiq import BrokerMessage, SendTaskError
from taskiq.cli.scheduler.run import is_cron_task_now
from taskiq.kicker import AsyncKicker
from taskiq.scheduler.scheduled_task import CronSpec

from fastask import (
    BrokerUnavailableError,
    FastTask,
    InvalidArgumentsError,
    NotSentError,
    Task,
    TaskLoopError,
    TaskOptionError,
)
from tests.unit.doubles import (
    PATIENCE,
    RecordingBroker,
    RecordingSource,
    UntouchableBroker,
    one_sentence,
    program,
)


class Card(BaseModel):
    number: int
    owner: str


async def pay_card(amount: int, card: Card) -> None: ...


@pytest.fixture
def broker() -> RecordingBroker:
    return RecordingBroker()


@pytest.fixture
def pay(broker: RecordingBroker) -> Task[[int, Card], None]:
    return FastTask(FastAPI(), broker).task("pay")(pay_card)


async def test_kicker(pay: Task[[int, Card], None], broker: RecordingBroker) -> None:
    """`kicker()` changes labels, id and broker of one message."""
    kicker = pay.kicker().with_labels(queue="mail", priority=2).with_task_id("chosen")
    sent = await kicker.kiq(1, Card(number=1, owner="ann"))
    (message,) = broker.messages
    assert (sent.task_id, message.task_id) == ("chosen", "chosen")
    assert message.labels == {"queue": "mail", "priority": "2"}
    assert pay.labels == {}
    other = RecordingBroker()
    sent = await pay.kicker().with_broker(other).kiq(1, Card(number=1, owner="ann"))
    assert len(broker.sent) == 1
    assert [message.task_id for message in other.messages] == [sent.task_id]
    assert sent.result_backend is other.result_backend


async def test_kicker_checks(pay: Task[[int, Card], None]) -> None:
    """A kicker checks the arguments as `kiq` does."""
    unchecked: Any = pay.kicker().with_labels(queue="mail")
    with pytest.raises(InvalidArgumentsError):
        await unchecked.kiq("x")


async def test_labels_are_copied() -> None:
    """Labels of one message are no labels of the next, nor of the task."""
    fresh, broker = program()
    task = fresh.task("labelled", timeout=5, labels={"queue": "mail"})(pay_card)
    kicker = task.kicker()
    kicker.labels["queue"] = "changed"
    await kicker.kiq(1, Card(number=1, owner="ann"))
    await task.kiq(1, Card(number=1, owner="ann"))
    assert [message.labels["queue"] for message in broker.messages] == ["changed", "mail"]
    assert task.labels == {"timeout": 5, "queue": "mail"}


@pytest.mark.parametrize(
    ("method", "when", "kept"),
    [
        ("schedule_by_cron", "*/5 * * * *", ("cron", "*/5 * * * *")),
        ("schedule_by_cron", CronSpec(minutes=3), ("cron", "3 * * * *")),
        ("schedule_by_interval", 30, ("interval", 30)),
        ("schedule_by_interval", timedelta(minutes=1), ("interval", timedelta(minutes=1))),
        ("schedule_by_time", datetime(2031, 1, 1, tzinfo=UTC), ("time", None)),
    ],
)
async def test_schedules(method: str, when: Any, kept: tuple[str, Any]) -> None:
    """A schedule keeps checked arguments as JSON values, and can be sent at once."""
    fresh, broker = program()
    task = fresh.task("planned", labels={"queue": "mail"})(pay_card)
    source = RecordingSource()
    card = Card(number=1, owner="ann")
    schedule = await getattr(task, method)(source, when, 1, card=card)
    (made,) = source.schedules
    assert (made.task_name, made.args, made.labels) == ("planned", [1], {"queue": "mail"})
    assert made.kwargs == {"card": {"number": 1, "owner": "ann"}}
    field, value = kept
    assert getattr(made, field) == (when if value is None else value)
    sent = await schedule.kiq()
    assert broker.payload["kwargs"] == made.kwargs
    assert broker.messages[0].task_id == sent.task_id


NO_INTERVALS: list[Any] = [0, -1, 1.5, None, True, "5", 10**20, timedelta(seconds=0.5)]
NO_TIMES: list[Any] = [None, 5, "tomorrow", "2031-01-01T00:00:00", date(2031, 1, 1)]
NO_CRONS: list[Any] = [
    "every day",
    None,
    CronSpec(minutes=1, offset="Mars"),
    CronSpec(minutes=1, offset=""),
    CronSpec(minutes=99),
]


@pytest.mark.parametrize(
    ("unit", "when", "option"),
    [
        *(("interval", each, "interval") for each in NO_INTERVALS),
        *(("time", each, "time") for each in NO_TIMES),
        *(("cron", each, "cron") for each in NO_CRONS),
    ],
)
async def test_schedule_that_is_never_due(unit: str, when: Any, option: str) -> None:
    """It is told in a sentence that names the task, and shows none of its arguments."""

    async def login(password: SecretStr) -> None: ...

    fresh, _ = program()
    task: Any = fresh.task("login")(login)
    source = RecordingSource()
    for sending in (task, task.kicker()):
        with pytest.raises(TaskOptionError) as caught:
            await getattr(sending, f"schedule_by_{unit}")(source, when, password="hunter2")
        assert caught.value.option == option
        assert one_sentence(caught.value, f"'{option}'", "task 'login'", "write")
        shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
        assert "hunter2" not in shown.replace('password="hunter2"', "")
    assert source.schedules == []


@pytest.mark.parametrize(
    ("cron", "kept", "offset"),
    [
        (" 0  7 * * * ", "0 7 * * *", None),
        (CronSpec(minutes=" 0 ", hours=7), "0 7 * * *", None),
        (CronSpec(minutes=1, offset="Europe/Berlin"), "1 * * * *", "Europe/Berlin"),
        (CronSpec(minutes=1, offset=timedelta(hours=1)), "1 * * * *", timedelta(hours=1)),
    ],
)
async def test_cron_as_pycron_wants_it(
    pay: Task[[int, Card], None], cron: Any, kept: str, offset: Any
) -> None:
    """One space between the fields, or it would never be due; a zone or an offset is kept."""
    source = RecordingSource()
    await pay.schedule_by_cron(source, cron, 1, Card(number=1, owner="ann"))
    [made] = source.schedules
    assert (made.cron, made.cron_offset) == (kept, offset)
    assert is_cron_task_now(kept, datetime(2031, 1, 1, 7, 0, tzinfo=UTC)) is (kept[0] == "0")


async def test_schedule_id(pay: Task[[int, Card], None]) -> None:
    """A schedule gets the id that the kicker was given."""
    source = RecordingSource()
    kicker = pay.kicker().with_schedule_id("nightly")
    made = await kicker.schedule_by_cron(source, "0 3 * * *", 1, Card(number=1, owner="ann"))
    assert made.schedule_id == source.schedules[0].schedule_id == "nightly"


async def test_broker_that_fails() -> None:
    """A broker that does not take the message is Taskiq's `SendTaskError`."""
    task = FastTask(FastAPI(), UntouchableBroker()).task("lost")(pay_card)
    with pytest.raises(SendTaskError) as caught:
        await task.kiq(1, Card(number=1, owner="ann"))
    assert isinstance(caught.value.__cause__, ConnectionError)


async def test_broker_that_fails_says_what_was_not_sent() -> None:
    """The error names task and broker; a test is told of `ft.testing()`."""
    task = FastTask(FastAPI(), UntouchableBroker()).task("lost")(pay_card)
    with pytest.raises(NotSentError) as caught:
        await task.kiq(1, Card(number=1, owner="ann"))
    assert one_sentence(caught.value, "'lost'", "UntouchableBroker", "ConnectionError: kick")
    assert "ft.testing()" in str(caught.value)
    assert isinstance(caught.value, SendTaskError)


class DeafBroker(RecordingBroker):
    """A broker whose server can't be reached."""

    async def kick(self, message: BrokerMessage) -> None:
        await asyncio.Event().wait()


async def test_a_test_does_not_wait_for_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of `ft.testing()` a test gets an error within seconds, and nobody else does."""
    monkeypatch.setattr("fastask.sending._PATIENCE", 0.05)
    task = FastTask(FastAPI(), DeafBroker()).task("lost")(pay_card)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(NotSentError, match=r"TimeoutError.*ft\.testing\(\)"):
            await task.kiq(1, Card(number=1, owner="ann"))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task.kiq(1, Card(number=1, owner="ann")), 0.2)


@pytest.mark.parametrize("is_test", [True, False])
def test_client_of_a_test_that_needs_a_server(
    is_test: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is entered outside of `ft.testing()` names it, and a server does not."""
    ft = FastTask(lambda: app, f"sqlite:///{tmp_path}/nowhere/tasks.db")
    app = FastAPI(lifespan=ft.lifespan())
    if not is_test:
        monkeypatch.delenv("PYTEST_CURRENT_TEST")
    with pytest.raises(BrokerUnavailableError) as caught, TestClient(app):
        pass
    assert "tasks.db can't be used" in str(caught.value)
    assert ("enter ft.testing() first" in str(caught.value)) is is_test
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_a_test_waits_for_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that run before `kiq` returns may take longer than that."""
    monkeypatch.setattr("fastask.sending._PATIENCE", 0.0)
    ft = FastTask(FastAPI(), UntouchableBroker())

    @ft.task
    async def slow() -> int:
        await asyncio.sleep(0.02)
        return 5

    async with ft.testing():
        assert await (await slow.kiq()).result() == 5


async def test_error_of_a_test_is_the_error_itself() -> None:
    """What `ft.testing()` raises says nothing of servers, and is not its own cause."""
    ft = FastTask(FastAPI(), UntouchableBroker())

    @ft.task("ping")
    async def ping() -> None:
        await ping.kiq()

    async with ft.testing(raise_errors=False) as tasks:
        await ping.kiq()
    [error] = [sent.raised for sent in tasks.sent if sent.raised is not None]
    assert isinstance(error, TaskLoopError)
    assert error.__cause__ is None


async def test_every_sending_is_checked_in_one_place(pay: Task[[int, Card], None]) -> None:
    """Taskiq (0.13) makes each message in a method of its kicker's that is no public one."""
    made = pay.kicker()._prepare_message(1, card=Card(number=1, owner="ann"))
    assert (made.args, made.kwargs) == ([1], {"card": {"number": 1, "owner": "ann"}})
    told = "Taskiq's kicker makes messages elsewhere; look where fastask has to check them now"
    for sending in ("kiq", "schedule_by_cron", "schedule_by_interval", "schedule_by_time"):
        assert "_prepare_message" in getattr(AsyncKicker, sending).__code__.co_names, told
