"""A NATS server of a test's own, which can be stopped, wiped and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from taskiq import BrokerMessage

from fastask.brokers import broker_from
from fastask.brokers.inbox import Taken
from fastask.brokers.nats import JetStreamBroker
from tests.integration.processes import ended, free_port, wait_until

__all__ = ["WAIT", "NatsServer", "client", "made", "message", "nats_server", "taken", "texts", "up"]

WAIT = 15.0  # seconds, at most
_ASKED = b'CONNECT {"verbose":false%s}\r\nSUB in 1\r\nPUB $JS.API.INFO in 0\r\n\r\n'


class NatsServer:
    """One server with JetStream, whose data is in files.

    Args:
        folder: for its data and its log.
        binary: the program.
        lines: more of its configuration.

    Attributes:
        port: the port.
        url: where it answers, without a query.
    """

    def __init__(self, folder: Path, binary: str, *lines: str) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.login = b""  # what tells whether it answers
        self._folder = folder
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        store = f'jetstream {{ store_dir: "{folder / "store"}", max_file_store: 4GB }}'
        config = [f"listen: 127.0.0.1:{self.port}", store, *lines]
        (folder / "nats.conf").write_text("\n".join(config))

    def start(self) -> None:
        command = [self._binary, "-c", str(self._folder / "nats.conf")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, "nats-server does not answer")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)  # a test has failed while it was frozen
            ended(process)

    def freeze(self) -> None:
        """Keep it from running, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # until it has stopped

    def thaw(self) -> None:
        """Let it run on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose all data; the server must be stopped."""
        shutil.rmtree(self._folder / "store")

    def _answers(self) -> bool:
        got = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(_ASKED % self.login)
                while b"MSG in" not in got:
                    if not (more := connection.recv(4096)):
                        return False
                    got += more
        except OSError:
            return False
        return True


@contextmanager
def nats_server(folder: Path, *lines: str, login: bytes = b"") -> Iterator[NatsServer]:
    """Start a server, and end it; skip where the machine has none, or fail if it must."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    binary = shutil.which("nats-server", path=path)
    if binary is None:
        reason = "nats-server is not on this machine; install it to run these tests"
        if os.environ.get("FASTASK_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    server = NatsServer(folder, binary, *lines)
    server.login = login
    try:
        server.start()
        yield server
    finally:
        server.stop()


def made(url: str, queue: str, *, is_worker: bool = True, **query: Any) -> JetStreamBroker:
    """A broker as a worker has it, or as a web process has it; not started."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    broker = broker_from(f"{url}?queue={queue}{more}")
    assert isinstance(broker, JetStreamBroker)
    broker.is_worker_process = is_worker
    return broker


@asynccontextmanager
async def up(*brokers: Any) -> AsyncGenerator[None, None]:
    started: list[Any] = []
    try:
        for broker in brokers:
            await broker.startup()
            started.append(broker)
        yield
    finally:
        for broker in started:
            await broker.shutdown()


@asynccontextmanager
async def client(server: NatsServer) -> AsyncGenerator[Client, None]:
    """A client of the test's own."""
    own = await nats.connect(server.url)
    try:
        yield own
    finally:
        await own.close()


def message(text: str, task_id: str = "id", **labels: Any) -> BrokerMessage:
    return BrokerMessage(task_id=task_id, task_name="a:b", message=text.encode(), labels=labels)


async def taken(broker: JetStreamBroker, count: int = 1, most: int = 100) -> list[Taken]:
    """Take until `count` have come."""
    found: list[Taken] = []
    async with asyncio.timeout(WAIT):
        while len(found) < count:
            found += await broker.take(min(most, count - len(found)))
    return found


def texts(found: Sequence[Taken]) -> list[str]:
    return sorted(each.data.decode() for each in found)
