"""The scheduler of an app's tasks, for `taskiq scheduler app:scheduler`."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading

from taskiq import TaskiqScheduler
from taskiq.schedule_sources import LabelScheduleSource

from fastask.program import Program
from fastask.schedules import with_sent_arguments
from fastask.task import Task

__all__ = ["AppScheduler"]

logger: logging.Logger = logging.getLogger("fastask.scheduler")


class AppScheduler(TaskiqScheduler):
    """Taskiq's scheduler with the schedules that tasks carry in their labels.

    Args:
        program: the app and its broker.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program.broker, [_AppSchedules(program)])
        self._program = program

    async def startup(self) -> None:
        """Start the broker, warn when there is nothing to do, and mind SIGTERM.

        Raises:
            BaseException: what the broker's startup raises.
        """
        await super().startup()
        if all(isinstance(source, LabelScheduleSource) for source in self.sources):
            count = sum([len(await source.get_schedules()) for source in self.sources])
            logger.info("scheduler of %s: %d schedules", self._program.reference, count)
            if count == 0:
                logger.warning(
                    "no task of %s has a schedule, so there is nothing to do; "
                    "write @ft.task(cron='0 7 * * *') on one",
                    self._program.reference,
                )
        if self.broker.is_scheduler_process:
            _end_on_sigterm()


class _AppSchedules(LabelScheduleSource):
    """The schedules of all tasks that the app imports."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.broker)
        self._program = program

    async def startup(self) -> None:
        """Import the app, so that its tasks are known, and collect their schedules.

        Raises:
            AppImportError: the app can't be had.
            TaskOptionError: a task can't be called with the arguments of its schedule.
        """
        self._program.reference.load()
        await super().startup()
        for schedule in self.schedules.values():
            task = self.broker.find_task(schedule.task_name)
            if isinstance(task, Task):
                sent = with_sent_arguments(task, schedule.args, schedule.kwargs)
                schedule.args, schedule.kwargs = sent


def _end_on_sigterm() -> None:
    """Have SIGTERM stop the scheduler as Ctrl-C does.

    Taskiq shuts it down when its main task is cancelled, which only SIGINT does (taskiq
    0.13). A container's first process would not even notice SIGTERM.
    """
    main = asyncio.current_task()
    is_free = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if main is None or not is_free:
        return
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda signum, frame: loop.call_soon_threadsafe(main.cancel))
