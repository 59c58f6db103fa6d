"""The options of tasks: read, checked against each other, and what Taskiq gets of them."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from taskiq import AcknowledgeType
from taskiq.schedule_sources import LabelScheduleSource
from taskiq.scheduler.scheduled_task import CronSpec

from fastask import FastTask, TaskOptionError
from fastask.brokers import unreadable
from fastask.cron import cron_problem
from fastask.retries import RetryPolicy
from fastask.schedules import with_sent_arguments
from tests.unit.doubles import RecordingBroker, RecordingSource, one_sentence


@pytest.fixture
def ft() -> FastTask:
    return FastTask(FastAPI(), RecordingBroker())


async def chore(n: int = 1) -> None: ...


async def needs(n: int) -> None: ...


LABELS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"timeout": 3}, {"timeout": 3}),
    ({"ack_type": "when_received"}, {"ack_type": "when_received"}),
    ({"ack_type": AcknowledgeType.MANUAL}, {"ack_type": "manual"}),
    ({"cron": "0  7 * * *"}, {"schedule": [{"cron": "0 7 * * *"}]}),
    (
        {"cron": "0 7 * * *", "timezone": "Europe/Berlin", "schedule_args": [2]},
        {"schedule": [{"cron": "0 7 * * *", "cron_offset": "Europe/Berlin", "args": [2]}]},
    ),
    (
        {"interval": timedelta(minutes=1), "schedule_args": {"n": 2}},
        {"schedule": [{"interval": timedelta(minutes=1), "kwargs": {"n": 2}}]},
    ),
    ({"retries": 3, "labels": {"queue": "mail"}}, {"queue": "mail", "retry_on_error": False}),
]


@pytest.mark.parametrize(("options", "labels"), LABELS)
def test_labels(ft: FastTask, options: dict[str, Any], labels: dict[str, Any]) -> None:
    """Taskiq reads in labels what was written as options."""
    assert ft.task(**options)(chore).labels == labels


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ({}, None),
        ({"retries": 0}, None),
        ({"retries": 2}, RetryPolicy(2)),
        ({"retries": 2, "retry_delay": 1.5}, RetryPolicy(2, 1.5)),
        ({"retries": 2, "retry_delay": 1, "retry_backoff": True}, RetryPolicy(2, 1, 2.0)),
        ({"retries": 2, "retry_delay": 1, "retry_backoff": False}, RetryPolicy(2, 1)),
        ({"retries": 2, "retry_delay": 1, "retry_backoff": 3}, RetryPolicy(2, 1, 3.0)),
        ({"retries": 2, "retry_jitter": True}, RetryPolicy(2, jitter=1.0)),
        ({"retries": 2, "retry_jitter": 0.5}, RetryPolicy(2, jitter=0.5)),
        ({"retries": 2, "retry_on": OSError}, RetryPolicy(2, on=(OSError,))),
        ({"retries": 2, "retry_on": [OSError, KeyError]}, RetryPolicy(2, on=(OSError, KeyError))),
    ],
)
def test_retry_policy(ft: FastTask, options: dict[str, Any], policy: RetryPolicy | None) -> None:
    """The options of retries make one policy."""
    assert ft.task(**options)(chore).retry == policy


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"timeout": 0}, "timeout", "seconds above 0"),
    ({"timeout": 1, "labels": {"timeout": 1}}, "timeout", "labels too"),
    ({"retries": -1}, "retries", "number of retries"),
    ({"retries": True}, "retries", "number of retries"),
    ({"retries": 1.5}, "retries", "number of retries"),
    ({"retries": 1, "labels": {"retry_on_error": True}}, "retries", "'retry_on_error'"),
    ({"retry_delay": 1}, "retry_delay", "without retries"),
    ({"retries": 0, "retry_delay": 1}, "retry_delay", "without retries"),
    ({"retry_on": OSError}, "retry_on", "without retries"),
    ({"retries": 1, "retry_delay": -1}, "retry_delay", "0 or more"),
    ({"retries": 1, "retry_delay": True}, "retry_delay", "0 or more"),
    ({"retries": 1, "retry_delay": 1, "retry_backoff": 0.5}, "retry_backoff", "1 or more"),
    ({"retries": 1, "retry_backoff": True}, "retry_backoff", "retry_delay"),
    ({"retries": 1, "retry_jitter": -1}, "retry_jitter", "0 or more"),
    ({"retries": 1, "retry_on": []}, "retry_on", "classes of exceptions"),
    ({"retries": 1, "retry_on": int}, "retry_on", "classes of exceptions"),
    ({"retries": 1, "retry_on": [OSError()]}, "retry_on", "classes of exceptions"),
    ({"cron": "0 7 * * *", "interval": 5}, "interval", "cron too"),
    ({"cron": "every day"}, "cron", "five fields"),
    ({"cron": 7}, "cron", "five fields"),
    ({"cron": "0 7 * * *", "labels": {"schedule": []}}, "cron", "'schedule'"),
    ({"timezone": "Europe/Berlin"}, "timezone", "without a cron"),
    ({"interval": 5, "timezone": "Europe/Berlin"}, "timezone", "without a cron"),
    ({"cron": "0 7 * * *", "timezone": "Europe/Berln"}, "timezone", "no time zone 'Europe/Berln'"),
    ({"cron": "0 7 * * *", "timezone": "../etc"}, "timezone", "no time zone"),
    ({"interval": 0}, "interval", "1 or more"),
    ({"interval": 1.5}, "interval", "whole seconds"),
    ({"interval": timedelta(milliseconds=1500)}, "interval", "whole seconds"),
    ({"interval": "5"}, "interval", "whole seconds"),
    ({"interval": float("nan")}, "interval", "whole seconds"),
    ({"interval": float("inf")}, "interval", "whole seconds"),
    ({"schedule_args": [1]}, "schedule_args", "without a schedule"),
    ({"cron": "0 7 * * *", "schedule_args": "ab"}, "schedule_args", "not str"),
    ({"ack_type": "sometimes"}, "ack_type", "'when_received'"),
    ({"ack_type": "when_saved", "labels": {"ack_type": 1}}, "ack_type", "labels too"),
    ({"labels": ["queue"]}, "labels", "mapping"),
    ({"labels": {5: "queue"}}, "labels", "mapping"),
    ({"labels": {"ack_type": "junk"}}, "ack_type", "'when_received'"),
    ({"labels": {"timeout": "abc"}}, "timeout", "above 0"),
    ({"retries": 2, "ack_type": "manual"}, "retries", "ack_type='manual'"),
    ({"retries": 2, "labels": {"ack_type": "manual"}}, "retries", "ack_type='manual'"),
    ({"retries": 2, "labels": {"max_retries": 7}}, "retries", "labels too"),
    ({"retries": 1, "retry_on": (each for each in [OSError])}, "retry_on", "classes"),
    ({"interval": 10**400}, "interval", "whole seconds"),
    ({"interval": 10**20}, "interval", "whole seconds"),
    ({"interval": True}, "interval", "whole seconds"),
    ({"labels": {"delay": "soon"}}, "labels", "'delay' is not a number of seconds"),
    ({"labels": {"delay": None}}, "labels", "'delay' is not a number of seconds"),
    ({"labels": {"max_retries": "x"}}, "labels", "'max_retries' is not a whole number"),
    ({"labels": {"_retries": []}}, "labels", "'_retries' is not a whole number"),
    ({"labels": {"X-Taskiq-requeue": "x"}}, "labels", "'X-Taskiq-requeue' is not a whole number"),
    ({"labels": {"timeout": None}}, "timeout", "above 0"),
    ({"labels": {"ack_type": None}}, "ack_type", "'when_received'"),
    ({"retrys": None}, "retrys", "'retries'"),
]


@pytest.mark.parametrize(("options", "option", "words"), WRONG)
def test_wrong_options(ft: FastTask, options: dict[str, Any], option: str, words: str) -> None:
    """What can't be used, or contradicts another option, is told where it is written."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(**options)
    assert caught.value.option == option
    assert one_sentence(caught.value, f"'{option}'", words)


