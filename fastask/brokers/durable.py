"""What the brokers that are made from URLs have in common.

Each is a broker of Taskiq's, or of its plugins, with an inbox between the server and
Taskiq's receiver.
"""

from __future__ import annotations

import asyncio
import logging
import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from taskiq import AckableMessage, AsyncBroker, BrokerMessage

from fastask.brokers.inbox import Inbox, Taken
from fastask.brokers.once import once_key
from fastask.brokers.url import BrokerURL, Settings
from fastask.exceptions import BrokerUnavailableError, StorageError
from fastask.exceptions.brokers import WAIT_FOR_IT
from fastask.masking import masked

__all__ = ["DurableBroker", "Outgoing", "wait_for_server"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

_PATIENCE = 4.0  # seconds for a server to answer
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds between attempts to reach it
# What a server says for as long as nobody changes the URL or the server, and what to do.
_REFUSALS = (
    (r"Authentic|Authoriz|ACCESS_REFUSED|NoPerm", "correct the user and the password in the URL"),
    (r"DB index|SELECT is not allowed", "correct the number of the database in the URL"),
    (r"virtual host", "correct the virtual host in the URL"),
    (r"SecureConn|SSLCert", "have the URL and the server's TLS fit"),
    (r"BadRequest", "name another queue in the URL, or change what the server has"),
)


@dataclass(slots=True)
class Outgoing:
    """A message on its way to a server.

    Attributes:
        data: its bytes.
        task_id: its id.
        task_name: its task's name.
        key: what it is sent once by; `None` if it may be sent again.
        delay: seconds until it is due.
        priority: those of a higher one come first, where the broker knows any.
    """

    data: bytes
    task_id: str
    task_name: str
    key: str | None
    delay: float
    priority: int


class DurableBroker(AsyncBroker):
    """A broker from a URL: at least once, with deadlines that are kept.

    Attributes:
        settings: what the URL's query has set.
        address: the URL without its password.
        sends_once: whether a message with an id of the sender's choice is sent once.
        inbox: the messages that this process holds, as a worker.
    """

    settings: Settings
    address: str
    sends_once: bool = True
    inbox: Inbox

    def _prepare(self, url: BrokerURL) -> None:
        """Take the settings of a URL, after the rest was made."""
        self.settings = url.settings
        self.address = url.shown
        self.inbox = Inbox(self, self, url.settings)

    async def startup(self) -> None:
        """Wait for the server, and start.

        Raises:
            BrokerUnavailableError: it is not there within 4 s, or what the URL says in `wait`.
        """
        await self._wait_for_server()
        await super().startup()

    async def shutdown(self) -> None:
        """Hand back what is still held, and close."""
        await self.inbox.close()
        await super().shutdown()

    async def kick(self, message: BrokerMessage) -> None:
        """Send a message.

        Raises:
            TimeoutError: the server did not answer within 4 s. The message may have arrived;
                sent again with an id of the sender's own it runs once.
            Exception: what the client of the server raises.
        """
        labels = message.labels
        outgoing = Outgoing(
            data=message.message,
            task_id=message.task_id,
            task_name=message.task_name,
            key=once_key(message),
            delay=float(labels.get("delay") or 0.0),
            priority=int(labels.get("priority") or 0),
        )
        try:
            await self._send_in_time(outgoing)
        except TimeoutError:
            raise TimeoutError(f"no answer within {_PATIENCE:g} s") from None

    def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Give messages to Taskiq's receiver."""
        return self.inbox.messages()

    @abstractmethod
    async def _reach(self) -> None:
        """Connect to the server, and raise if it does not answer or lets nobody in."""

    @abstractmethod
    async def _send(self, outgoing: Outgoing) -> None:
        """Have the server take a message."""

    @abstractmethod
    async def take(self, most: int) -> Sequence[Taken]:
        """See `fastask.brokers.inbox.Transport`, as for the following."""

    @abstractmethod
    async def acknowledge(self, taken: Taken) -> None:
        """Have a message deleted."""
        ...

    @abstractmethod
    async def extend(self, held: Sequence[Taken]) -> None:
        """Move the deadlines of messages."""
        ...

    @abstractmethod
    async def give_back(self, held: Sequence[Taken], *, is_fresh: bool) -> None:
        """Have messages delivered again."""
        ...

    async def lay_aside(self, taken: Taken, pause: float) -> bool:
        """Have the server give a message back after some seconds; this one can't."""
        return False

    @abstractmethod
    async def count_start(self, taken: Taken) -> int:
        """Count a start of a message that was delivered before."""
        ...

    @abstractmethod
    async def bury(self, taken: Taken) -> None:
        """Keep a message as a dead letter."""
        ...

    async def _send_in_time(self, outgoing: Outgoing) -> None:
        """Have the server take a message; raise `TimeoutError` if it does not within 4 s."""
        async with asyncio.timeout(_PATIENCE):
            await self._send(outgoing)

    async def _wait_for_server(self) -> None:
        await wait_for_server(self.address, self.settings.wait, self._reach)


async def wait_for_server(address: str, wait: float, reach: Callable[[], Awaitable[None]]) -> None:
    """Reach a server; try again for as long as that may help.

    Args:
        address: the URL without its password.
        wait: seconds for which it is tried again.
        reach: connects to the server, and raises if it does not answer or lets nobody in.

    Raises:
        BrokerUnavailableError: it is not there within 4 s, or `wait`; or waiting is of no use.
    """
    give_up = monotonic() + wait
    pause = _FIRST_PAUSE
    while True:
        try:
            async with asyncio.timeout(_PATIENCE):
                await reach()
        except Exception as error:
            reason = _reason(error)
            remedy, may_pass = _remedy(error, reason)
            left = give_up - monotonic()
            if left <= 0 or not may_pass:
                raise BrokerUnavailableError(address, reason, remedy=remedy) from error
        else:
            return
        logger.warning("%s: %s; waiting for it, %.0f s left", address, reason, left)
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _remedy(error: Exception, reason: str) -> tuple[str | None, bool]:
    """Give what to do about an error, `None` for the usual, and whether it may pass."""
    if isinstance(error, StorageError) and error.is_locked:
        return WAIT_FOR_IT, True
    if isinstance(error, StorageError) or type(error) is ValueError:  # they say it
        return "", False
    for pattern, remedy in _REFUSALS:
        if re.search(pattern, reason):
            return remedy, False
    return None, True


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {_PATIENCE:g} s"
    words = " ".join(masked(str(error)).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
