"""Taskiq's process manager and its other workers, seen from one of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from taskiq.cli.worker.args import WorkerArgs

__all__ = ["Manager"]

_FAILED = "fastask failed"  # at most 15 characters, as the kernel keeps them
_PYTHONS = (b"resource_tracker", b"forkserver")  # children that live as long as the manager


class Manager(NamedTuple):
    """The process that has started this one, and would start it again.

    Attributes:
        pid: its process id.
        parent: the process id of this process's parent, the manager's own unless Python
            starts processes through a server.
        number: the number of this worker, from 0.
        args: the options of `taskiq worker`.
    """

    pid: int
    parent: int
    number: int
    args: WorkerArgs

    @classmethod
    def of_this_process(cls) -> Manager | None:
        """Give the manager; `None` where a receiver runs in a process of the user's."""
        parent, current = multiprocessing.parent_process(), multiprocessing.current_process()
        # What the process was started with is private (CPython 3.8 to 3.14).
        args: Any = getattr(current, "_kwargs", {}).get("args")
        if parent is None or parent.pid is None or args is None:
            return None
        # Only a worker needs it, and it loads argparse, which no web process should wait for.
        from taskiq.cli.worker.args import WorkerArgs  # noqa: PLC0415

        if not isinstance(args, WorkerArgs):
            return None
        return cls(parent.pid, os.getppid(), int(current.name.rpartition("-")[2]), args)

    @property
    def is_gone(self) -> bool:
        """Whether it has died and left this process to another parent."""
        return os.getppid() != self.parent

    def stop(self) -> None:
        """Have it end all its workers, as a user's SIGTERM does.

        A second signal, while it handles the first, can halt it for ever (taskiq 0.13): its
        handler takes a lock that is not reentrant.
        """
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def mark_failed(self) -> None:
        """Tell the other workers not to wait for this one, where the system has a place for it."""
        with suppress(OSError):
            Path("/proc/self/comm").write_text(_FAILED)

    def others(self) -> list[int]:
        """Give the ids of the other workers that run and have not failed; none without /proc."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return []
        return [pid for pid in map(int, children) if pid != os.getpid() and _is_at_work(pid)]

    def fail(self) -> None:
        """End it with a status that is not 0, which it has no way to be asked for.

        It has told its workers to stop and would return 0 when they have ended (taskiq
        0.13). The kernel does not let a container's first process be ended like this.
        """
        if hasattr(signal, "SIGUSR1"):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR1)


def _is_at_work(pid: int) -> bool:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    is_pythons = any(name in command for name in _PYTHONS)
    return not is_pythons and name != _FAILED and not rest.startswith(" Z")
