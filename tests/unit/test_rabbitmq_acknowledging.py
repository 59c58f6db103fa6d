"""Which messages RabbitMQ is told of as done, and with how many frames."""

import asyncio
from typing import Any

import pytest

from fastask.brokers.rabbitmq.consuming import Acknowledging
from tests.unit.doubles import PATIENCE


class Channel:
    """Does what a server would do with its frames; the first one waits for `gate`."""

    def __init__(self, pushed: int) -> None:
        self.unanswered = set(range(1, pushed + 1))
        self.frames: list[tuple[int, bool]] = []
        self.gate = asyncio.Event()
        self.is_lost = False

    async def basic_ack(self, tag: int, multiple: bool, wait: bool) -> None:
        self.frames.append((tag, multiple))
        await self.gate.wait()
        if self.is_lost:
            raise ConnectionError("lost")
        done = {each for each in self.unanswered if each == tag or (multiple and each < tag)}
        assert done, "it is answered already, for which a server closes the channel"
        self.unanswered -= done


def pushed(count: int) -> tuple[Acknowledging, Channel]:
    answers, channel = Acknowledging(), Channel(count)
    made: Any = channel
    answers.channel = made
    for tag in range(1, count + 1):
        answers.expect(tag)
    return answers, channel


async def acknowledged(answers: Acknowledging, channel: Channel, *tags: int) -> list[Any]:
    """Acknowledge in an order; all but the first while that one is on its way."""
    waiting = [asyncio.create_task(answers.acknowledge(tag)) for tag in tags]
    await asyncio.sleep(0)
    channel.gate.set()
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize(
    ("tags", "frames"),
    [
        ([1, 2, 3, 4], [(1, True), (4, True)]),
        ([2, 1, 3, 4], [(2, False), (4, True)]),
        ([1, 4, 3], [(1, True), (3, False), (4, False)]),
        ([4, 3, 1], [(4, False), (1, True), (3, False)]),
        ([3], [(3, False)]),
    ],
)
async def test_never_more_than_what_is_done(tags: list[int], frames: list[Any]) -> None:
    """One frame stands for many only where all before them are done, in whatever order."""
    answers, channel = pushed(5)
    assert await acknowledged(answers, channel, *tags) == [None] * len(tags)
    assert channel.unanswered == {1, 2, 3, 4, 5} - set(tags)
    assert channel.frames == frames


async def test_answered_in_another_way() -> None:
    """What was handed back is not in the way of those behind it."""
    answers, channel = pushed(3)
    answers.forget(1)
    channel.unanswered.discard(1)
    await acknowledged(answers, channel, 2, 3)
    assert channel.frames == [(2, True), (3, True)]
    assert channel.unanswered == set()


async def test_lost_connection() -> None:
    """Everybody who waits is told, and the next ones are not kept waiting."""
    answers, channel = pushed(3)
    channel.is_lost = True
    errors = await acknowledged(answers, channel, 1, 2, 3)
    assert [type(error) for error in errors] == [ConnectionError] * 3
    assert channel.unanswered == {1, 2, 3}
    channel.is_lost = False
    answers.expect(4)
    channel.unanswered = {4}
    assert await acknowledged(answers, channel, 4) == [None]
