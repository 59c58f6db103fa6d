"""Taskiq's process manager, seen from one of its workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from typing import Any, NamedTuple

from taskiq.cli.worker.args import WorkerArgs

__all__ = ["Manager"]


class Manager(NamedTuple):
    """The process that has started this one, and would start it again.

    Attributes:
        pid: its process id.
        args: the options of `taskiq worker`.
    """

    pid: int
    args: WorkerArgs

    @classmethod
    def of_this_process(cls) -> Manager | None:
        """Give the manager; `None` where a receiver runs in a process of the user's."""
        parent, current = multiprocessing.parent_process(), multiprocessing.current_process()
        if parent is None or parent.pid is None or not current.name.startswith("worker-"):
            return None
        # What the process was started with is private (CPython 3.8 to 3.14); without it,
        # Taskiq's defaults are assumed.
        given: Any = getattr(current, "_kwargs", {}).get("args")
        return cls(parent.pid, given if isinstance(given, WorkerArgs) else WorkerArgs("", []))

    def stop(self) -> None:
        """Have it end all its workers, as a user's SIGTERM does."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def fail(self) -> None:
        """End it with a status that is not 0, which it has no way to be asked for.

        It has told its workers to stop and would return 0 when they have ended (taskiq
        0.13). The kernel does not let a container's first process be ended like this.
        """
        if hasattr(signal, "SIGUSR1"):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR1)
