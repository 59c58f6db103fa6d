"""Messages that are given back after a pause, as if they had not been started."""

import asyncio
from typing import Any

import pytest
from taskiq import AckableMessage, InMemoryBroker, TaskiqMessage

from fastask.brokers.inbox import MAX_STARTS, Taken, put_off
from tests.unit.test_inbox import (
    WAIT,
    Server,
    acknowledge,
    again,
    following,
    fresh,
    inbox_of,
    listening,
)

LONG = 3600.0  # seconds, more than any test waits


async def later(message: AckableMessage, pause: float) -> None:
    acknowledge: Any = message.ack
    await put_off(acknowledge, pause)


def told(server: Server) -> list[tuple[str, bool]]:
    return [(taken.handle, is_fresh) for taken, is_fresh in server.back]


async def test_goes_back_as_fresh() -> None:
    """It is given back when it is due, whoever still has it, however far the next heartbeat is."""
    server = Server(fresh("a"), fresh("b"))
    inbox = inbox_of(server, deadline=LONG)
    async with listening(inbox) as messages:
        message, other = await following(messages), await following(messages)
        await later(message, 0.02)
        assert server.back == []
        await server.until(lambda: server.back)
        assert told(server) == [("a", True)]
        await acknowledge(message)
        await acknowledge(other)
        assert inbox.held == frozenset()
    assert told(server) == [("a", True)]
    assert [taken.handle for taken in server.done] == ["b"]


async def test_deadline_moves_meanwhile() -> None:
    """Until then it is this worker's, and takes one of its places."""
    server = Server(fresh("a"))
    inbox = inbox_of(server, deadline=0.06)
    inbox.max_running = 3
    async with listening(inbox) as messages:
        await later(await following(messages), LONG)
        await server.until(lambda: len(server.extended) >= 2)
        assert [taken.handle for taken in server.extended[-1]] == ["a"]
        server.messages = [fresh("b")]
        await following(messages)
        assert server.asked[-1] == 2


