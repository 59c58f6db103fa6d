"""What a worker does with the messages that it holds."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from taskiq import AckableMessage, InMemoryBroker, TaskiqMessage

from fastask.brokers.inbox import MAX_STARTS, Inbox, Taken
from fastask.brokers.url import Settings

WAIT = 5.0  # seconds, at most


class Server:
    """A transport that keeps its messages in lists and can be away."""

    def __init__(self, *messages: Taken) -> None:
        self.messages = list(messages)
        self.asked: list[int] = []
        self.done: list[Taken] = []
        self.dead: list[Taken] = []
        self.back: list[tuple[Taken, bool]] = []
        self.extended: list[list[Taken]] = []
        self.aside: list[Taken] = []
        self.is_away = False
        self.lays_aside = False
        self.changed = asyncio.Condition()

    async def take(self, most: int) -> Sequence[Taken]:
        await self._answer()
        self.asked.append(most)
        taken, self.messages = self.messages[:most], self.messages[most:]
        if not taken:
            await asyncio.sleep(0.01)
        return taken

    async def acknowledge(self, taken: Taken) -> None:
        await self._answer()
        self.done.append(taken)
        await self._tell()

    async def extend(self, held: Sequence[Taken]) -> None:
        await self._answer()
        self.extended.append(list(held))
        await self._tell()

    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        await self._answer()
        self.back.extend((taken, is_fresh) for taken in held)
        await self._tell()

    async def lay_aside(self, taken: Taken, pause: float) -> bool:
        if self.lays_aside:
            await self._answer()
            self.aside.append(taken)
        return self.lays_aside

    async def count_start(self, taken: Taken) -> int:
        await self._answer()
        return taken.starts + 1

    async def bury(self, taken: Taken) -> None:
        await self._answer()
        self.dead.append(taken)
        await self._tell()

    async def until(self, is_so: Any) -> None:
        async with asyncio.timeout(WAIT), self.changed:
            await self.changed.wait_for(is_so)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            await self._tell()
            raise ConnectionError("redis://me:hunter2@here is away")

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def fresh(name: str = "a") -> Taken:
    return Taken(name.encode(), name)


def again(name: str, starts: int) -> Taken:
    return Taken(name.encode(), name, is_again=True, starts=starts)


def inbox_of(server: Server, deadline: float = 60.0, prefetch: int = 10) -> Inbox:
    settings = Settings(deadline=deadline, prefetch=prefetch)
    return Inbox(InMemoryBroker(), server, settings)


@asynccontextmanager
async def listening(inbox: Inbox) -> AsyncGenerator[AsyncGenerator[AckableMessage, None], None]:
    messages = inbox.messages()
    try:
        yield messages
    finally:
        async with asyncio.timeout(WAIT):
            await messages.aclose()
            await inbox.close()


async def following(messages: AsyncGenerator[AckableMessage, None]) -> AckableMessage:
    async with asyncio.timeout(WAIT):
        return await anext(messages)


async def acknowledge(message: AckableMessage) -> None:
    answer: Any = message.ack()
    async with asyncio.timeout(WAIT):
        await answer


async def test_given_out_in_order_and_acknowledged() -> None:
    """Messages come as they were taken; what is acknowledged is not held any more."""
    server = Server(fresh("a"), fresh("b"))
    inbox = inbox_of(server)
    async with listening(inbox) as messages:
        first, second = await following(messages), await following(messages)
        assert [first.data, second.data] == [b"a", b"b"]
        await acknowledge(first)
        assert [taken.handle for taken in server.done] == ["a"]
        assert [taken.handle for taken in inbox.held] == ["b"]
        await acknowledge(second)


async def test_acknowledged_once() -> None:
    """Asked twice, the server is told once."""
    server = Server(fresh())
    async with listening(inbox_of(server)) as messages:
        message = await following(messages)
        await acknowledge(message)
        await acknowledge(message)
    assert len(server.done) == 1
    assert server.back == []


async def test_takes_what_it_can_start() -> None:
    """No more is taken at once than the prefetch, and than there are places for."""
    server = Server(*(fresh(str(number)) for number in range(20)))
    inbox = inbox_of(server, prefetch=3)
    inbox.max_running = 4
    async with listening(inbox) as messages:
        given = [await following(messages) for _ in range(4)]
        assert server.asked == [3, 1]
        await acknowledge(given[0])
        await acknowledge(given[1])
        await following(messages)
        assert server.asked == [3, 1, 2]


async def test_hands_back_what_was_not_given_out() -> None:
    """When listening ends, what was taken and not given out goes back, as if never taken."""
    server = Server(fresh("a"), fresh("b"), fresh("c"))
    inbox = inbox_of(server)
    async with listening(inbox) as messages:
        message = await following(messages)
        await messages.aclose()
        assert [(taken.handle, is_fresh) for taken, is_fresh in server.back] == [
            ("b", True),
            ("c", True),
        ]
        await acknowledge(message)
    assert len(server.back) == 2


async def test_hands_back_what_a_server_gave_when_it_was_too_late() -> None:
    """A read that is under way when listening ends is waited for; what it gives goes back."""
    server = Server()
    started, release = asyncio.Event(), asyncio.Event()

    async def take(most: int) -> Sequence[Taken]:
        started.set()
        await release.wait()
        return [fresh("late")]

    server.take = take  # type: ignore[method-assign]
    async with listening(inbox_of(server)) as messages:
        asking = asyncio.create_task(following(messages))
        await started.wait()
        asking.cancel()
        asyncio.get_running_loop().call_soon(release.set)
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert [(taken.handle, is_fresh) for taken, is_fresh in server.back] == [("late", True)]


async def test_hands_back_what_still_runs_at_the_end() -> None:
    """What is not acknowledged when the broker closes goes back."""
    server = Server(fresh("a"))
    async with listening(inbox_of(server)) as messages:
        message = await following(messages)
        await messages.aclose()
        assert server.back == []
    assert [(taken.handle, is_fresh) for taken, is_fresh in server.back] == [("a", True)]
    await acknowledge(message)  # too late, and no error


async def test_deadlines_are_moved() -> None:
    """What is held is extended again and again, what waits to be given out, too."""
    server = Server(fresh("a"), fresh("b"))
    async with listening(inbox_of(server, deadline=0.06)) as messages:
        message = await following(messages)
        await server.until(lambda: len(server.extended) >= 2)
        assert {taken.handle for taken in server.extended[-1]} == {"a", "b"}
        await acknowledge(message)
        count = len(server.extended)
        await server.until(lambda: len(server.extended) >= count + 2)
        assert {taken.handle for taken in server.extended[-1]} == {"b"}


async def test_forgotten_goes_back() -> None:
    """A message that nobody can acknowledge any more is given back, and stays counted."""
    server = Server(fresh("a"))
    async with listening(inbox_of(server, deadline=0.06)) as messages:
        message = await following(messages)
        del message
        gc.collect()
        await server.until(lambda: server.back)
    assert [(taken.handle, is_fresh) for taken, is_fresh in server.back] == [("a", False)]


async def test_comes_back_after_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is away is told of once, without its password, and once when it is back."""
    server = Server(fresh("a"))
    server.is_away = True
    async with listening(inbox_of(server)) as messages:
        asking = asyncio.create_task(following(messages))
        async with asyncio.timeout(WAIT), server.changed:
            await server.changed.wait()
            await server.changed.wait()
        server.is_away = False
        assert (await asking).data == b"a"
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == [
        "the broker's server is away (ConnectionError: redis://me:***@here is away); trying again",
        "the broker's server is back",
    ]


