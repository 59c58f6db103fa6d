"""Servers for the tests: each session starts its own and ends it."""

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import ended, free_port, wait_until

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of the session's own; skipped where the machine has none."""
    binary = shutil.which("redis-server")
    if binary is None:
        reason = "redis-server is not on this machine; install it to run these tests"
        if os.environ.get("FASTASK_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    command = [
        binary,
        "--port",
        str(port),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(port), "redis-server does not answer")
        yield f"redis://127.0.0.1:{port}"
    finally:
        ended(server)


@pytest.fixture
def queue() -> str:
    """A name that no other test uses."""
    return f"test_{uuid.uuid4().hex}"


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
