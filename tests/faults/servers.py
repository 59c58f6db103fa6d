"""Servers of brokers that tests stop, kill and start again.

Each has a port of its own and keeps what it has in a folder, as a server in production does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aio_pika
import nats
import pytest
from redis import Redis

from tests.integration import rabbitmq_server
from tests.integration.processes import ended, free_port, wait_until

__all__ = ["KINDS", "NatsServer", "ProcessServer", "RedisServer", "Server", "made", "program"]

KINDS = ("sqlite", "redis", "nats", "amqp")


class Server(ABC):
    """What the rows of the table do to the server behind a URL."""

    kind: str
    is_running = False

    def url(self, **query: object) -> str:
        """Give a URL with these settings."""
        return f"{self.address}?{urlencode(query)}"

    @property
    @abstractmethod
    def address(self) -> str:
        """The URL without settings."""

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order, and wait until it is gone."""

    @abstractmethod
    def kill(self) -> None:
        """End it with SIGKILL."""

    @abstractmethod
    def dead_letters(self, queue: str) -> int:
        """Count what a queue has given up."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all that was started."""
        if self.is_running:
            self.stop()


class ProcessServer(Server):
    """A server that is one program.

    Args:
        folder: for its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.kind}://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        self.is_running = True
        wait_until(self._answers, f"the {self.kind} server does not answer")

    def stop(self) -> None:
        assert self._process is not None
        ended(self._process)
        self.is_running = False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self.is_running = False

    def freeze(self) -> None:
        """Keep it from running, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # until it has stopped

    def thaw(self) -> None:
        """Let it run on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _answer(self, question: bytes) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(question)
                return connection.recv(1024)
        except OSError:
            return b""


class RedisServer(ProcessServer):
    """Redis that keeps its data: with an AOF, synced after each command."""

    kind = "redis"

    def _command(self) -> list[str]:
        options = {"port": self.port, "dir": self.folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [program("redis-server"), *words]

    def dead_letters(self, queue: str) -> int:
        with Redis.from_url(self.address) as redis:
            length: Any = redis.xlen(f"{queue}/dead")
            return int(length)

    def _answers(self) -> bool:
        return self._answer(b"PING\r\n").startswith(b"+PONG")


class NatsServer(ProcessServer):
    """NATS with JetStream.

    Args:
        folder: for its data and its log.
        max_payload: how long a message may be; the server's own default is 1 MiB.
    """

    kind = "nats"

    def __init__(self, folder: Path, max_payload: str = "64MB") -> None:
        super().__init__(folder)
        self._max_payload = max_payload

    def _command(self) -> list[str]:
        store = self.folder / "store"
        lines = [
            f"listen: 127.0.0.1:{self.port}",
            f"max_payload: {self._max_payload}",
            f'jetstream {{ store_dir: "{store}", max_file_store: 8GB }}',
        ]
        config = self.folder / "nats.conf"
        config.write_text("\n".join(lines))
        return [program("nats-server"), "-c", str(config)]

    def dead_letters(self, queue: str) -> int:
        return asyncio.run(self._dead_letters(queue))

    async def _dead_letters(self, queue: str) -> int:
        connection = await nats.connect(self.address)
        try:
            found = await connection.jetstream().stream_info(f"{queue}=dead")
            return found.state.messages
        finally:
            await connection.close()

    def _answers(self) -> bool:
        return self._answer(b"").startswith(b"INFO") and self._has_jetstream()

    def _has_jetstream(self) -> bool:
        asked = b'CONNECT {"verbose":false}\r\nSUB in 1\r\nPUB $JS.API.INFO in 0\r\n\r\n'
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(asked)
                got = b""
                while b"MSG in" not in got:
                    if not (more := connection.recv(4096)):
                        return False
                    got += more
        except OSError:
            return False
        return True


class RabbitServer(Server):
    """RabbitMQ, which takes some seconds to start.

    Args:
        folder: for its data and its log.
    """

    kind = "amqp"

    def __init__(self, folder: Path) -> None:
        self._node = rabbitmq_server.rabbitmq(folder)
        self._server: rabbitmq_server.RabbitServer | None = None

    @property
    def address(self) -> str:
        return self._entered().url

    def start(self) -> None:
        if self._server is None:
            self._server = self._node.__enter__()
        else:
            self._server.start()
        self.is_running = True

    def stop(self) -> None:
        self._entered().stop()
        self.is_running = False

    def kill(self) -> None:
        self._entered().kill()
        self.is_running = False

    def close(self) -> None:
        if self._server is not None:
            self._node.__exit__(None, None, None)
        self.is_running = False

    def _entered(self) -> rabbitmq_server.RabbitServer:
        assert self._server is not None, "start it first"
        return self._server

    def dead_letters(self, queue: str) -> int:
        return asyncio.run(self._dead_letters(queue))

    async def _dead_letters(self, queue: str) -> int:
        connection = await aio_pika.connect(self.address)
        async with connection, connection.channel() as channel:
            found = await channel.declare_queue(f"{queue}.dead_letter", passive=True)
            return found.declaration_result.message_count or 0


class SqliteFile(Server):
    """A file. It has no server, but it is as good as gone while another program locks it.

    Args:
        folder: where the file is.
    """

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tasks.db"
        self._lock: sqlite3.Connection | None = None

    @property
    def address(self) -> str:
        return f"sqlite:///{self._file}"

    def start(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self.is_running = True

    def stop(self) -> None:
        self._lock = sqlite3.connect(self._file, isolation_level=None, timeout=30)
        self._lock.execute("BEGIN EXCLUSIVE")
        self.is_running = False

    def kill(self) -> None:
        self.stop()

    def close(self) -> None:
        self.start()
        self.is_running = False

    def dead_letters(self, queue: str) -> int:
        dead = "SELECT count(*) FROM messages WHERE queue = ? AND state = 3"
        with closing(sqlite3.connect(self._file)) as connection:
            return int(connection.execute(dead, (queue,)).fetchone()[0])


def made(kind: str, folder: Path) -> Server:
    """Make the server of a kind; it is not started yet."""
    classes: dict[str, Any] = {
        "sqlite": SqliteFile,
        "redis": RedisServer,
        "nats": NatsServer,
        "amqp": RabbitServer,
    }
    server: Server = classes[kind](folder)
    return server


def program(name: str) -> str:
    """Find a server's program; without it the test is skipped, or fails if it must not."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if found := shutil.which(name, path=path):
        return found
    reason = f"{name} is not on this machine; install it to run these tests"
    if os.environ.get("FASTASK_REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)
