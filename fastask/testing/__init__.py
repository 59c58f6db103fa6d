"""Tests of an app and its tasks, in memory."""

from fastask.testing.context import Testing
from fastask.testing.record import SentTask
from fastask.testing.tasks import AsyncTasks, Tasks

__all__ = ["AsyncTasks", "SentTask", "Tasks", "Testing"]
