"""Which of the workers of a NATS queue are asked, and answer, for the deadline."""

from __future__ import annotations

from typing import Any

import pytest
from nats.errors import NoRespondersError

from fastask.brokers.nats.deadlines import LOOK, Deadlines


class Question:
    """A message of a worker that asks."""

    def __init__(self, data: bytes, reply: str) -> None:
        self.data = data
        self.reply = reply
        self.answers: list[bytes] = []

    async def respond(self, data: bytes) -> None:
        self.answers.append(data)


class Line:
    """A client whose questions the worker that asks, and others, hear; or one that is deaf."""

    def __init__(self, own: float, *others: float) -> None:
        self.workers = [Deadlines("q", each) for each in (own, *others)]
        self.heard: list[Any] = []
        self.error: Exception | None = None
        self.is_deaf = False

    async def subscribe(self, subject: str, cb: Any) -> None:
        self.heard.append((subject, cb))

    async def request(self, _: str, data: bytes, timeout: float) -> None:
        question: Any = Question(data, "here")
        if self.error is not None:
            raise self.error
        for worker in () if self.is_deaf else self.workers:
            await worker._asked(question)
        if not question.answers:
            raise NoRespondersError if len(self.workers) == 1 else TimeoutError


async def looks(deadlines: Deadlines, line: Any, there: float) -> int:
    """Look until the deadline that is there is too long; give how often, 100 at most."""
    for number in range(1, 100):
        if await deadlines.is_long(line, there):
            return number
    return 100


@pytest.mark.parametrize(
    ("others", "count"), [([], 8), ([2.0], 8), ([1.0, 2.0], 8), ([10.0], 100), ([2.0, 30.0], 100)]
)
async def test_who_needs_a_longer_one(others: list[float], count: int) -> None:
    """Any worker with a longer deadline than the one that asks keeps what is there."""
    assert await looks(Deadlines("q", 2.0), Line(2.0, *others), 30.0) == count
    assert count in (100, (30 + LOOK) / LOOK + 1)


async def test_it_has_to_be_quiet_for_long() -> None:
    """An answer begins the time anew; an outage is none."""
    deadlines, line = Deadlines("q", 2.0), Line(2.0)
    given: Any = line
    for _ in range(7):
        assert not await deadlines.is_long(given, 30.0)
    line.error = ConnectionError()
    with pytest.raises(ConnectionError):
        await deadlines.is_long(given, 30.0)
    line.error = None
    assert await deadlines.is_long(given, 30.0)
    line.workers.append(Deadlines("q", 30.0))
    assert not await deadlines.is_long(given, 30.0)
    line.workers.pop()
    assert await looks(deadlines, given, 30.0) == 8


@pytest.mark.parametrize("others", [[], [2.0], [10.0]])
async def test_who_hears_nobody(others: list[float]) -> None:
    """A worker that does not hear itself, for want of rights, does not take others for dead."""
    line = Line(2.0, *others)
    line.is_deaf = True
    assert await looks(Deadlines("q", 2.0), line, 30.0) == 100


async def test_own_deadline() -> None:
    """The one that this worker has is never too long, and a shorter one is too short."""
    deadlines = Deadlines("q", 0.1 + 0.2)
    assert await looks(deadlines, Line(0.3), 0.3) == 100
    assert not deadlines.is_short(0.3)
    assert deadlines.is_short(0.29)


async def test_answers() -> None:
    """Workers answer once over a connection, and nothing to what is no question."""
    deadlines, line = Deadlines("q", 30.0), Line(30.0)
    given: Any = line
    await deadlines.answer(given)
    await deadlines.answer(given)
    [(subject, asked)] = line.heard
    assert subject == "_FASTASK.deadline.q"
    for data, reply, answers in ((b"2", "here", 1), (b"2", "", 0), (b"?", "here", 0)):
        question = Question(data, reply)
        await asked(question)
        assert len(question.answers) == answers
