"""What a test sees of the tasks that were sent, and that they travel as in production."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import BackgroundTasks, Request
from starlette.testclient import TestClient
from taskiq import BrokerMessage, NoResultError, TaskiqDepends, TaskiqResult
from taskiq.abc.middleware import TaskiqMiddleware
from taskiq.message import TaskiqMessage

from fastask import InvalidArgumentsError, InvalidResultError, UnknownTaskError
from fastask.exceptions import InvalidMessageError, TaskNotRunError
from tests.unit.doubles import PATIENCE
from tests.unit.shop import Shop


@dataclass
class Item:
    name: str
    at: datetime


@pytest.fixture
def shop() -> Shop:
    return Shop()


def get_price() -> int:
    return 1


async def test_everything_of_a_task(shop: Shop) -> None:
    """Task, name, arguments in their types, labels, id, state, result, error and attempts."""
    item = Item("pen", datetime(2026, 1, 2, tzinfo=UTC))

    @shop.ft.task("buy", labels={"team": "red"})
    async def buy(item: Item, *, count: int) -> Item:
        return item

    async with shop.ft.testing() as tasks:
        enqueued = await buy.kicker().with_labels(size=5).kiq(item, count=2)
        [sent] = tasks.sent
    assert (sent.task, sent.name, sent.id) == (buy, "buy", enqueued.task_id)
    assert (sent.args, sent.kwargs) == ((item,), {"count": 2})
    assert sent.args[0] is not item
    assert sent.labels.items() >= {"team": "red", "size": 5}.items()
    assert (sent.state, sent.result, sent.error, sent.attempts) == ("succeeded", item, None, 1)
    assert (sent.sender, sent.sent, sent.due_at) == (None, [], None)
    assert sent.duration is not None
    assert repr(sent) == "<SentTask buy (succeeded)>"


async def test_sent_to(shop: Shop) -> None:
    """Tasks are found by the task or by its name, in the order of sending."""
    other = shop.ft.task("other")(get_price)
    async with shop.ft.testing() as tasks:
        await shop.price.kiq("a")
        await other.kiq()
        await shop.price.kiq("b")
        assert [sent.args for sent in tasks.sent_to(shop.price)] == [("a",), ("b",)]
        assert tasks.sent_to("price") == tasks.sent_to(shop.price)
        assert [sent.name for sent in tasks.sent] == ["price", "other", "price"]
        assert tasks.sent_to("nothing") == []


async def test_tasks_of_tasks(shop: Shop) -> None:
    """Each knows what it has sent and who has sent it, among many at once."""

    @shop.ft.task("outer")
    async def outer(n: int) -> None:
        await asyncio.sleep(0)
        await asyncio.gather(*(shop.price.kiq(f"{n}{part}") for part in "ab"))

    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        await asyncio.gather(*(outer.kiq(n) for n in range(30)))
        await shop.price.kiq("own")
        outers = tasks.sent_to(outer)
        for one in outers:
            assert {below.args[0] for below in one.sent} == {f"{one.args[0]}{p}" for p in "ab"}
            assert all(below.sender is one for below in one.sent)
        assert len(outers) == 30
        assert tasks.sent[-1].sender is None
        assert "outer  succeeded" in str(tasks)
        assert "\n  price  succeeded" in str(tasks)


async def test_sender_of_what_a_task_begins(shop: Shop) -> None:
    """What an asyncio task or a thread of a task sends is sent by the task."""

    @shop.ft.task("outer")
    async def outer() -> None:
        await asyncio.create_task(shop.price.kiq("asyncio"))
        await asyncio.to_thread(lambda: asyncio.run(shop.send_item("thread")))

    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        await outer.kiq()
        [sent] = tasks.sent_to(outer)
        assert [one.args[0] for one in sent.sent] == ["asyncio", "thread"]


def test_background_tasks_of_a_response(shop: Shop) -> None:
    """What is sent after the response was sent by no task, and has run after the request."""

    @shop.app.get("/later")
    async def later(background: BackgroundTasks) -> None:
        background.add_task(shop.price.kiq, "background")

    with shop.ft.testing() as tasks, TestClient(shop.app) as client:
        client.get("/later")
        [sent] = tasks.sent
        assert (sent.sender, sent.result) == (None, "background 1 pool")


async def test_looking_too_early(shop: Shop) -> None:
    """The result of a task that has not run is an error, for the test and for a route."""
    async with asyncio.timeout(PATIENCE), shop.ft.testing("later") as tasks:
        enqueued = await shop.price.kiq("pen")
        assert not await enqueued.is_ready()
        with pytest.raises(TaskNotRunError, match="'price' has no result, as it is waiting"):
            tasks.sent[0].result  # noqa: B018
        with pytest.raises(TaskNotRunError):
            await enqueued.result()
        assert tasks.sent[0].error is None


async def test_result_that_does_not_fit(shop: Shop) -> None:
    """A misfit is the task's error, and the enqueued handle's too."""

    @shop.ft.task("wrong")
    async def wrong() -> int:
        return "x"  # type: ignore[return-value]

    async with shop.ft.testing() as tasks:
        await wrong.kiq()
        assert isinstance(tasks.sent[0].error, InvalidResultError)
        with pytest.raises(InvalidResultError):
            tasks.sent[0].result  # noqa: B018


async def test_task_without_a_result(shop: Shop) -> None:
    """Whoever asks for the result of a task that wants none does not wait for ever."""

    @shop.ft.task("silent")
    async def silent() -> None:
        raise NoResultError

    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        with pytest.raises(TaskNotRunError):
            await tasks.run(silent)
        assert tasks.sent[0].result is None


async def test_what_cannot_be_sent(shop: Shop) -> None:
    """Arguments that no message can hold fail where they are sent, and nothing is noted."""
    wrong: Any = object()
    plain = shop.broker.register_task(get_price, "plain")
    async with shop.ft.testing() as tasks:
        with pytest.raises(InvalidArgumentsError):
            await shop.price.kiq(wrong)
        with pytest.raises(Exception, match=r"(?i)serializ|send"):
            await plain.kiq(wrong)  # type: ignore[call-arg]
        assert tasks.sent == []


async def test_unknown_task(shop: Shop) -> None:
    """A message for a task that is not there fails, and names similar ones."""
    message = shop.broker.formatter.dumps(
        TaskiqMessage(task_id="1", task_name="prize", labels={}, args=[3], kwargs={})
    )
    async with shop.ft.testing() as tasks:
        await shop.broker.kick(message)
        [sent] = tasks.sent
        assert (sent.task, sent.name, sent.id, sent.args) == (None, "prize", "1", (3,))
        assert isinstance(sent.error, UnknownTaskError)
        assert "price" in str(sent.error)


async def test_raw_message(shop: Shop) -> None:
    """What does not fit a task is kept as it came, and fails the task."""
    message = BrokerMessage(
        task_id="1",
        task_name="price",
        message=b'{"task_id":"1","task_name":"price","labels":{},"args":[[]],"kwargs":{}}',
        labels={},
    )
    async with shop.ft.testing() as tasks:
        await shop.broker.kick(message)
        [sent] = tasks.sent_to(shop.price)
        assert sent.args == ([],)
        assert isinstance(sent.error, InvalidArgumentsError)
    assert shop.events == ["startup", "shutdown"]


async def test_message_that_is_cut_off(shop: Shop) -> None:
    """A message that can't be read fails under its id, as in a worker."""
    data = b'{"task_id":"1","task_name":"price"'
    message = BrokerMessage(task_id="1", task_name="price", message=data, labels={})
    async with shop.ft.testing() as tasks:
        await shop.broker.kick(message)
        assert tasks.sent[0].id == "1"
        assert isinstance(tasks.sent[0].error, InvalidMessageError)


