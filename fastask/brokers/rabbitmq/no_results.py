"""What stands for a result backend where no results are kept."""

from __future__ import annotations

from typing import Any

from taskiq import AsyncResultBackend, TaskiqResult

from fastask.exceptions import NoResultsError

__all__ = ["NoResults"]


class NoResults(AsyncResultBackend[Any]):
    """Drops results, and says so to who asks for one; Taskiq's own dummy gives `None`.

    Args:
        scheme: the broker's URL scheme.
    """

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Drop a result."""

    async def is_result_ready(self, task_id: str) -> bool:
        """Refuse to tell.

        Raises:
            NoResultsError: always.
        """
        raise NoResultsError(self._scheme)

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[Any]:  # noqa: FBT001, FBT002, RUF100 - Taskiq's signature
        """Refuse to give a result.

        Raises:
            NoResultsError: always.
        """
        raise NoResultsError(self._scheme)
