"""What is installed in a worker process: the lifespan, the check of all tasks, signals."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
from contextlib import suppress

from taskiq import TaskiqEvents, TaskiqMiddleware, TaskiqState

from fastask.brokers.memory import MemoryBroker
from fastask.exceptions import AppImportError, EmbeddedBrokerError, UnresolvableTasksError
from fastask.lifespan import AppLifespan
from fastask.program import Program
from fastask.task import Task

__all__ = ["Worker"]

logger: logging.Logger = logging.getLogger("fastask.worker")

_STOP_TIMEOUT = 5.0  # seconds
_LAST_WORDS = 0.3  # seconds in which the manager logs that it has sent the signal


class Worker:
    """Starts and stops an app in a worker process, by the events of its broker.

    Args:
        program: the app and its broker.
        lifespan: the app's lifespan.
    """

    def __init__(self, program: Program, lifespan: AppLifespan) -> None:
        self._program = program
        self._lifespan = lifespan

    def install(self) -> None:
        """Have the broker's worker events start and stop the app."""
        broker = self._program.broker
        broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, self.start)
        broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, self.stop)
        broker.add_middlewares(_Last(self))

    async def start(self, state: TaskiqState) -> None:
        """Start the app.

        An app that can't be had stops the worker for good, since a restart would not
        help: one error ends the log.

        Raises:
            BaseException: what the lifespan's startup raises.
        """
        if not self._program.broker.is_worker_process:
            return  # a broker that runs in the web process sends this event too
        if self._lifespan.is_running:
            return  # a lifespan that starts the broker itself comes here again
        _wake_loop_on_signals()
        try:
            if isinstance(self._program.broker, MemoryBroker):
                raise EmbeddedBrokerError
            await self._lifespan.enter()
        except (AppImportError, EmbeddedBrokerError) as error:
            await self._give_up(error)
            raise

    async def check(self) -> None:
        """Compile all tasks, when everybody who starts with the worker has started.

        Raises:
            UnresolvableTasksError: a task asks for what it can't be given; it stops the
                worker for good.
        """
        if not self._program.broker.is_worker_process:
            return
        try:
            count = self._compile()
        except UnresolvableTasksError as error:
            await self._give_up(error)
            raise
        logger.info(
            "%d tasks of %s compiled; broker %s",
            count,
            self._program.reference,
            type(self._program.broker).__name__,
        )

    async def stop(self, state: TaskiqState) -> None:
        """Stop the app.

        Raises:
            BaseException: what the lifespan's shutdown raises.
        """
        await self._lifespan.leave()

    def _compile(self) -> int:
        tasks = [
            task for task in self._program.broker.get_all_tasks().values() if isinstance(task, Task)
        ]
        problems: list[str] = []
        for task in tasks:
            try:
                task.compile()
            except UnresolvableTasksError as error:
                problems.extend(error.problems)
        if problems:
            raise UnresolvableTasksError(problems)
        return len(tasks)

    async def _give_up(self, error: Exception) -> None:
        """End this process and Taskiq's process manager, which would start it again for ever.

        The manager is told to stop as by a user's SIGTERM, and answers with a SIGINT to
        its workers; after that the error is the last line of the log. Where no manager is
        there, as in `run_receiver_task`, the error goes to the caller.
        """
        manager = multiprocessing.parent_process()
        is_managed = multiprocessing.current_process().name.startswith("worker-")
        if manager is None or manager.pid is None or not is_managed:
            return
        answered = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, answered.set)
        with suppress(ProcessLookupError):
            os.kill(manager.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(answered.wait(), _STOP_TIMEOUT)
            await asyncio.sleep(_LAST_WORDS)
        with suppress(Exception):
            await asyncio.wait_for(self._program.broker.shutdown(), _STOP_TIMEOUT)
        logger.critical("%s", error)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(1)


class _Last(TaskiqMiddleware):
    """Comes after all handlers of a start; they may add to the dependency context."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    async def startup(self) -> None:
        """Check the tasks."""
        await self._worker.check()


def _wake_loop_on_signals() -> None:
    """Make the event loop notice signals at once.

    Taskiq's handler sets an event but does not wake the loop, which then sees it only
    when something else happens (taskiq 0.13). A handler of the loop's own, for a signal
    that nobody sends, gives the loop a wake-up descriptor that every signal writes to.
    """
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGURG, lambda: None)