@pytest.mark.parametrize("run", ["inline", "later"])
async def test_retries_take_no_time(shop: Shop, run: Any) -> None:
    """A task with an hour between its runs has been run again at once; it is one task."""

    @shop.ft.task("flaky", retries=3, retry_delay=3600)
    async def flaky() -> int:
        [sent] = tasks.sent
        if sent.attempts < 3:
            raise LookupError("flaky")
        return sent.attempts

    async with asyncio.timeout(PATIENCE), shop.ft.testing(run) as tasks:
        await flaky.kiq()
        await tasks.run_all()
        [sent] = tasks.sent
        assert (sent.attempts, sent.state, sent.result) == (3, "succeeded", 3)


async def test_retries_that_fail(shop: Shop) -> None:
    """The last error is the task's, after as many attempts as it has."""

    @shop.ft.task("failing", retries=2, retry_delay=3600)
    async def failing() -> None:
        raise LookupError(tasks.sent[0].attempts)

    async with asyncio.timeout(PATIENCE), shop.ft.testing() as tasks:
        with pytest.raises(LookupError):
            await tasks.run(failing)
        assert (tasks.sent[0].attempts, repr(tasks.sent[0].error)) == (3, "LookupError(3)")


class Breaking(TaskiqMiddleware):
    """Fails before a task, and notes what comes after one."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[Any] = []

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        if message.args == ["broken"]:
            raise LookupError("middleware")
        return message

    def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.saved.append(result.return_value)


async def test_middlewares(shop: Shop) -> None:
    """An error of a middleware is the task's, and all of them are called."""
    breaking = Breaking()
    shop.broker.add_middlewares(breaking)
    async with shop.ft.testing() as tasks:
        await shop.price.kiq("broken")
        await shop.price.kiq("pen")
        assert repr(tasks.sent[0].error) == "LookupError('middleware')"
    assert breaking.saved == ["pen 1 pool"]


