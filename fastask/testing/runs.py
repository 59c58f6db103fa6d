"""When what was sent is run: at once, later or never; and that there is an end of it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeAlias

from taskiq import BrokerMessage

from fastask.enqueued import Enqueued
from fastask.testing.record import Record, SentTask, loop_of

__all__ = ["Run", "Runs"]

Run: TypeAlias = Literal["inline", "later", "never"]

_DEEPEST = 50  # tasks that run inline within each other
_MOST = 1000  # runs of one task that puts itself back, where the test gives no limit
_MOST_LOOPED = 10_000  # tasks below a first one that a task of the same name has led to


class Runs:
    """The messages of one `ft.testing()`, and those of them that wait.

    Args:
        record: where they are noted.
        mode: when they are run.
        run: runs one.
    """

    def __init__(
        self,
        record: Record,
        mode: Run,
        run: Callable[[SentTask, BrokerMessage], Awaitable[None]],
    ) -> None:
        self._record = record
        self._mode = mode
        self._run = run
        self._waiting: deque[tuple[SentTask, BrokerMessage]] = deque()
        self._is_asked_for = False  # what is sent next
        self._asked_for: set[str] = set()
        self._retries: dict[SentTask, deque[BrokerMessage]] = {}  # of what runs inline
        self._looped: Counter[SentTask] = Counter()  # below each root

    @property
    def is_going_on(self) -> bool:
        """Whether a retry is about to be run, as the run before has ended."""
        return any(self._retries.values())

    @property
    def waiting(self) -> list[SentTask]:
        """What is still to be run, in the order of sending."""
        return [sent for sent, _ in self._waiting]

    async def kick(self, message: BrokerMessage) -> None:
        """Take a message, in the place of the broker.

        Raises:
            TaskLoopError: it is one of a chain without an end.
        """
        if self._record.is_repeated(message):
            return
        sent = self._record.note(message.message)
        if self._mode == "inline":
            self._refuse_loop(sent)
            await self._run_inline(sent, message)
        elif self._mode == "later" or self._is_asked_for or sent.id in self._asked_for:
            self._waiting.append((sent, message))

    async def run_all(self, limit: int) -> list[SentTask]:
        """Run what waits, and what that sends.

        Args:
            limit: how many runs are the most; what is left then goes on waiting.

        Raises:
            TaskLoopError: there is no end of it within `limit` runs.
        """
        ran: dict[SentTask, None] = {}
        runs = 0
        while self._waiting:
            if runs >= limit:
                raise loop_of(self.waiting)
            sent, message = self._waiting.popleft()
            runs += 1
            ran[sent] = None
            await self._run(sent, message)
        return list(ran)

    async def run_one(self, send: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Send a task, run it at once, and give what it returns.

        Raises:
            TaskLoopError: it puts itself back without an end.
            BaseException: what it raises, or what sending it raises.
        """
        self._is_asked_for = True
        try:
            enqueued = await send()
        finally:
            self._is_asked_for = False
        self._asked_for.add(enqueued.task_id)
        try:
            await self._run_until_it_ends(enqueued.task_id)
        finally:
            self._asked_for.discard(enqueued.task_id)
        if not isinstance(enqueued, Enqueued):  # of a task of Taskiq's own
            enqueued = Enqueued(enqueued.task_id, enqueued.result_backend, enqueued.return_type)
        return await enqueued.result()

    async def _run_inline(self, sent: SentTask, message: BrokerMessage) -> None:
        if sent in self._retries:  # it is sent by a run, and follows it, as in a worker
            self._retries[sent].append(message)
            return
        waiting = self._retries[sent] = deque([message])
        try:
            while waiting:
                await self._run(sent, waiting.popleft())
        finally:
            del self._retries[sent]

    def _refuse_loop(self, sent: SentTask) -> None:
        """Raise the error of a chain that has no end, and for what else its root leads to."""
        root, is_new = sent.root, not sent.attempts
        self._looped[root] += is_new and sent.is_below_itself
        is_endless = sent.depth > _DEEPEST or (is_new and self._looped[root] > _MOST_LOOPED)
        if is_endless or sent.attempts >= _MOST:
            self._looped[root] = _MOST_LOOPED + 1
            raise loop_of([sent])

    async def _run_until_it_ends(self, task_id: str) -> None:
        while (mine := self._waiting_of(task_id)) is not None:  # again for retries
            self._waiting.remove(mine)
            if mine[0].attempts >= _MOST:
                raise loop_of([mine[0]])
            await self._run(*mine)

    def _waiting_of(self, task_id: str) -> tuple[SentTask, BrokerMessage] | None:
        return next((each for each in self._waiting if each[0].id == task_id), None)
