"""The app of a worker: its lifespan, the check of all tasks, unknown tasks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq import InMemoryBroker
from taskiq.brokers.inmemory_broker import InmemoryResultBackend

from fastask.brokers.memory import MemoryBroker
from fastask.exceptions import EmbeddedBrokerError, UnresolvableTasksError
from fastask.failures import FailureMiddleware
from fastask.lifespan import AppLifespan
from fastask.program import Program
from fastask.task import Task
from fastask.unwinding import Unwinding
from fastask.worker.logs import ShortRecords
from fastask.worker.report import described
from fastask.worker.supervision import Supervision

__all__ = ["Worker"]

logger: logging.Logger = logging.getLogger("fastask.worker")


class Worker:
    """Starts and stops an app with its broker, in a worker process.

    Args:
        program: the app and its broker.
        lifespan: the app's lifespan.
    """

    def __init__(self, program: Program, lifespan: AppLifespan) -> None:
        self._program = program
        self._lifespan = lifespan

    def install(self) -> None:
        """Have the app started when Taskiq starts the broker of a worker."""
        ShortRecords.install()  # here, since clients log what they send, too
        lifecycle, broker = self._program.lifecycle, self._program.broker
        is_stored = not isinstance(broker.result_backend, InmemoryResultBackend)
        if isinstance(broker, InMemoryBroker) and is_stored:  # it needs no worker
            FailureMiddleware.install(broker)
        if lifecycle.supervisor is None:
            lifecycle.supervisor = Supervision(broker, lifecycle)
        lifecycle.serve(f"shutdown of {self._program.reference}", self._running)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Keep the app up.

        Raises:
            AppImportError: the app can't be had.
            EmbeddedBrokerError: the broker runs its tasks in the web process.
            UnresolvableTasksError: a task asks for what it can't be given.
            BaseException: what the lifespan raises.
        """
        if isinstance(self._program.broker, MemoryBroker):
            raise EmbeddedBrokerError
        async with Unwinding() as unwinding:
            owner = await unwinding.enter("shutdown of the lifespan", self._lifespan.entered())
            # Last, since whoever starts before may add to the dependency context.
            self._compile()
            self._tell()
            supervisor = self._program.lifecycle.supervisor
            if owner is not None and supervisor is not None:
                owner.watch(supervisor.crashed)
            yield

    def _compile(self) -> None:
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

    def _tell(self) -> None:
        every = self._program.broker.get_all_tasks()
        logger.info(
            "worker of %s: %d tasks, %s",
            self._program.reference,
            len(every),
            described(self._program.broker),
        )
        for name in sorted(every):
            logger.debug("task %s", name)
