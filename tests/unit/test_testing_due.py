"""`tasks.due`: which schedules are due, with what they send."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from taskiq import ScheduledTask
from taskiq.exceptions import ScheduledTaskCancelledError

from fastask import FastTask, TaskRouter
from tests.unit.doubles import RecordingSource
from tests.unit.shop import Shop

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def shop() -> Shop:
    return Shop()


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def scheduled(ft: Any, **options: Any) -> Any:
    async def task(n: int = 0) -> int:
        return n

    return ft.task("scheduled", **options)(task)


async def times(ft: FastTask, begin: datetime, end: datetime) -> list[datetime]:
    async with ft.testing("never") as tasks:
        return [sent.due_at for sent in await tasks.due(between=(begin, end)) if sent.due_at]


async def test_cron(shop: Shop) -> None:
    """A task is due in its minute, wherever in that minute, and in no other."""
    task = scheduled(shop.ft, cron="30 7 * * *", schedule_args={"n": 5})
    async with shop.ft.testing() as tasks:
        for due in (utc(2026, 1, 1, 7, 30), utc(2026, 1, 1, 7, 30, 59)):
            [sent] = await tasks.due(at=due)
            assert (sent.task, sent.result, sent.due_at) == (task, 5, utc(2026, 1, 1, 7, 30))
            assert sent.sender is None
        for other in (utc(2026, 1, 1, 7, 29, 59), utc(2026, 1, 1, 7, 31)):
            assert await tasks.due(at=other) == []


def test_cron_sync(shop: Shop) -> None:
    """So it is in a plain function, where it runs at once, or later if the test says so."""
    scheduled(shop.ft, cron="30 7 * * *", schedule_args={"n": 5})
    with shop.ft.testing() as tasks:
        assert [sent.result for sent in tasks.due(at=utc(2026, 1, 1, 7, 30))] == [5]
    with shop.ft.testing("later") as tasks:
        [sent] = tasks.due(at=utc(2026, 1, 1, 7, 30))
        assert sent.state == "waiting"
        assert tasks.run_all() == [sent]


async def test_naive_moment_is_one_of_utc(shop: Shop) -> None:
    """A moment without a zone is one of UTC; one of another zone is the same moment there."""
    scheduled(shop.ft, cron="30 7 * * *")
    async with shop.ft.testing() as tasks:
        assert len(await tasks.due(at=datetime(2026, 1, 1, 7, 30))) == 1  # noqa: DTZ001
        assert len(await tasks.due(at=datetime(2026, 1, 1, 8, 30, tzinfo=BERLIN))) == 1


async def test_zone_through_the_year(shop: Shop) -> None:
    """A cron with a zone is due by the clock of that zone, in winter and in summer."""
    scheduled(shop.ft, cron="0 7 * * *", timezone="Europe/Berlin")
    winter = await times(shop.ft, utc(2026, 1, 10), utc(2026, 1, 11))
    summer = await times(shop.ft, utc(2026, 7, 10), utc(2026, 7, 11))
    assert (winter, summer) == ([utc(2026, 1, 10, 6)], [utc(2026, 7, 10, 5)])


async def test_clocks_change(shop: Shop) -> None:
    """A time that a clock skips is not due; one that it shows twice is due twice, as is so."""
    scheduled(shop.ft, cron="30 2 * * *", timezone="Europe/Berlin")
    assert await times(shop.ft, utc(2026, 3, 28, 12), utc(2026, 3, 29, 12)) == []
    assert await times(shop.ft, utc(2026, 10, 24, 12), utc(2026, 10, 25, 12)) == [
        utc(2026, 10, 25, 0, 30),
        utc(2026, 10, 25, 1, 30),
    ]


async def test_end_is_no_part(shop: Shop) -> None:
    """The beginning is part of `between`, the end is not, and a minute begun before is not."""
    scheduled(shop.ft, cron="* * * * *")
    found = await times(shop.ft, utc(2026, 1, 1, 0, 0), utc(2026, 1, 1, 0, 2))
    assert found == [utc(2026, 1, 1, 0, 0), utc(2026, 1, 1, 0, 1)]
    assert await times(shop.ft, utc(2026, 1, 1, 0, 0, 1), utc(2026, 1, 1, 0, 1)) == []
    assert await times(shop.ft, utc(2026, 1, 1), utc(2026, 1, 1)) == []


@pytest.mark.parametrize("interval", [20, timedelta(seconds=20)])
async def test_interval(shop: Shop, interval: Any) -> None:
    """An interval counts from the beginning."""
    scheduled(shop.ft, interval=interval)
    begin = utc(2026, 1, 1, 0, 0, 5)
    assert await times(shop.ft, begin, begin + timedelta(seconds=41)) == [
        begin + timedelta(seconds=n) for n in (0, 20, 40)
    ]
    assert len(await times(shop.ft, begin, begin + timedelta(seconds=40))) == 2


async def test_router(shop: Shop) -> None:
    """Tasks of a router are due by their names there."""
    router = TaskRouter()
    scheduled(router, cron="0 7 * * *")
    shop.ft.include_router(router, prefix="mail")
    async with shop.ft.testing() as tasks:
        [sent] = await tasks.due(at=utc(2026, 1, 1, 7))
        assert (sent.name, sent.result) == ("mail:scheduled", 0)


async def test_plain_schedule(shop: Shop) -> None:
    """Tasks of Taskiq's own are due by their label, at a time too, with its arguments."""

    @shop.broker.task(
        "plain",
        schedule=[
            {"time": utc(2026, 1, 1, 7, 0, 30), "args": [1], "labels": {"size": 5}},
            {"cron": "1 7 * * *", "kwargs": {"n": 2}},
            {"cron": "2 8 * * *", "cron_offset": "Europe/Berlin", "args": [3]},
            {"cron": "3 6 * * *", "cron_offset": timedelta(hours=-1), "args": [4]},
        ],
    )
    async def plain(n: int) -> int:
        return n

    async with shop.ft.testing() as tasks:
        sent = await tasks.due(between=(utc(2026, 1, 1, 7), utc(2026, 1, 1, 7, 10)))
        assert [(one.task, one.result) for one in sent] == [(plain, n) for n in (1, 2, 3, 4)]
        assert sent[0].due_at == utc(2026, 1, 1, 7, 0, 30)
        assert sent[0].labels["size"] == 5
        assert len(await tasks.due(at=utc(2026, 1, 1, 7))) == 1


