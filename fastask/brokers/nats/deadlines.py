"""Workers of one queue whose deadlines differ, as while a deployment changes it."""

from __future__ import annotations

from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

__all__ = ["LOOK", "Deadlines"]

LOOK = 5.0  # seconds between looks at the consumer
_LITTLE = 0.001  # seconds by which equal deadlines differ, at most
_ANSWER_TIMEOUT = 1.0  # seconds


class Deadlines:
    """Tells whether workers are alive that need a longer deadline than this one.

    A server has one deadline for all workers, and each moves those of its messages as often
    as its own deadline asks for: a shorter one would take messages from who runs them.

    Args:
        queue: the queue's name.
        own: the deadline of this worker.
    """

    def __init__(self, queue: str, own: float) -> None:
        self._subject = f"_FASTASK.deadline.{queue}"
        self._own = own
        self._quiet = 0.0
        self._client: Client | None = None  # over which others are answered

    async def answer(self, client: Client) -> None:
        """Answer other workers, from now on."""
        if client is not self._client:
            await client.subscribe(self._subject, cb=self._asked)
            self._client = client

    def is_short(self, there: float) -> bool:
        """Whether the server's deadline is too short for this worker."""
        return there < self._own - _LITTLE

    async def is_long(self, client: Client, there: float) -> bool:
        """Whether the server's is longer than any worker needs; to be called at each look.

        Who blocks its event loop, and may, does not answer for as long as its deadline.
        """
        if there <= self._own + _LITTLE or await self._is_one_alive(client):
            self._quiet = 0.0
        else:
            self._quiet += LOOK
        return self._quiet > there + LOOK

    async def _is_one_alive(self, client: Client) -> bool:
        # Where this worker does not hear even itself, others may not be heard either.
        return await self._answers(client, self._own) or not await self._answers(client, 0.0)

    async def _answers(self, client: Client, deadline: float) -> bool:
        try:
            await client.request(self._subject, b"%r" % deadline, timeout=_ANSWER_TIMEOUT)
        except (NoRespondersError, TimeoutError):
            return False
        return True

    async def _asked(self, question: Msg) -> None:
        with suppress(ValueError):  # whoever has asked that
            if question.reply and self._own > float(question.data) + _LITTLE:
                await question.respond(b"")
