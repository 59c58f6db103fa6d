"""The errors of fastask.

Each one keeps its parts as attributes and in `args`, so it pickles and travels in a
result; `str()` renders one sentence with the thing, the place and the remedy.
"""

from __future__ import annotations

from fastask.exceptions.base import FastaskError
from fastask.exceptions.brokers import (
    BrokerUnavailableError,
    BrokerURLError,
    DeadLetterError,
    EmbeddedBrokerError,
    NoResultsError,
    NotSentError,
    StorageError,
)
from fastask.exceptions.declaring import (
    AppImportError,
    DependencyError,
    DuplicateTaskError,
    RouterIncludedError,
    TaskOptionError,
    UnboundTaskError,
    UnresolvableTasksError,
)
from fastask.exceptions.running import (
    InvalidArgumentsError,
    InvalidMessageError,
    InvalidResultError,
    NoHTTPBodyError,
    RemoteError,
    ResultTimeoutError,
    UnknownTaskError,
)
from fastask.exceptions.testing import TaskLoopError, TaskNotRunError

__all__ = [
    "AppImportError",
    "BrokerURLError",
    "BrokerUnavailableError",
    "DeadLetterError",
    "DependencyError",
    "DuplicateTaskError",
    "EmbeddedBrokerError",
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
    "TaskLoopError",
    "TaskNotRunError",
    "TaskOptionError",
    "UnboundTaskError",
    "UnknownTaskError",
    "UnresolvableTasksError",
]