@pytest.mark.parametrize("label", sorted(unreadable._LABELS))
@pytest.mark.parametrize(
    "value", [None, "soon", "5", "", 5, 2.5, b"5", True, [], float("inf"), AcknowledgeType.MANUAL]
)
async def test_labels_are_those_that_a_worker_takes(label: str, value: Any) -> None:
    """A declaration is refused wherever the worker would refuse each of its messages."""
    broker = RecordingBroker()
    ft = FastTask(FastAPI(), broker)
    try:
        task = ft.task("chore", labels={label: value})(chore)
    except TaskOptionError:
        return
    await task.kiq()
    [sent] = broker.sent
    worker = unreadable.CheckedFormatter.around(broker)
    assert worker.loads(sent.message).task_name == "chore"


@pytest.mark.parametrize(
    "labels",
    [{"delay": 1.5}, {"delay": "1.5"}, {"max_retries": 4}, {"max_retries": "4"}, {"delays": "x"}],
)
def test_labels_that_can_be_used(ft: FastTask, labels: dict[str, Any]) -> None:
    """What Taskiq can read is taken, and so are labels that it does not know."""
    assert ft.task("chore", labels=labels)(chore).labels == labels


@pytest.mark.parametrize(
    "cron",
    ["* * * * *", "*/5 8-18/2 1,15 1-6 mon-fri", "59 23 31 12 6", "0 0 * * SUN", "0 0 * * fri-mon"],
)
def test_cron(cron: str) -> None:
    """What pycron understands is taken."""
    assert cron_problem(cron) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 7",
        "* * * jan *",
        "*/0 * * * *",
        "*/x * * * *",
        "5/10 * * * *",
        "9-5 * * * *",
        "1- * * * *",
        "1,,2 * * * *",
        "@daily",
        "* * * * mon-fri/2",
        "",
        None,
    ],
)
def test_wrong_cron(wrong: Any) -> None:
    """What pycron would never match, or fail on when it is due, is told at once."""
    assert cron_problem(wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"cron": "0 7 * * *"},
        {"interval": 5, "schedule_args": ["x"]},
        {"interval": 5, "schedule_args": [1, 2]},
        {"interval": 5, "schedule_args": {"m": 1}},
        {"labels": {"schedule": [{"cron": "0 7 * * *", "kwargs": {"n": "x"}}]}},
    ],
)
def test_schedule_that_does_not_fit_the_task(ft: FastTask, options: dict[str, Any]) -> None:
    """A task that its schedule can't call is refused when it is declared."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task("needs", **options)(needs)
    assert caught.value.option == "schedule_args"
    assert one_sentence(caught.value, "task 'needs'", "schedule_args")
    assert ft.broker.find_task("needs") is None


def test_schedule_label_that_is_no_list(ft: FastTask) -> None:
    """Taskiq would fail on it in the scheduler."""
    with pytest.raises(TaskOptionError, match="as a list"):
        ft.task(labels={"schedule": {"cron": "0 7 * * *"}})(chore)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"cron": "every day"}, "five fields"),
        ({"cron": "61 * * * *"}, "no minute"),
        ({"crn": "0 7 * * *"}, "'crn'"),
        ({}, "must be present"),
        ({"interval": 0}, "at least 1 second"),
        ({"cron": "0 7 * * *", "cron_offset": "Europe/Nowhere"}, "'Europe/Nowhere'"),
        ({"cron": "0 7 * * *", "args": None}, "args"),
        ({"time": "tomorrow"}, "time"),
    ],
    ids=str,
)
def test_schedule_label_that_is_never_due(
    ft: FastTask, schedule: dict[str, Any], words: str
) -> None:
    """What Taskiq's scheduler passes over, or fails on when it starts, is told at once."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task("chore", labels={"schedule": [schedule]})(chore)
    assert caught.value.option == "labels"
    assert one_sentence(caught.value, "'schedule' is of no use", words)
    assert ft.broker.find_task("chore") is None


