"""fastask: a FastAPI app and its Taskiq worker as one program."""

from fastask.app import FastTask
from fastask.exceptions import (
    AppImportError,
    BrokerURLError,
    DependencyError,
    DuplicateTaskError,
    EmbeddedBrokerError,
    FastaskError,
    InvalidArgumentsError,
    InvalidResultError,
    NoHTTPBodyError,
    ResultTimeoutError,
    RouterIncludedError,
    TaskOptionError,
    UnboundTaskError,
    UnknownTaskError,
    UnresolvableTasksError,
)
from fastask.markers import INJECTED
from fastask.router import TaskRouter
from fastask.task import Enqueued, Task

__all__ = [
    "INJECTED",
    "AppImportError",
    "BrokerURLError",
    "DependencyError",
    "DuplicateTaskError",
    "EmbeddedBrokerError",
    "Enqueued",
    "FastTask",
    "FastaskError",
    "InvalidArgumentsError",
    "InvalidResultError",
    "NoHTTPBodyError",
    "ResultTimeoutError",
    "RouterIncludedError",
    "Task",
    "TaskOptionError",
    "TaskRouter",
    "UnboundTaskError",
    "UnknownTaskError",
    "UnresolvableTasksError",
]

__version__ = "0.1.0"
