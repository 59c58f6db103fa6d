# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""User code that type checkers must accept: every option of a task, on both decorators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, assert_type

from fastapi import Depends, Request, params
from taskiq import AcknowledgeType

from fastask import Enqueued, FastTask, TaskRouter
from fastask.declare import TaskDecorator
from fastask.options import AckType, RetryOn
from fastask.task import AsyncTask, SyncTask

ft = FastTask("app:app")
router = TaskRouter()


class Pool: ...


def get_pool(request: Request) -> Pool:
    return Pool()


async def work(count: int, /) -> str:
    return str(count)


def work_sync(count: int, /) -> str:
    return str(count)


# name

assert_type(ft.task(name="named")(work), AsyncTask[[int], str])
assert_type(ft.task("name_sync", name=None)(work_sync), SyncTask[[int], str])
assert_type(router.task(name="named")(work), AsyncTask[[int], str])
assert_type(router.task("name_sync", name=None)(work_sync), SyncTask[[int], str])

# timeout

assert_type(ft.task("timeout", timeout=0.5)(work), AsyncTask[[int], str])
assert_type(ft.task("timeout_sync", timeout=None)(work_sync), SyncTask[[int], str])
assert_type(router.task("timeout", timeout=0.5)(work), AsyncTask[[int], str])
assert_type(router.task("timeout_sync", timeout=None)(work_sync), SyncTask[[int], str])

# retries

assert_type(ft.task("retries", retries=3)(work), AsyncTask[[int], str])
assert_type(ft.task("retries_sync", retries=None)(work_sync), SyncTask[[int], str])
assert_type(router.task("retries", retries=3)(work), AsyncTask[[int], str])
assert_type(router.task("retries_sync", retries=None)(work_sync), SyncTask[[int], str])

# retry_delay

assert_type(ft.task("retry_delay", retries=3, retry_delay=0.5)(work), AsyncTask[[int], str])
assert_type(
    ft.task("retry_delay_sync", retries=3, retry_delay=None)(work_sync), SyncTask[[int], str]
)
assert_type(router.task("retry_delay", retries=3, retry_delay=0.5)(work), AsyncTask[[int], str])
assert_type(
    router.task("retry_delay_sync", retries=3, retry_delay=None)(work_sync), SyncTask[[int], str]
)

# retry_backoff

assert_type(
    ft.task("retry_backoff", retries=3, retry_delay=1, retry_backoff=1.5)(work),
    AsyncTask[[int], str],
)
assert_type(
    ft.task("retry_backoff_sync", retries=3, retry_delay=1, retry_backoff=True)(work_sync),
    SyncTask[[int], str],
)
assert_type(
    router.task("retry_backoff", retries=3, retry_delay=1, retry_backoff=1.5)(work),
    AsyncTask[[int], str],
)
assert_type(
    router.task("retry_backoff_sync", retries=3, retry_delay=1, retry_backoff=True)(work_sync),
    SyncTask[[int], str],
)

# retry_jitter

assert_type(ft.task("retry_jitter", retries=3, retry_jitter=0.5)(work), AsyncTask[[int], str])
assert_type(
    ft.task("retry_jitter_sync", retries=3, retry_jitter=True)(work_sync), SyncTask[[int], str]
)
assert_type(router.task("retry_jitter", retries=3, retry_jitter=0.5)(work), AsyncTask[[int], str])
assert_type(
    router.task("retry_jitter_sync", retries=3, retry_jitter=True)(work_sync), SyncTask[[int], str]
)

# retry_on

assert_type(ft.task("retry_on", retries=3, retry_on=OSError)(work), AsyncTask[[int], str])
assert_type(
    ft.task("retry_on_sync", retries=3, retry_on=[OSError, KeyError])(work_sync),
    SyncTask[[int], str],
)
assert_type(router.task("retry_on", retries=3, retry_on=OSError)(work), AsyncTask[[int], str])
assert_type(
    router.task("retry_on_sync", retries=3, retry_on=[OSError, KeyError])(work_sync),
    SyncTask[[int], str],
)

# cron

assert_type(ft.task("cron", cron="* * * * *", schedule_args=[1])(work), AsyncTask[[int], str])
assert_type(ft.task("cron_sync", cron=None)(work_sync), SyncTask[[int], str])
assert_type(router.task("cron", cron="* * * * *", schedule_args=[1])(work), AsyncTask[[int], str])
assert_type(router.task("cron_sync", cron=None)(work_sync), SyncTask[[int], str])

# interval

