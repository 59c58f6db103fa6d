"""The scheduler of an app's tasks, for `taskiq scheduler app:scheduler`."""

from __future__ import annotations

from taskiq import TaskiqScheduler
from taskiq.schedule_sources import LabelScheduleSource

from fastask.program import Program

__all__ = ["AppScheduler"]


class AppScheduler(TaskiqScheduler):
    """Taskiq's scheduler with the schedules that tasks carry in their labels.

    Args:
        program: the app and its broker.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program.broker, [_AppSchedules(program)])


class _AppSchedules(LabelScheduleSource):
    """The schedules of all tasks that the app imports."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.broker)
        self._program = program

    async def startup(self) -> None:
        """Import the app, so that its tasks are known, and collect their schedules.

        Raises:
            AppImportError: the app can't be had.
        """
        self._program.reference.load()
        await super().startup()
