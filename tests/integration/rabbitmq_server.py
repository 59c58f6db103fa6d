"""A RabbitMQ of a test's own, which can be stopped, killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import ended, free_port, wait_until

__all__ = ["RabbitServer", "rabbitmq"]

_START_TIMEOUT = 90.0  # seconds; an Erlang node takes several, more on a loaded machine
_STOP_TIMEOUT = 30.0
# Not what is on the path: Debian's wrapper there wants to be root, and becomes another user.
_BINARIES = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/sbin/rabbitmq-server",
    "rabbitmq-server",
)
_EPMD = ("epmd", "/usr/lib/erlang/bin/epmd", "/usr/local/lib/erlang/bin/epmd")
_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitServer:
    """One node, with the port mapper that Erlang wants: both are children of this process.

    Attributes:
        url: where it answers, without a query.
        port: the port.
    """

    def __init__(self, folder: Path, binary: str, epmd: str) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}"
        self._folder = folder
        self._binary = binary
        self._epmd = epmd
        self._mapper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        mapper_port = free_port()
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text("vm_memory_high_watermark.absolute = 2GB\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # the cookie is made there
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"own{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            # Two schedulers, which do not spin: other tests run beside it.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none -start_epmd false",
        }

    def start(self) -> None:
        """Start it with what it had kept, and wait until it answers."""
        if self._mapper is None:
            self._mapper = self._started(
                self._epmd, "-port", self._environment["ERL_EPMD_PORT"], "-address", "127.0.0.1"
            )
        self._process = self._started(self._binary)
        wait_until(self._answers, f"RabbitMQ does not answer; see {self._folder}", _START_TIMEOUT)

    def stop(self) -> None:
        """Stop it in order."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT)
            self.kill()

    def kill(self) -> None:
        """End it as a crash would: `kill -9` of the node."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP_TIMEOUT)
            wait_until(lambda: not self._answers(), "RabbitMQ is still there", _STOP_TIMEOUT)

    def close(self) -> None:
        """End all that was started."""
        self.kill()
        mapper, self._mapper = self._mapper, None
        if mapper is not None:
            ended(mapper)

    def _started(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            output = (self._folder / "output").read_text(errors="replace")
            raise AssertionError(f"RabbitMQ has ended:\n{output[-4000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(_HEADER)
                return connection.recv(1) == b"\x01"  # a method: `connection.start`
        except OSError:
            return False


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitServer]:
    """Run a RabbitMQ whose files are in `folder`; skip where the machine has none."""
    binary, epmd = _first(_BINARIES), _first(_EPMD)
    if binary is None or epmd is None:
        reason = "rabbitmq-server is not on this machine; install it to run these tests"
        if os.environ.get("FASTASK_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    server = RabbitServer(folder, binary, epmd)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _first(names: tuple[str, ...]) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)