assert_type(ft.task("interval", interval=60, schedule_args=[1])(work), AsyncTask[[int], str])
assert_type(
    ft.task("interval_sync", interval=timedelta(hours=1), schedule_args=(1,))(work_sync),
    SyncTask[[int], str],
)
assert_type(router.task("interval", interval=60, schedule_args=[1])(work), AsyncTask[[int], str])
assert_type(
    router.task("interval_sync", interval=timedelta(hours=1), schedule_args=(1,))(work_sync),
    SyncTask[[int], str],
)

# timezone

assert_type(
    ft.task("timezone", cron="* * * * *", timezone="Europe/Berlin", schedule_args=[1])(work),
    AsyncTask[[int], str],
)
assert_type(ft.task("timezone_sync", timezone=None)(work_sync), SyncTask[[int], str])
assert_type(
    router.task("timezone", cron="* * * * *", timezone="Europe/Berlin", schedule_args=[1])(work),
    AsyncTask[[int], str],
)
assert_type(router.task("timezone_sync", timezone=None)(work_sync), SyncTask[[int], str])

# schedule_args

assert_type(ft.task("schedule_args", interval=60, schedule_args=[1])(work), AsyncTask[[int], str])
assert_type(ft.task("schedule_args_sync", schedule_args=None)(work_sync), SyncTask[[int], str])
assert_type(
    router.task("schedule_args", interval=60, schedule_args=[1])(work), AsyncTask[[int], str]
)
assert_type(router.task("schedule_args_sync", schedule_args=None)(work_sync), SyncTask[[int], str])

# ack_type

assert_type(ft.task("ack_type", ack_type="when_saved")(work), AsyncTask[[int], str])
assert_type(
    ft.task("ack_type_sync", ack_type=AcknowledgeType.MANUAL)(work_sync), SyncTask[[int], str]
)
assert_type(router.task("ack_type", ack_type="when_saved")(work), AsyncTask[[int], str])
assert_type(
    router.task("ack_type_sync", ack_type=AcknowledgeType.MANUAL)(work_sync), SyncTask[[int], str]
)

# dependencies

assert_type(ft.task("dependencies", dependencies=[Depends(get_pool)])(work), AsyncTask[[int], str])
assert_type(ft.task("dependencies_sync", dependencies=())(work_sync), SyncTask[[int], str])
assert_type(
    router.task("dependencies", dependencies=[Depends(get_pool)])(work), AsyncTask[[int], str]
)
assert_type(router.task("dependencies_sync", dependencies=())(work_sync), SyncTask[[int], str])

# labels

assert_type(ft.task("labels", labels={"queue": "mail", "priority": 3})(work), AsyncTask[[int], str])
assert_type(ft.task("labels_sync", labels=None)(work_sync), SyncTask[[int], str])
assert_type(
    router.task("labels", labels={"queue": "mail", "priority": 3})(work), AsyncTask[[int], str]
)
assert_type(router.task("labels_sync", labels=None)(work_sync), SyncTask[[int], str])

# All at once, and options that come from variables.

ack_type: AckType = "manual"
retry_on: RetryOn = (OSError, KeyError)
schedule_args: Mapping[str, Any] = {"count": 1}
dependencies: Sequence[params.Depends] = [Depends(get_pool)]
labels: Mapping[str, Any] = {"queue": "mail"}
decorator = router.task("from_variables", ack_type=ack_type, dependencies=dependencies)

assert_type(decorator, TaskDecorator)
assert_type(decorator(work), AsyncTask[[int], str])


@ft.task(
    "all",
    timeout=5,
    retries=3,
    retry_delay=1,
    retry_backoff=2,
    retry_jitter=0.5,
    retry_on=retry_on,
    cron="0 7 * * *",
    timezone="Europe/Berlin",
    schedule_args=schedule_args,
    ack_type="when_executed",
    dependencies=dependencies,
    labels=labels,
)
async def with_all(count: int = 0) -> str:
    return str(count)


@router.task(
    name="all",
    timeout=0.5,
    retries=1,
    retry_delay=0.5,
    retry_backoff=True,
    retry_jitter=True,
    retry_on=TimeoutError,
    interval=timedelta(minutes=1),
    schedule_args={"count": 1},
    ack_type="when_received",
    dependencies=[Depends(get_pool)],
    labels={"queue": "mail"},
)
def with_all_sync(count: int = 0) -> str:
    return str(count)


ft.include_router(router, prefix="router")


async def sends() -> None:
    assert_type(await with_all.kiq(count=1), Enqueued[str])
    assert_type(await with_all_sync.kiq(1), Enqueued[str])
    assert_type((await (await with_all.kiq()).wait_result()).return_value, str)
    assert_type((await (await with_all_sync.kiq()).wait_result()).return_value, str)
    assert_type(await with_all(1), str)
    assert_type(with_all_sync(1), str)
