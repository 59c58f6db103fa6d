"""Messages that are given back after a pause, as if they had not been started."""

import asyncio
from typing import Any

import pytest
from taskiq import AckableMessage

from fastask.brokers.inbox import put_off
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
