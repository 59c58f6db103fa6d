"""What the rows of the table are written with: workers, a client, a journal of what ran."""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.faults.servers import Server
from tests.integration.processes import REPOSITORY, Process, ended, wait_until, worker

__all__ = [
    "LISTENING",
    "LONG",
    "PATIENCE",
    "SLACK",
    "Answer",
    "Bench",
    "Client",
    "Journal",
    "Line",
    "kill_all",
    "rss_peak",
    "wait_while",
]

LISTENING = "Listening started"
"""What a worker process logs when it is up."""

PATIENCE = float(os.environ.get("FASTASK_PATIENCE", "1"))
"""What the bounds of the table are multiplied with, for loaded machines."""

SLACK = 5.0 * PATIENCE
"""Seconds within which what is due has come."""

LONG = "FASTASK_LONG_FAULTS" in os.environ
"""Whether idle time and outages are as long as the table says."""

_GENEROUS = 60.0 * PATIENCE  # seconds for what is no promise of a broker


class Line(NamedTuple):
    """A line of the journal."""

    word: str
    key: str
    pid: int


class Journal:
    """What the workers have written of the tasks that they run.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[Line] = []
        self._read = 0  # bytes; each write is one whole line

    def lines(self) -> list[Line]:
        """Give all lines so far."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                new, newline, _ = file.read().rpartition(b"\n")  # what follows is being written
            self._read += len(new + newline)
            for each in new.decode().splitlines():
                word, key, pid = each.split()
                self._lines.append(Line(word, key, int(pid)))
        return self._lines

    def counted(self, word: str, prefix: str = "") -> Counter[str]:
        """Count the lines of each key that starts with a prefix."""
        return Counter(
            line.key for line in self.lines() if line.word == word and line.key.startswith(prefix)
        )

    def pids(self, word: str, prefix: str = "") -> set[int]:
        """Give the processes that have written such lines."""
        found = self.lines()
        return {each.pid for each in found if each.word == word and each.key.startswith(prefix)}

    def wait(self, word: str, keys: Iterable[str], timeout: float = _GENEROUS) -> None:
        """Wait until there is a line for each key.

        Raises:
            AssertionError: not all are there in time.
        """
        wanted = set(keys)
        with suppress(AssertionError):
            wait_until(lambda: wanted <= set(self.counted(word)), "", timeout)
        missing = sorted(wanted - set(self.counted(word)))
        some = ", ".join(missing[:5])
        assert not missing, f"no {word!r} of {len(missing)} within {timeout:g} s, such as {some}"

    def wait_for_any(self, word: str, prefix: str, count: int, timeout: float = _GENEROUS) -> None:
        """Wait until so many keys have a line."""
        complaint = f"fewer than {count} {word!r} of {prefix!r}"
        wait_until(lambda: len(self.counted(word, prefix)) >= count, complaint, timeout)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step of the client has given.

    Attributes:
        value: what it returned.
        error: what it raised, as `Class: words`.
        seconds: how long it took.
    """

    value: Any
    error: str | None
    seconds: float


class Client:
    """A program that sends tasks: `tests.faults.client` in a process of its own.

    Args:
        log: a file for what it logs.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._numbers = itertools.count()
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.client"],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
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
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        ended(self._process)
        self._reader.join(_GENEROUS)
        self._process.stdout.close()

    def begin(self, do: str, **more: Any) -> int:
        """Have a step begun, and give its number."""
        number = next(self._numbers)
        self._answers[number] = queue.Queue()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": number, "do": do, **more}) + "\n")
        self._process.stdin.flush()
        return number

    def finish(self, number: int, timeout: float = 2 * _GENEROUS) -> Answer:
        """Wait for the end of a step."""
        try:
            got = self._answers[number].get(timeout=timeout)
        except queue.Empty:
            words = self._log.read_text()[-3000:]
            said = f"no answer within {timeout:g} s; the client says:\n{words}"
            raise AssertionError(said) from None
        del self._answers[number]
        return Answer(got["value"], got["error"], got["seconds"])

    def ask(self, do: str, **more: Any) -> Answer:
        """Have a step done, and wait for it."""
        return self.finish(self.begin(do, **more))

    def tell(self, do: str, **more: Any) -> Any:
        """Have a step done that must not fail, and give what it returned."""
        answer = self.ask(do, **more)
        assert answer.error is None, f"{do} failed: {answer.error}"
        return answer.value

    def log(self) -> str:
        """Give what it has logged so far."""
        return self._log.read_text()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._answers[answer["number"]].put(answer)