class TestPlainTasks:
    """Tasks that were registered with Taskiq's own `@broker.task`."""

    async def test_result(self, shop: Shop) -> None:
        """They have arguments, results, a sender and the app behind their request."""

        async def plain(n: int, request: Request = TaskiqDepends()) -> str:
            await shop.price.kiq(str(n))
            return f"{n} {request.app.state.pool} {request.state.yielded}"

        task = shop.broker.register_task(plain, "plain")
        async with shop.ft.testing() as tasks:
            await task.kiq(5)
            [sent] = tasks.sent_to(task)
            assert (sent.task, sent.args, sent.result) == (task, (5,), "5 pool state")
            assert [one.name for one in sent.sent] == ["price"]

    async def test_error(self, shop: Shop) -> None:
        """Their errors are raised at the end, as any others."""

        async def plain() -> None:
            raise LookupError("plain")

        task = shop.broker.register_task(plain, "plain")
        with pytest.raises(ExceptionGroup) as caught:
            async with shop.ft.testing():
                await task.kiq()
        assert repr(caught.value.exceptions) == "(LookupError('plain'),)"

    @pytest.mark.parametrize("how", ["tasks", "app"])
    async def test_override(self, shop: Shop, how: str) -> None:
        """Overrides reach what `TaskiqDepends` asks for, and end with the test."""

        async def plain(price: int = TaskiqDepends(get_price)) -> int:
            return price

        task = shop.broker.register_task(plain, "plain")
        async with shop.ft.testing() as tasks:
            if how == "tasks":
                tasks.override(get_price, lambda: 2)
            else:
                shop.app.dependency_overrides[get_price] = lambda: 2
            assert (await (await task.kiq()).get_result()).return_value == 2
        async with shop.ft.testing():
            assert (await (await task.kiq()).get_result()).return_value == 1

    async def test_run(self, shop: Shop) -> None:
        """They can be run."""
        task: Any = shop.broker.register_task(get_price, "plain")
        async with shop.ft.testing("never") as tasks:
            assert await tasks.run(task) == 1
