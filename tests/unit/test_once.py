"""Sending once: by an id of the sender's choice, or by what the sending is about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from taskiq import BrokerMessage, InMemoryBroker, TaskiqScheduler

from fastask import FastTask, Task, TaskOptionError
from fastask.brokers.once import ONCE, SentOnce, once_key
from tests.unit.doubles import RecordingBroker, RecordingSource


class OnceBroker(RecordingBroker):
    sends_once = True


def message(task_id: str = "id", **labels: Any) -> BrokerMessage:
    return BrokerMessage(task_id=task_id, task_name="a:b", message=b"", labels=labels)


async def add(a: int) -> int:
    return a


def declared(broker: Any) -> Task[[int], int]:
    return FastTask(FastAPI(), broker).task("add")(add)


async def test_id_of_the_senders() -> None:
    """A message whose id the sender has chosen says so; any other does not."""
    broker = OnceBroker()
    task = declared(broker)
    await task.kicker().with_task_id("order-5").kiq(1)
    await task.kiq(1)
    assert [once_key(each) for each in broker.sent] == ["order-5:0:0:add", None]


async def test_key() -> None:
    """Equal keys are one message with one id; keys are the task's own."""
    broker = OnceBroker()
    ft = FastTask(FastAPI(), broker)
    first, second = ft.task("one")(add), ft.task("two")(add)
    handles = [
        await task.kicker(idempotency_key=key).kiq(1)
        for task, key in ((first, "5"), (first, "5"), (first, "6"), (second, "5"))
    ]
    ids = [handle.task_id for handle in handles]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert [once_key(each) for each in broker.sent] == [
        f"{task_id}:0:0:{name}"
        for task_id, name in zip(ids, ["one", "one", "one", "two"], strict=True)
    ]


async def test_one_id_for_two_tasks() -> None:
    """Both are sent: an order that is charged and mailed may lend its id to both."""
    broker = OnceBroker()
    ft = FastTask(FastAPI(), broker)
    for name in ("charge", "mail"):
        await ft.task(name)(add).kicker().with_task_id("order-5").kiq(1)
    assert len({once_key(each) for each in broker.sent}) == 2


async def test_schedule_runs_each_time() -> None:
    """An id that a schedule sends with does not keep it from running again."""
    broker, source = OnceBroker(), RecordingSource()
    kicker = declared(broker).kicker().with_task_id("nightly")
    await kicker.kiq(1)
    made = await kicker.schedule_by_interval(source, 60, 1)
    assert [each.task_id for each in source.schedules] == ["nightly"]
    await TaskiqScheduler(broker, [source]).on_ready(source, source.schedules[0])
    await made.kiq()
    assert [once_key(each) for each in broker.sent] == ["nightly:0:0:add", None, None]


async def test_schedule_with_a_key_is_refused() -> None:
    """It would be dropped without a word."""
    kicker = declared(OnceBroker()).kicker(idempotency_key="5")
    source = RecordingSource()
    for scheduling in (
        kicker.schedule_by_cron(source, "0 7 * * *", 1),
        kicker.schedule_by_interval(source, 60, 1),
        kicker.schedule_by_time(source, datetime(2031, 1, 1, tzinfo=UTC), 1),
    ):
        with pytest.raises(TaskOptionError, match=r"with_schedule_id\(\.\.\.\)"):
            await scheduling
    assert source.schedules == []


@pytest.mark.parametrize("broker", [RecordingBroker(), InMemoryBroker()])
async def test_broker_that_can_not(broker: Any) -> None:
    """Where a message can't be sent once, a key is refused, and an id is just an id."""
    task = declared(broker)
    with pytest.raises(
        TaskOptionError, match=rf"{type(broker).__name__} can't send a message once"
    ):
        task.kicker(idempotency_key="order-5")
    if isinstance(broker, RecordingBroker):
        await task.kicker().with_task_id("order-5").kiq(1)
        assert ONCE not in broker.messages[0].labels


def test_retries_are_other_messages() -> None:
    """A retry, and what is handed on, has the id of the first, and is another message."""
    labels: list[dict[str, Any]] = [
        {},
        {"_retries": 1},
        {"_retries": 2},
        {"X-Taskiq-requeue": 1},
    ]
    keys = {once_key(message(**{ONCE: "1", **each})) for each in labels}
    assert len(keys) == 4
    assert once_key(message(_retries=1)) is None


def test_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first."""
    monkeypatch.setattr("fastask.brokers.once._KEPT", 2)
    once = SentOnce()
    labels = {ONCE: "1"}
    assert [once.is_repeated(message(each, **labels)) for each in "abacab"] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


async def test_embedded() -> None:
    """The embedded broker runs it once; both handles have the result."""
    runs: list[int] = []
    ft = FastTask(FastAPI())

    @ft.task("once")
    async def once(a: int) -> int:
        runs.append(a)
        return a

    handles = [await once.kicker(idempotency_key="5").kiq(number) for number in (1, 2)]
    assert [await handle.result(timeout=5) for handle in handles] == [1, 1]
    await once.kiq(3)
    await once.kiq(3)
    assert runs == [1, 3, 3]


async def test_in_a_test() -> None:
    """In `ft.testing()` it is sent once, too."""
    ft = FastTask(FastAPI(), "redis://nowhere.invalid")
    once = ft.task("once")(add)
    async with ft.testing() as tasks:
        for _ in range(2):
            await once.kicker(idempotency_key="5").kiq(1)
            await once.kicker().with_task_id("chosen").kiq(1)
        assert len(tasks.sent) == 2
        assert [sent.attempts for sent in tasks.sent] == [1, 1]


async def test_retries_in_a_test() -> None:
    """A task that was sent once is run again after an error as any other."""
    runs: list[int] = []
    ft = FastTask(FastAPI(), "redis://nowhere.invalid")

    @ft.task("flaky", retries=2, retry_delay=60)
    async def flaky() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ConnectionError("gone")

    async with ft.testing() as tasks:
        await flaky.kicker(idempotency_key="5").kiq()
        assert [sent.attempts for sent in tasks.sent] == [3]