@pytest.mark.parametrize("cron", ["every day", "", "61 * * * *", CronSpec(hours=24), None])
async def test_cron_of_a_source(ft: FastTask, cron: Any) -> None:
    """A schedule that is made while the program runs is checked in the same way."""
    source = RecordingSource()
    task = ft.task("chore")(chore)
    for sending in (task, task.kicker()):
        with pytest.raises(TaskOptionError, match="'cron'"):
            await sending.schedule_by_cron(source, cron, 1)
    assert source.schedules == []


async def test_schedule_shows_no_argument(ft: FastTask) -> None:
    """An argument may be a secret; Taskiq's handle shows them all (taskiq 0.13)."""

    async def login(password: SecretStr) -> None: ...

    made = await ft.task("login")(login).schedule_by_cron(
        RecordingSource(), "0 7 * * *", SecretStr("hunter2")
    )
    assert "hunter2" in str(made.task.args)
    assert "hunter2" not in f"{made} {made!r}"
    assert str(made) == f"Schedule('login', '0 7 * * *', id={made.schedule_id!r})"


async def test_scheduled_arguments_travel_as_those_of_a_message(ft: FastTask) -> None:
    """The scheduler sends what `kiq` would send, and no message carries its task's schedule."""

    async def wait(span: timedelta, n: int = 1) -> None: ...

    task = ft.task("wait", interval=5, schedule_args=[timedelta(hours=1)])(wait)
    ft.broker.is_scheduler_process = True
    [source] = ft.scheduler.sources
    assert isinstance(source, LabelScheduleSource)
    await source.startup()
    [schedule] = await source.get_schedules()
    assert (schedule.args, schedule.interval) == (["PT1H"], 5)
    await task.kiq(timedelta(hours=1))
    broker = ft.broker
    assert isinstance(broker, RecordingBroker)
    assert broker.payload["labels"] == {}


def test_annotation_that_is_defined_later() -> None:
    """A schedule of a task whose annotations can't be read yet is checked later."""
    names: dict[str, Any] = {"ft": FastTask(FastAPI()), "__name__": "late"}
    exec("@ft.task(cron='0 7 * * *')\nasync def late(n: 'Later') -> None: ...\n", names)
    late = names["late"]
    names["Later"] = int
    with pytest.raises(TaskOptionError):
        with_sent_arguments(late, [], {})
    assert late.scheduled([1], {}) == ([1], {})