async def test_schedules_of_a_source(shop: Shop) -> None:
    """Schedules that the app has made in a source are due with it, and only with it."""
    source = RecordingSource()
    other = scheduled(shop.ft, cron="2 7 * * *")
    async with shop.ft.testing() as tasks:
        await shop.price.schedule_by_time(source, utc(2026, 1, 1, 7, 1, 30), "time")
        await shop.price.schedule_by_cron(source, "3 7 * * *", "cron")
        await shop.price.schedule_by_interval(source, 300, "interval")
        assert tasks.sent == []
        hour = (utc(2026, 1, 1, 7), utc(2026, 1, 1, 7, 5))
        sources = [*shop.ft.scheduler.sources, source]
        sent = await tasks.due(between=hour, sources=sources)
        assert [(one.task, one.args) for one in sent] == [
            (shop.price, ("interval",)),
            (shop.price, ("time",)),
            (other, ()),
            (shop.price, ("cron",)),
        ]
        assert sent[1].due_at == utc(2026, 1, 1, 7, 1, 30)
        assert sent[1].result == "time 1 pool"
        assert [one.task for one in await tasks.due(between=hour)] == [other]


def test_schedules_of_a_source_sync(shop: Shop) -> None:
    """So they are in a plain function; what the source cancels is not sent."""

    class Cancelling(RecordingSource):
        def pre_send(self, task: ScheduledTask) -> None:
            if task.args == ["cancelled"]:
                raise ScheduledTaskCancelledError

    source = Cancelling()

    async def schedule() -> None:
        for item in ("cancelled", "kept"):
            await shop.price.schedule_by_time(source, utc(2026, 1, 1, 7), item)

    with shop.ft.testing() as tasks:
        asyncio.run(schedule())
        [sent] = tasks.due(at=utc(2026, 1, 1, 7), sources=[source])
        assert sent.args == ("kept",)


async def test_interval_in_a_minute(shop: Shop) -> None:
    """With `at`, every interval is due, as it counts from the beginning of the minute."""
    scheduled(shop.ft, interval=3600)
    async with shop.ft.testing() as tasks:
        [sent] = await tasks.due(at=utc(2026, 1, 1, 7, 13, 33))
        assert sent.due_at == utc(2026, 1, 1, 7, 13)


async def test_order_and_tasks_of_tasks(shop: Shop) -> None:
    """What is due comes in the order of time; what it sends itself is not part of it."""

    @shop.ft.task("late", cron="5 7 * * *")
    async def late() -> None: ...

    @shop.ft.task("early", cron="*/4 7 * * *")
    async def early() -> None:
        await shop.price.kiq("pen")

    async with shop.ft.testing() as tasks:
        sent = await tasks.due(between=(utc(2026, 1, 1, 7), utc(2026, 1, 1, 7, 10)))
        assert [one.name for one in sent] == ["early", "early", "late", "early"]
        assert [below.due_at for below in sent[0].sent] == [None]
        assert len(tasks.sent) == 7


async def test_due_inside_a_task(shop: Shop) -> None:
    """A task that asks what is due is told."""
    scheduled(shop.ft, cron="0 7 * * *")
    counts: list[int] = []

    @shop.ft.task("asking")
    async def asking() -> None:
        counts.append(len(await tasks.due(at=utc(2026, 1, 1, 7))))

    async with shop.ft.testing() as tasks:
        await asking.kiq()
    assert counts == [1]


async def test_errors_of_due_tasks(shop: Shop) -> None:
    """A due task that fails is as loud as any other."""

    @shop.ft.task("failing", cron="0 7 * * *")
    async def failing() -> None:
        raise LookupError("due")

    with pytest.raises(ExceptionGroup, match="failing"):
        async with shop.ft.testing() as tasks:
            await tasks.due(at=utc(2026, 1, 1, 7))


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"at": utc(2026, 1, 1), "between": (utc(2026, 1, 1), utc(2026, 1, 2))},
        {"between": (utc(2026, 1, 2), utc(2026, 1, 1))},
    ],
)
async def test_times_that_are_none(shop: Shop, when: dict[str, Any]) -> None:
    """Neither, both, and an end before the beginning are refused."""
    async with shop.ft.testing() as tasks:
        with pytest.raises(ValueError, match=r"at=|between="):
            await tasks.due(**when)
