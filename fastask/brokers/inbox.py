"""The messages that a worker holds: taken, kept, run, answered for.

A broker that can redeliver gives a message to another worker when its deadline has passed.
The inbox moves the deadline for as long as a message is held, hands back what was not
started, and gives up on what kills its worker again and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from taskiq import AckableMessage, AsyncBroker

from fastask.brokers.suspects import Suspects
from fastask.brokers.unknown import dead_letter
from fastask.brokers.url import Settings
from fastask.masking import masked

__all__ = ["MAX_STARTS", "Inbox", "Taken", "Transport", "put_off"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

MAX_STARTS = 5  # of a task that never comes to an end
_SUSPECT = 2  # counted starts without an end after which a message runs alone
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts to reach a server
_ANSWER_TIMEOUT = 60.0  # seconds for which an acknowledgement is tried
_CLOSE_TIMEOUT = 5.0  # seconds


@dataclass(slots=True, eq=False)
class Taken:
    """A message that was taken from a broker.

    Attributes:
        data: its bytes.
        handle: what its transport answers for it with.
        is_again: whether it was delivered before, and not handed back.
        starts: how often it was started and did not come to an end, as far as was counted;
            the start of its first delivery is not.
        is_dead: whether it was given up; then its starts are never forgotten.
    """

    data: bytes
    handle: Any
    is_again: bool = False
    starts: int = 0
    is_dead: bool = False


class Transport(Protocol):
    """What a broker has to do for its inbox. Any of it may raise when a server is away."""

    async def take(self, most: int) -> Sequence[Taken]:
        """Take up to `most` messages; wait a second or so if there are none."""
        ...

    async def acknowledge(self, taken: Taken) -> None:
        """Have a message deleted."""

    async def extend(self, held: Sequence[Taken]) -> None:
        """Move the deadlines of messages that this worker still holds."""

    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        """Have messages delivered again at once; `is_fresh` forgets how often they were started."""

    async def lay_aside(self, taken: Taken, pause: float) -> bool:
        """Have the server give a message back after some seconds; `False` if it can't."""
        ...

    async def count_start(self, taken: Taken) -> int:
        """Count a start of a message that was delivered before, and give how many there are."""
        ...

    async def bury(self, taken: Taken) -> None:
        """Keep a message as a dead letter, and have it deleted from the queue."""