class Bench:
    """One test: a queue of its own on a server, what is sent to it, who works on it.

    Args:
        server: the broker's.
        client: sends the tasks.
        folder: for the journal.
        queue: its name.
        url: the broker's URL, with its settings.
        results: the URL of what keeps results, if not the broker's server.
    """

    def __init__(
        self,
        server: Server,
        client: Client,
        folder: Path,
        queue: str,
        url: str,
        results: str | None,
    ) -> None:
        self.server = server
        self.queue = queue
        self.kind = server.kind
        self.client = client
        self.folder = folder
        self.url = url
        self.results = results
        self.journal = Journal(folder / "journal")
        self.workers: list[Process] = []

    def worker(self, *options: str, program: str = "program", **environment: str) -> Process:
        """`taskiq worker` for the queue; one process unless told otherwise."""
        options = options if "--workers" in options else ("--workers", "1", *options)
        environment = {"FAULTS_URL": self.url, "FAULTS_JOURNAL": str(self.journal.path)} | (
            environment
        )
        if self.results is not None:
            environment["FAULTS_RESULTS"] = self.results
        started = worker(f"tests.faults.{program}:broker", *options, **environment)
        self.workers.append(started)
        return started

    def open(self) -> None:
        """Have the client connect."""
        self.client.tell("open", url=self.url, results=self.results)

    def send(self, task: str, calls: list[list[Any]], **more: Any) -> list[str]:
        """Send a task once for each list of arguments, and give the ids."""
        ids: list[str] = self.client.tell("send", url=self.url, task=task, calls=calls, **more)
        return ids

    def send_keys(self, task: str, prefix: str, count: int, *args: Any) -> list[str]:
        """Send a task so many times, and give the keys, by which the journal knows them."""
        keys = [f"{prefix}-{number}" for number in range(count)]
        self.send(task, [[key, *args] for key in keys])
        return keys

    def result(self, task: str, task_id: str, timeout: float = _GENEROUS) -> Answer:
        """Wait for a result, as the client sees it."""
        more = {"task": task, "task_id": task_id, "timeout": timeout}
        return self.client.ask("result", url=self.url, **more)

    def send_until_taken(self, task: str, *args: Any, **more: Any) -> None:
        """Send a task again and again, until a server that was away takes it."""

        def is_taken() -> bool:
            asked = {"url": self.url, "task": task, "calls": [list(args)], **more}
            return self.client.ask("send", **asked).error is None

        wait_until(is_taken, f"{self.kind} takes nothing", _GENEROUS)

    def open_gate(self) -> None:
        """Let the tasks go on that wait for each other."""
        (self.folder / "gate").touch()

    def repeated(self, prefix: str = "") -> list[str]:
        """Give the keys that were started more than once."""
        return [key for key, count in self.journal.counted("start", prefix).items() if count > 1]


def kill_all(process: Process) -> None:
    """Kill a worker with its manager, as the end of a machine does."""
    os.killpg(process.process.pid, signal.SIGKILL)
    process.wait()


def wait_while(process: Process, seconds: float) -> None:
    """Let time pass, for what must not happen in it; end at once if the worker ends."""
    with suppress(subprocess.TimeoutExpired):
        process.process.wait(seconds)
    assert process.process.poll() is None, f"the worker has ended:\n{process.log}"


def rss_peak(pid: int) -> int:
    """Give the most memory that a process has had so far, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no VmHWM")
