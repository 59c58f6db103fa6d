"""Workers and clients: started, watched, ended by their pid; and what CPU time they took."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks.throughput.contestants import PROGRAMS

READY, STOP = 60.0, 15.0  # seconds for a start and for an end
_QUIET, _QUIET_NS = 0.1, 4_000_000  # seconds, and nanoseconds of CPU time within them


class FailedError(Exception):
    """A contestant does not do what it should."""


class Program:
    """A process with a session of its own, whose log is kept for messages."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - as long as it
        self.process = subprocess.Popen(
            command,
            cwd=PROGRAMS,
            env={**os.environ, "PYTHONPATH": str(PROGRAMS), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if "sending.py" in command[1] else self._log,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP)
        self._log.close()

    @property
    def last_words(self) -> str:
        """The end of its log."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return lines[-1] if lines else "it said nothing"

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def cpu(self) -> int:
        """Nanoseconds of CPU time that it and its children have taken."""
        return sum(cpu_of(pid) for pid in pids_of(self.process.pid))

    def cpu_when_quiet(self) -> int:
        """The same, as soon as it has nothing more to do."""
        taken = self.cpu()
        give_up = time.monotonic() + STOP
        while time.monotonic() < give_up:
            time.sleep(_QUIET)  # there is nothing that would tell
            before, taken = taken, self.cpu()
            if taken - before < _QUIET_NS:
                return taken
        raise FailedError("its worker is still busy after the last task")


class Client(Program):
    """A client, which enqueues on demand."""

    def __init__(self, python: Path, program: str, environment: dict[str, str]) -> None:
        super().__init__([str(python), "sending.py", program], environment)
        try:
            self.version: str = self._answer(READY)["version"]
        except BaseException:
            self.__exit__()
            raise

    def enqueue(self, count: int) -> dict[str, float]:
        """Enqueue tasks; see `sending.py` for what is told."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return self._answer(limit(count))

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise FailedError(f"its client did not answer within {timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(STOP)
            raise FailedError(self.last_words)
        told: dict[str, Any] = json.loads(line)
        return told


class Mark(NamedTuple):
    """A worker has run a number of tasks: when, and in which process."""

    moment: float
    pid: int


class Ear:
    """Hears from workers how many tasks they have run."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(1.0)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def heard(self, mark: int, worker: Program, timeout: float) -> Mark:
        """Wait until a worker has run so many tasks."""
        give_up = time.monotonic() + timeout
        while time.monotonic() < give_up:
            with contextlib.suppress(TimeoutError):
                number, moment, pid = self._socket.recv(100).split()
                if int(number) == mark:
                    return Mark(float(moment), int(pid))
            if worker.has_ended:
                raise FailedError(f"its worker has ended: {worker.last_words}")
        raise FailedError(f"{mark} tasks were not run within {timeout:.0f} s; {worker.last_words}")


def limit(count: int) -> float:
    """Seconds that so many tasks may take."""
    return READY + count * 0.05


def pids_of(session: int) -> Iterator[int]:
    """The processes of a session."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # After the name, which may have spaces: state, parent, group, session.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    yield int(folder.name)


def cpu_of(pid: int) -> int:
    """Nanoseconds of CPU time of a process: what /proc/PID/stat has in ticks of 10 ms."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it
    except OSError:  # it has ended meanwhile
        return 0
