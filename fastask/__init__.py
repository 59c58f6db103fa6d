"""fastask: a FastAPI app and its Taskiq worker as one program."""

from fastask.app import FastTask
from fastask.enqueued import Enqueued
from fastask.exceptions import (
    AppImportError,
    BrokerUnavailableError,
    BrokerURLError,
    DeadLetterError,
    DependencyError,
    DuplicateTaskError,
    EmbeddedBrokerError,
    FastaskError,
    InvalidArgumentsError,
    InvalidMessageError,
    InvalidResultError,
    NoHTTPBodyError,
    NoResultsError,
    NotSentError,
    RemoteError,
    ResultTimeoutError,
    RouterIncludedError,
    StorageError,
    TaskLoopError,
    TaskNotRunError,
    TaskOptionError,
    UnboundTaskError,
    UnknownTaskError,
    UnresolvableTasksError,
)
from fastask.markers import INJECTED
from fastask.router import TaskRouter
from fastask.task import Task

__all__ = [
    "INJECTED",
    "AppImportError",
    "BrokerURLError",
    "BrokerUnavailableError",
    "DeadLetterError",
    "DependencyError",
    "DuplicateTaskError",
    "EmbeddedBrokerError",
    "Enqueued",
    "FastTask",
    "FastaskError",
    "InvalidArgumentsError",
    "InvalidMessageError",
    "InvalidResultError",
    "NoHTTPBodyError",
    "NoResultsError",
    "NotSentError",
    "RemoteError",
    "ResultTimeoutError",
    "RouterIncludedError",
    "StorageError",
    "Task",
    "TaskLoopError",
    "TaskNotRunError",
    "TaskOptionError",
    "TaskRouter",
    "UnboundTaskError",
    "UnknownTaskError",
    "UnresolvableTasksError",
]

__version__ = "0.1.0"
