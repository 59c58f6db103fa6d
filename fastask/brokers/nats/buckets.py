"""Small things that are kept at a NATS server for some time: one JetStream bucket each."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import Header, KeyValueConfig
from nats.js.errors import BadRequestError, NoStreamResponseError, NotFoundError

from fastask.brokers.nats.connection import Connection
from fastask.brokers.nats.streams import IN_USE, added

__all__ = ["Bucket", "Entry", "key_of"]

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TAKEN = (10071, 10164)  # the server's codes for an entry that is not the expected one
_DUPLICATE_WINDOW = 120.0  # seconds; no longer than what is kept


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under a key.

    Attributes:
        value: the bytes.
        headers: what was said of them.
    """

    value: bytes
    headers: dict[str, str]


class Bucket:
    """A key-value bucket that is made when it is first written to, and again when it is gone.

    Not nats-py's `KeyValue`, which can't write headers, and whose deleted keys leave a mark.

    Args:
        connection: to the server.
        name: the bucket's name.
        ttl: seconds for which an entry is kept.
    """

    def __init__(self, connection: Connection, name: str, ttl: float) -> None:
        self._connection = connection
        self._name = name
        self._stream = f"KV_{name}"
        self._ttl = ttl
        self._made_for: JetStreamContext | None = None

    async def get(self, key: str) -> Entry | None:
        """Give an entry; nothing if there is none."""
        js = await self._made()
        try:
            got = await js.get_msg(self._stream, subject=self._subject(key), direct=True)
        except NotFoundError:
            return None
        except (NoRespondersError, TimeoutError):
            # So a server (2.9) answers when it has no such bucket: not at all.
            self._made_for = None
            if await self._is_there(js):
                raise
            return None
        return Entry(got.data or b"", got.headers or {})

    async def put(self, key: str, value: bytes, headers: dict[str, str] | None = None) -> None:
        """Write an entry, and wait until the server has it."""
        js = await self._made()
        try:
            await js.publish(self._subject(key), value, headers=headers)
        except NoStreamResponseError:  # somebody has emptied the server
            self._made_for = None
            js = await self._made()
            await js.publish(self._subject(key), value, headers=headers)

    async def add(self, key: str, value: bytes) -> bool:
        """Write an entry unless there is one; give whether it was written."""
        try:
            await self.put(key, value, {Header.EXPECTED_LAST_SUBJECT_SEQUENCE: "0"})
        except BadRequestError as error:
            if error.err_code not in _TAKEN:
                raise
            return False
        return True

    async def remove(self, key: str) -> None:
        """Remove an entry without a trace, if it is there."""
        js = await self._connection.jetstream()
        with suppress(NotFoundError):
            await js.purge_stream(self._stream, subject=self._subject(key))

    def _subject(self, key: str) -> str:
        return f"$KV.{self._name}.{key}"

    async def _is_there(self, js: JetStreamContext) -> bool:
        try:
            await js.stream_info(self._stream)
        except NotFoundError:
            return False
        return True

    async def _made(self) -> JetStreamContext:
        js = await self._connection.jetstream()
        if self._made_for is not js:
            await self._make(js)
            self._made_for = js
        return js

    async def _make(self, js: JetStreamContext) -> None:
        config = KeyValueConfig(bucket=self._name, history=1, ttl=self._ttl, direct=True)
        try:
            await added(lambda: js.create_key_value(config))
        except BadRequestError as error:
            if error.err_code != IN_USE:
                raise
            there = (await js.stream_info(self._stream)).config
            if there.max_age == self._ttl and there.allow_direct:
                return
            window = min(_DUPLICATE_WINDOW, self._ttl)
            await js.update_stream(
                there, max_age=self._ttl, allow_direct=True, duplicate_window=window
            )


def key_of(text: str) -> str:
    """Give what can be a key for any text: itself, if it can."""
    if _PLAIN.fullmatch(text):
        return text
    return f"={sha256(text.encode(errors='surrogatepass')).hexdigest()}"
