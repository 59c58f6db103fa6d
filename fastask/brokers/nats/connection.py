"""A connection to NATS servers that is never given up, and that never pretends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client
from nats.errors import SecureConnWantedError, StaleConnectionError
from nats.js import JetStreamContext

from fastask.brokers.url import BrokerURL
from fastask.exceptions import BrokerURLError
from fastask.masking import masked

__all__ = ["PATIENCE", "Connection"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

PATIENCE = 4.0  # seconds for a server to answer
_CLOSE_TIMEOUT = 2.0  # seconds
_OUTAGE = (OSError, TimeoutError, StaleConnectionError)
_OPTIONS: dict[str, Any] = {
    "max_reconnect_attempts": -1,
    "reconnect_time_wait": 0.5,  # seconds
    "ping_interval": 10,  # seconds; a server that has vanished is missed after three
    # Nothing is kept to be sent later: a message that was not sent would come after all,
    # long after its sender was told so.
    "pending_size": 0,
}


class _Client(Client):
    """nats-py's client, which a late answer does not make deaf.

    An answer to a ping that nobody waits for any more ends the reading of its own (2.16).
    """

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()


class Connection:
    """A connection to the servers of a URL.

    Args:
        url: `nats://` or `tls://`, with one server or several, separated by commas. User and
            password, or a token, that only the first one has are for all of them.

    Attributes:
        servers: their URLs, without what logs in to them.
        lost: called when the connection is lost.
        js: JetStream of the client, as it was connected last.

    Raises:
        BrokerURLError: the URL names no server.
    """

    def __init__(self, url: BrokerURL) -> None:
        servers, self._login = _parts(url)
        self.servers: list[str] = servers
        self.lost: Callable[[], None] = _nothing
        self._address = url.shown
        self._is_tls = url.scheme == "tls"
        self._client: Client | None = None
        self.js: JetStreamContext | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Connection({self._address!r})"

    @property
    def line(self) -> object:
        """What there is between here and the server: another one after each interruption."""
        client = self._client
        return None if client is None else (id(client), client.stats["reconnects"])

    @property
    def ready(self) -> Client | None:
        """The client, if it is connected."""
        client = self._client
        return client if client is not None and client.is_connected else None

    async def open(self) -> None:
        """Connect: one attempt for each server.

        Raises:
            Exception: what the last of them has failed with.
        """
        await self.close()
        self._opening = asyncio.Lock()  # of this event loop
        self._use(await self._connected())

    async def client(self) -> Client:
        """Give the client, which is connected.

        Raises:
            ConnectionError: it is not at the moment, and tries to be.
            Exception: it had to connect anew, and could not.
        """
        client = self._client
        if client is not None and client.is_closed:
            client = await self._opened_again()
        if client is None:
            raise ConnectionError(f"{self._address} is not connected; start the broker first")
        if not client.is_connected:
            raise ConnectionError(f"{self._address} is not connected at the moment")
        return client

    async def jetstream(self) -> JetStreamContext:
        """Give the client's JetStream.

        Raises:
            ConnectionError: see `client`.
        """
        await self.client()
        assert self.js is not None  # noqa: S101 - set with the client
        return self.js

    async def close(self) -> None:
        """Disconnect."""
        async with self._opening:
            client, self._client, self.js = self._client, None, None
        if client is not None:
            await _closed(client)

    async def _opened_again(self) -> Client | None:
        """Connect anew: after some errors of a server nats-py gives up (2.16)."""
        async with self._opening:
            if self._client is not None and self._client.is_closed:
                async with asyncio.timeout(PATIENCE):
                    self._use(await self._connected())
            return self._client

    def _use(self, client: Client) -> None:
        self._client = client
        self.js = client.jetstream(timeout=PATIENCE)

    async def _connected(self) -> Client:
        client = _Client()
        failures = 0
        is_up = False

        async def failed(error: Exception) -> None:
            nonlocal failures
            if is_up:
                level = logging.DEBUG if isinstance(error, _OUTAGE) else logging.WARNING
                logger.log(level, "%s: %s", self._address, masked(str(error)))
                return
            failures += 1
            if failures >= len(self.servers):
                raise error  # or nats-py would try for ever

        async def disconnected() -> None:
            self.lost()

        try:
            await client.connect(
                self.servers,
                error_cb=failed,
                disconnected_cb=disconnected,
                connect_timeout=max(1.0, 3.0 / len(self.servers)),  # type: ignore[arg-type]
                **self._logins(client),
                **_OPTIONS,
            )
            self._check(client)
        except BaseException:
            is_up = True
            await _closed(client)
            raise
        is_up = True
        return client

    def _logins(self, client: Client) -> dict[str, Any]:
        """Give what logs in; asked for it, a connection that is to be safe must be."""

        def giver(secret: str) -> Any:
            def give() -> str:
                self._check(client)
                return secret

            return give

        return {name: giver(secret) for name, secret in self._login.items()}

    def _check(self, client: Client) -> None:
        """See that `tls://` is safe; nats-py goes on without if the server asks for none."""
        if self._is_tls and not client._server_info.get("tls_required"):
            raise SecureConnWantedError


def _nothing() -> None:
    pass


async def _closed(client: Client) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await client.close()


def _parts(url: BrokerURL) -> tuple[list[str], dict[str, str]]:
    """Take the servers and what logs in out of a URL."""
    servers: list[str] = []
    login: dict[str, str] = {}
    for text in url.address.partition("://")[2].split(","):
        user_info, at, host = text.rpartition("://")[2].rpartition("@")
        host = host.rstrip("/")
        if not host or not _is_place(host):
            # Nothing of it is shown: with a comma in it, it may be a part of a password.
            reason = "write it as nats://host:4222 or nats://a:4222,b:4222, and ',' in a password"
            raise BrokerURLError(url.scheme, f"{reason} as %2C")
        servers.append(f"{url.scheme}://{host}")
        if at and not login:
            user, colon, password = user_info.partition(":")
            names = {"user": user, "password": password} if colon else {"token": user}
            login = {name: unquote(secret) for name, secret in names.items()}
    return servers, login


def _is_place(host: str) -> bool:
    try:
        split = urlsplit(f"nats://{host}")
        return bool(split.hostname) and split.port != 0
    except ValueError:
        return False