class Inbox:
    """The messages that a worker process holds.

    Args:
        broker: whose messages they are.
        transport: talks to the server.
        settings: deadline and prefetch.

    Attributes:
        max_running: how many tasks Taskiq's receiver runs at once.
    """

    def __init__(self, broker: AsyncBroker, transport: Transport, settings: Settings) -> None:
        self.max_running: int = 100
        self._broker = broker
        self._transport = transport
        self._settings = settings
        self._waiting: deque[Taken] = deque()
        self._held: set[Taken] = set()
        self._ended = asyncio.Event()  # set when something is not held any more
        self._suspects: Suspects[Taken] = Suspects(settings.deadline)
        self._put_off: set[Taken] = set()  # held, but not run any more
        self._due: deque[Taken] = deque()  # of those that were put off
        self._forgotten: deque[Taken] = deque()  # to be given back, and their starts count
        self._woken = asyncio.Event()  # the heartbeat has something to do
        self._leaving = asyncio.Event()  # nothing more is taken
        self._closing = asyncio.Event()  # nothing is waited for
        self._beating: asyncio.Task[None] | None = None
        self._is_away = False

    @property
    def held(self) -> frozenset[Taken]:
        """What this worker has taken and not answered for."""
        return frozenset((*self._held, *self._put_off))

    @property
    def is_taking(self) -> bool:
        """Whether messages are taken, and not only handed back."""
        return self._beating is not None and not self._leaving.is_set()

    async def close(self) -> None:
        """Hand back what is still held, such as tasks that were cancelled."""
        self._closing.set()
        beating, self._beating = self._beating, None
        if beating is not None:
            beating.cancel()
            await asyncio.wait([beating])
        await self._hand_back(list(self.held))
        self._put_off.clear()
        self._waiting.clear()
        self._suspects.clear()

    async def messages(self) -> AsyncGenerator[AckableMessage, None]:
        """Give messages to Taskiq's receiver, as it asks for them.

        Leaving hands back what was taken and not given out.
        """
        # Those of another event loop are of no use.
        self._leaving, self._closing = asyncio.Event(), asyncio.Event()
        self._ended, self._woken = asyncio.Event(), asyncio.Event()
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat(), name="fastask heartbeat")
        taking: asyncio.Task[None] | None = None
        try:
            while True:
                if (taken := await self._next()) is not None:
                    ready = await self._ready(taken)
                    while ready:
                        yield ready.pop()  # and not kept here: who drops it gives it back
                    continue
                taking = asyncio.create_task(self._take())
                # A server may have given out messages already when this is cancelled.
                await asyncio.shield(taking)
        finally:
            self._leaving.set()
            if taking is not None:
                await asyncio.wait([taking], timeout=_CLOSE_TIMEOUT)
                taking.cancel()
            await self._hand_back([*self._waiting, *self._suspects.waiting])
            self._waiting.clear()
            self._suspects.clear()

    def forget(self, taken: Taken) -> None:
        """Have a message given back, whose task came to no end; may be called in any thread."""
        self._forgotten.append(taken)

    async def put_off(self, taken: Taken, pause: float) -> None:
        """Have a message given back after some seconds, as if it had not been started."""
        if taken not in self._held:  # it was handed back
            return
        self._release(taken)  # and is not handed back in the middle of what follows
        is_gone = False
        try:
            is_gone = not taken.is_dead and await self._transport.lay_aside(taken, pause)
        except Exception as error:  # noqa: BLE001 - each client has errors of its own
            logger.debug("a message could not be laid aside (%s); it is held", _told(error))
        finally:
            if not (is_gone or self._closing.is_set()):
                self._put_off.add(taken)
                asyncio.get_running_loop().call_later(pause, self._come_due, taken)

    async def answer(self, taken: Taken, how: Callable[[Taken], Awaitable[None]]) -> None:
        """Answer for a message, again if the server is away.

        If that can't be done the message is delivered again, and its task runs again.
        """
        start = monotonic()
        pause = _FIRST_PAUSE
        while True:
            try:
                await how(taken)
            except Exception as error:  # noqa: BLE001 - each client has errors of its own
                self._note(error)
                if self._closing.is_set() or monotonic() - start > _ANSWER_TIMEOUT:
                    logger.error(  # noqa: TRY400 - the server is away, nothing is wrong here
                        "a message could not be acknowledged (%s); its task will run again",
                        _told(error),
                    )
                    if not self._closing.is_set():  # or it is handed back
                        self._release(taken)
                    return
                await _pause(pause, self._closing)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                self._release(taken)
                return

    async def _next(self) -> Taken | None:
        """Give what is to be started now, as soon as it may; `None` if there is nothing."""
        while (pause := self._suspects.pause(self._held, len(self._waiting))) > 0:
            self._ended.clear()
            await _pause(pause, self._ended)
        if (suspect := self._suspects.next(self._held)) is not None:
            return suspect
        return self._waiting.popleft() if self._waiting else None

    def _release(self, taken: Taken) -> None:
        self._held.discard(taken)
        self._ended.set()

    def _come_due(self, taken: Taken) -> None:
        (self._forgotten if taken.is_dead else self._due).append(taken)
        self._woken.set()

    async def _ready(self, taken: Taken) -> list[AckableMessage]:
        """Count a start, and give the message; another one, or none, if it is to be buried."""
        if taken.is_again:
            try:
                taken.starts = await self._transport.count_start(taken)
            except Exception as error:  # noqa: BLE001 - each client has errors of its own
                self._note(error)  # it is counted the next time
        if taken.starts < MAX_STARTS:
            return [AckableMessage(data=taken.data, ack=_Hold(self, taken))]
        data = dead_letter(self._broker, taken.data, taken.starts)
        if data is None:  # nobody is to be told
            await self.answer(taken, self._transport.bury)
            return []
        taken.is_dead = True
        return [AckableMessage(data=data, ack=_Hold(self, taken))]

    async def _take(self) -> None:
        pause = _FIRST_PAUSE
        while not self._leaving.is_set():
            free = self.max_running - len(self._held) - len(self._put_off)
            try:
                batch = await self._transport.take(min(self._settings.prefetch, max(1, free)))
            except Exception as error:  # noqa: BLE001 - each client has errors of its own
                self._note(error)
                await _pause(pause, self._leaving)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            if self._is_away:
                self._is_away = False
                logger.warning("the broker's server is back")
            self._held.update(batch)
            for taken in batch:
                if taken.starts >= _SUSPECT:
                    self._suspects.add(taken)
                else:
                    self._waiting.append(taken)
            return

    async def _beat(self) -> None:
        interval = self._settings.deadline / 3
        pause = interval
        while True:
            await _pause(pause, self._woken)
            self._woken.clear()
            try:
                async with asyncio.timeout(interval):
                    if held := self.held:  # first, as nobody else may start what runs here
                        await self._transport.extend(list(held))
                    await self._give_back(self._due, is_fresh=True)
                    await self._give_back(self._forgotten, is_fresh=False)
            except Exception as error:  # noqa: BLE001 - each client has errors of its own
                self._note(error)
                pause = min(interval, 1.0)
            else:
                pause = interval

    async def _give_back(self, left: deque[Taken], *, is_fresh: bool) -> None:
        count = len(left)  # any thread may add more meanwhile
        if held := list(self.held.intersection(left[at] for at in range(count))):
            await self._transport.give_back(held, is_fresh=is_fresh)
        self._put_off.difference_update(held)
        for taken in held:
            self._release(taken)
        for _ in range(count):
            left.popleft()

    async def _hand_back(self, held: Sequence[Taken]) -> None:
        if not held:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                for is_dead in (False, True):
                    if some := [taken for taken in held if taken.is_dead is is_dead]:
                        await self._transport.give_back(some, is_fresh=not is_dead)
        except Exception as error:  # noqa: BLE001 - each client has errors of its own
            logger.warning(
                "%d messages could not be handed back (%s); they are delivered again in %g s",
                len(held),
                _told(error),
                self._settings.deadline,
            )
        else:
            logger.info("handed back %d messages that were not run", len(held))
        self._held.difference_update(held)

    def _note(self, error: Exception) -> None:
        """Log that the server is away: once, until it is back."""
        level = logging.DEBUG if self._is_away or self._closing.is_set() else logging.WARNING
        self._is_away = True
        logger.log(level, "the broker's server is away (%s); trying again", _told(error))