async def test_acknowledges_after_an_outage() -> None:
    """An acknowledgement waits for the server; until then the message is held."""
    server = Server(fresh("a"))
    inbox = inbox_of(server)
    async with listening(inbox) as messages:
        message = await following(messages)
        server.is_away = True
        acknowledging = asyncio.create_task(acknowledge(message))
        async with asyncio.timeout(WAIT), server.changed:
            await server.changed.wait()
        assert len(inbox.held) == 1
        assert not acknowledging.done()
        server.is_away = False
        await acknowledging
        assert inbox.held == frozenset()
    assert [taken.handle for taken in server.done] == ["a"]


async def test_gives_up_acknowledging_when_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that stops does not wait for a server that is away."""
    server = Server(fresh("a"))
    inbox = inbox_of(server)
    async with listening(inbox) as messages:
        message = await following(messages)
        server.is_away = True
        acknowledging = asyncio.create_task(acknowledge(message))
        async with asyncio.timeout(WAIT), server.changed:
            await server.changed.wait()
        await inbox.close()
        await acknowledging
    assert "its task will run again" in caplog.text
    assert "could not be handed back" in caplog.text


async def is_kept_waiting(asking: "asyncio.Task[AckableMessage]") -> bool:
    for _ in range(20):  # turns of the event loop, of which a message takes a few
        await asyncio.sleep(0)
    return not asking.done()


async def test_suspects_run_alone() -> None:
    """What was started and lost several times runs beside nothing: neither may kill the other."""
    server = Server(again("a", 2), again("b", 2), fresh("c"))
    async with listening(inbox_of(server)) as messages:
        message = await following(messages)
        for name, after in ((b"a", b"b"), (b"b", b"c")):
            assert message.data == name
            asking = asyncio.create_task(following(messages))
            assert await is_kept_waiting(asking)
            await acknowledge(message)
            message = await asking
            assert message.data == after


async def test_suspect_waits_for_what_runs() -> None:
    """It is started when what was started before it has come to its end."""
    server = Server(fresh("a"))
    async with listening(inbox_of(server)) as messages:
        running = await following(messages)
        server.messages = [again("b", 2), fresh("c")]
        asking = asyncio.create_task(following(messages))
        while server.messages:
            await asyncio.sleep(0)
        assert await is_kept_waiting(asking)
        await acknowledge(running)
        assert (await asking).data == b"b"


async def test_suspect_does_not_stop_a_worker() -> None:
    """Others wait for a deadline at most, before and beside it; other suspects wait for its end."""
    server = Server(fresh("a"))
    async with listening(inbox_of(server, deadline=0.05)) as messages:
        given = [await following(messages)]
        server.messages = [again("b", 2), again("c", 2), fresh("d"), fresh("e")]
        given += [await following(messages) for _ in range(3)]
        assert [message.data for message in given] == [b"a", b"b", b"d", b"e"]
        await acknowledge(given[1])
        assert (await following(messages)).data == b"c"


@pytest.mark.parametrize(("starts", "is_dead"), [(MAX_STARTS - 2, False), (MAX_STARTS - 1, True)])
async def test_poison_is_buried(starts: int, is_dead: bool) -> None:
    """A message that was started too often is given out as one that fails, and buried."""
    inner = TaskiqMessage(task_id="id", task_name="a:kill", labels={}, args=[1], kwargs={})
    broker = InMemoryBroker()
    data = broker.formatter.dumps(inner).message
    server = Server(Taken(data, "a", is_again=True, starts=starts))
    async with listening(inbox_of(server)) as messages:
        message = await following(messages)
        read = broker.formatter.loads(message.data)
        await acknowledge(message)
    assert (read.task_name != "a:kill") is is_dead
    assert read.task_id == "id"
    assert len(server.dead) == int(is_dead)
    assert len(server.done) == int(not is_dead)


async def test_poison_that_nobody_can_be_told_of() -> None:
    """A message that can't be read and comes again and again is buried by itself."""
    server = Server(Taken(b"no message", "a", is_again=True, starts=MAX_STARTS), fresh("b"))
    async with listening(inbox_of(server)) as messages:
        assert (await following(messages)).data == b"b"
        asking = asyncio.create_task(following(messages))
        await server.until(lambda: server.dead)
        asking.cancel()
        await asyncio.wait([asking], timeout=WAIT)


async def test_second_cycle() -> None:
    """An inbox that was closed can be opened again."""
    server = Server(fresh("a"))
    inbox = inbox_of(server, deadline=0.06)
    for name in ("a", "b"):
        server.messages = [fresh(name)]
        async with listening(inbox) as messages:
            message = await following(messages)
            count = len(server.extended)
            await server.until(lambda count=count: len(server.extended) > count)
            await acknowledge(message)
    assert [taken.handle for taken in server.done] == ["a", "b"]
