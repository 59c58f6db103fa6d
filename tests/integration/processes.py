"""Real processes in tests: started, watched by their log, ended by pid."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

DEADLINE = 30.0  # seconds for whatever is waited for; generous, for loaded machines
BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]


class Process:
    """A program whose output is collected line by line."""

    def __init__(self, *command: str | Path, cwd: Path = REPOSITORY, **environment: str) -> None:
        self.command = [str(part) for part in command]
        self.cwd = cwd
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self.command,
            cwd=self.cwd,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self.process
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children that outlived it
        process.wait(DEADLINE)
        assert self._reader is not None
        self._reader.join(DEADLINE)
        if process.stdout is not None:
            process.stdout.close()

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The running program."""
        assert self._process is not None, "enter it first"
        return self._process

    @property
    def log(self) -> str:
        """All output so far."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, count: int = 1) -> None:
        """Wait until `count` lines match."""
        give_up = time.monotonic() + DEADLINE
        with self._news:
            while sum(bool(re.search(pattern, line)) for line in self.lines) < count:
                left = give_up - time.monotonic()
                if left <= 0 or self._is_over():
                    raise AssertionError(f"no line {pattern!r} in the log:\n{self.log}")
                self._news.wait(min(left, 0.5))

    def send(self, signum: int) -> None:
        """Send a signal to the program itself."""
        self.process.send_signal(signum)

    def wait(self, timeout: float = DEADLINE) -> int:
        """Wait for the end and give the exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s:\n{self.log}") from None
        assert self._reader is not None
        self._reader.join(DEADLINE)
        return status

    def _is_over(self) -> bool:
        assert self._reader is not None
        return self.process.poll() is not None and not self._reader.is_alive()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()


def worker(path: str, *options: str, **more: Any) -> Process:
    """`taskiq worker` for a broker."""
    return Process(BIN / "taskiq", "worker", path, *options, **more)


def server(path: str, port: int, *options: str, **more: Any) -> Process:
    """`uvicorn` for an app."""
    return Process(BIN / "python", "-m", "uvicorn", path, "--port", str(port), *options, **more)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(look: Callable[[], T], complaint: str, timeout: float = DEADLINE) -> T:
    """Ask again and again, for what can't tell by itself."""
    give_up = time.monotonic() + timeout
    while time.monotonic() < give_up:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{complaint} within {timeout} s")


def ended(process: "subprocess.Popen[Any]") -> None:
    """End a process and wait for it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def call(url: str, body: Any = None) -> tuple[int, Any]:
    """Send a request over HTTP; 0 while nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except (urllib.error.URLError, ConnectionError):  # the latter from a server that just ends
        return 0, None


def found(url: str) -> Any:
    """Wait until something is there, and give it."""

    def look() -> Any:
        answer = call(url)
        return answer if answer[0] == 200 else None

    answer: tuple[int, Any] = wait_until(look, f"nothing is at {url}")
    return answer[1]


def wait_for_server(url: str) -> None:
    wait_until(lambda: call(f"{url}/openapi.json")[0] == 200, f"{url} does not answer")