async def test_together() -> None:
    """What is due together goes back together."""
    server = Server(fresh("a"), fresh("b"))
    calls = 0
    give_back = server.give_back

    async def counted(*args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        await give_back(*args, **options)

    server.give_back = counted  # type: ignore[method-assign]
    async with listening(inbox_of(server)) as messages:
        given = [await following(messages) for _ in range(2)]
        for message in given:
            await later(message, 0)
        await server.until(lambda: server.back)
        assert sorted(told(server)) == [("a", True), ("b", True)]
    assert calls == 1


async def test_server_is_away() -> None:
    """It goes back when the server can be reached again."""
    server = Server(fresh("a"))
    async with listening(inbox_of(server, deadline=0.06)) as messages:
        message = await following(messages)
        server.is_away = True
        await later(message, 0)
        async with asyncio.timeout(WAIT), server.changed:
            await server.changed.wait()
        server.is_away = False
        await server.until(lambda: server.back)
    assert told(server) == [("a", True)]


async def test_handed_back_at_the_end() -> None:
    """A worker that stops does not keep it, nor give it back a second time."""
    server = Server(fresh("a"))
    inbox = inbox_of(server)
    async with listening(inbox) as messages:
        await later(await following(messages), LONG)
    assert inbox.held == frozenset()
    assert told(server) == [("a", True)]


async def test_too_late() -> None:
    """What was handed back before is not given back again."""
    server = Server(fresh("a"))
    inbox = inbox_of(server, deadline=0.06)
    async with listening(inbox) as messages:
        message = await following(messages)
        await inbox.close()
        await later(message, 0)
        assert inbox.held == frozenset()
    assert told(server) == [("a", True)]


async def test_does_not_run() -> None:
    """A message that runs alone, and was put off, does not keep the others waiting."""
    server = Server(again("a", 2), again("b", 2), fresh("c"))
    async with listening(inbox_of(server)) as messages:
        await later(await following(messages), LONG)
        message = await following(messages)
        assert message.data == b"b"
        await later(message, LONG)
        assert (await following(messages)).data == b"c"


async def test_only_what_is_asked_for() -> None:
    """What is acknowledged at the same time by another task is acknowledged."""
    server = Server(fresh("a"), fresh("b"))
    async with listening(inbox_of(server)) as messages:
        first, second = await following(messages), await following(messages)

        async def slowly() -> None:
            await acknowledging
            await acknowledge(first)

        acknowledging = asyncio.create_task(acknowledge(second))
        await put_off(slowly, 0)
        await server.until(lambda: server.back)
    assert told(server) == [("a", True)]
    assert [taken.handle for taken in server.done] == ["b"]


async def test_raises_what_is_raised() -> None:
    """What can't be acknowledged at all is no message that was put off."""

    async def fail() -> None:
        raise RuntimeError("Current message is not ackable.")

    with pytest.raises(RuntimeError, match="not ackable"):
        await put_off(fail, 0)


def dead(name: str) -> Taken:
    inner = TaskiqMessage(task_id="id", task_name="a:kill", labels={}, args=[], kwargs={})
    data = InMemoryBroker().formatter.dumps(inner).message
    return Taken(data, name, is_again=True, starts=MAX_STARTS)


async def test_dead_letter() -> None:
    """What was given up is not started once more for an error that could not be saved."""
    server = Server(dead("a"), fresh("b"))
    server.lays_aside = True  # which forgets its starts
    async with listening(inbox_of(server, deadline=LONG)) as messages:
        await later(await following(messages), 0)
        await server.until(lambda: server.back)
    assert server.aside == []
    assert told(server) == [("a", False), ("b", True)]


@pytest.mark.parametrize("is_put_off", [True, False])
async def test_dead_letter_at_the_end(is_put_off: bool) -> None:
    """A worker that stops hands it back as what it is."""
    server = Server(dead("a"), fresh("b"))
    async with listening(inbox_of(server)) as messages:
        given = [await following(messages)]
        if is_put_off:
            await later(given[0], LONG)
            given.append(await following(messages))  # it runs alone
        await messages.aclose()
    assert told(server) == [("b", True), ("a", False)]


async def test_what_runs_is_kept_first() -> None:
    """A server that takes nothing back, as its disk is full, keeps what runs for this worker."""
    server = Server(fresh("a"), fresh("b"))

    async def full(*_: Any, **options: Any) -> None:
        raise ConnectionError("the disk is full")

    give_back, server.give_back = server.give_back, full  # type: ignore[method-assign]
    async with listening(inbox_of(server, deadline=0.06)) as messages:
        message, running = await following(messages), await following(messages)
        await later(message, 0)
        await server.until(lambda: len(server.extended) >= 3)
        assert {taken.handle for taken in server.extended[-1]} == {"a", "b"}
        server.give_back = give_back  # type: ignore[method-assign]
        await server.until(lambda: server.back)
        await acknowledge(running)
    assert told(server) == [("a", True)]


async def test_laid_aside() -> None:
    """What the server keeps takes no place here, and is not given back."""
    server = Server(fresh("a"))
    server.lays_aside = True
    inbox = inbox_of(server)
    inbox.max_running = 1
    async with listening(inbox) as messages:
        message = await following(messages)
        await later(message, LONG)
        assert inbox.held == frozenset()
        server.messages = [fresh("b")]
        await acknowledge(await following(messages))
        assert server.asked[-1] == 1
    assert [taken.handle for taken in server.aside] == ["a"]
    assert server.back == []


async def test_not_laid_aside() -> None:
    """It is held if the server can't keep it."""
    server = Server(fresh("a"))
    server.lays_aside = True
    async with listening(inbox_of(server)) as messages:
        message = await following(messages)
        server.is_away = True
        await later(message, 0)
        server.is_away = False
        await server.until(lambda: server.back)
    assert told(server) == [("a", True)]


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_end_while_laid_aside(is_cancelled: bool) -> None:
    """Nobody gives back what is just being moved; who is cancelled meanwhile holds it."""
    server = Server(fresh("a"))
    started = asyncio.Event()

    async def slowly(*_: Any) -> bool:
        started.set()
        await asyncio.sleep(LONG)
        return True

    server.lay_aside = slowly  # type: ignore[assignment, method-assign]
    inbox = inbox_of(server)
    async with listening(inbox) as messages:
        moving = asyncio.create_task(later(await following(messages), LONG))
        async with asyncio.timeout(WAIT):
            await started.wait()
        if is_cancelled:
            moving.cancel()
            await asyncio.wait([moving])
            assert len(inbox.held) == 1
    assert told(server) == ([("a", True)] if is_cancelled else [])
    moving.cancel()
    await asyncio.wait([moving])
    assert inbox.held == frozenset()