_pause_of: ContextVar[float | None] = ContextVar("fastask_pause", default=None)


async def put_off(acknowledge: Callable[[], Awaitable[None]], pause: float) -> None:
    """Have what would acknowledge a message of an inbox give it back, as if never started.

    To drop it is not enough. Taskiq's `Receiver` has the last message in local variables of
    its `prefetcher` and its `runner`, and the frames of its task, until the next one comes
    (taskiq 0.13): in an idle worker, for ever.

    Args:
        acknowledge: acknowledges the message, such as the `ack` of Taskiq's `Context`.
        pause: seconds until it is given back.
    """
    token = _pause_of.set(pause)
    try:
        await acknowledge()
    finally:
        _pause_of.reset(token)


class _Hold:
    """What acknowledges a message. When nobody has it any more, the message is given back."""

    __slots__ = ("_inbox", "_taken")

    def __init__(self, inbox: Inbox, taken: Taken) -> None:
        self._inbox = inbox
        self._taken: Taken | None = taken

    async def __call__(self) -> None:
        taken, self._taken = self._taken, None
        if taken is None:
            return
        if (pause := _pause_of.get()) is not None:
            await self._inbox.put_off(taken, pause)
        else:
            transport = self._inbox._transport
            how = transport.bury if taken.is_dead else transport.acknowledge
            await self._inbox.answer(taken, how)

    def __del__(self) -> None:
        if self._taken is not None:
            self._inbox.forget(self._taken)


async def _pause(seconds: float, end: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(end.wait(), seconds)


def _told(error: Exception) -> str:
    words = " ".join(masked(str(error)).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
