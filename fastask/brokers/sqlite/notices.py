"""How a worker learns at once that there is something for it: an empty datagram.

Each worker that listens has a UDP port on 127.0.0.1, which stands in the database. Who has
committed messages sends to the ports of their queue. A datagram that gets lost, or can't
pass between containers, costs a second: so often a worker looks by itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["Bell", "ring"]

_HOST = "127.0.0.1"
_POLL = 0.05  # seconds, where an event loop can't wait for a socket


class Bell:
    """Waits to be woken up.

    Attributes:
        port: where datagrams wake it up; 0 if this process can have no such port.
    """

    def __init__(self) -> None:
        self.port: int = 0
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            # A few datagrams say as much as thousands.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._socket.bind((_HOST, 0))
            self.port = self._socket.getsockname()[1]
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the port."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def silence(self) -> None:
        """Forget what has come; look for messages after this, and wait after that."""
        if self._socket is None:
            return
        with suppress(OSError):  # there is none left
            while True:
                self._socket.recv(1)

    async def wait(self, seconds: float) -> None:
        """Wait until something has come since `silence`, or some seconds have passed."""
        if seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        rung: asyncio.Future[None] = loop.create_future()
        bell = self._socket
        try:
            if bell is None:
                raise NotImplementedError
            loop.add_reader(bell, _set, rung)
        except NotImplementedError:  # Windows' event loop
            await asyncio.sleep(min(seconds, _POLL))
            return
        timer = loop.call_later(seconds, _set, rung)
        try:
            await rung
        finally:
            timer.cancel()
            loop.remove_reader(bell)


def ring(ports: Iterable[int]) -> None:
    """Wake up who waits at some ports.

    Raises:
        OSError: this process can't have a socket.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for port in ports:
            with suppress(OSError):  # they look by themselves, too
                sender.sendto(b"", (_HOST, port))


def _set(rung: asyncio.Future[None]) -> None:
    if not rung.done():
        rung.set_result(None)
