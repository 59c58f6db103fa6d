"""Errors of brokers and their servers."""

from __future__ import annotations

import os

from taskiq import SendTaskError

from fastask.exceptions.base import FastaskError
from fastask.shortening import in_one_line, shortened

__all__ = [
    "BrokerURLError",
    "BrokerUnavailableError",
    "DeadLetterError",
    "EmbeddedBrokerError",
    "NoResultsError",
    "NotSentError",
    "StorageError",
]

WAIT_FOR_IT = "add wait=60 to the URL's query to have it waited for"
"""What to do about what may pass."""

_NAME = 200  # characters of a name that is shown; other clients may send any
_REASON = 400  # characters of what a broker raised
_SAY_WHAT_TO_DO = ("StorageError", "ValueError")  # errors of ours
# What clients raise for an answer of a server, so that it runs.
_REFUSALS = (
    "APIError",
    "BadRequestError",
    "NoPermissionError",
    "OutOfMemoryError",
    "ReadOnlyError",
    "ResponseError",
    "ServerError",
)


class BrokerURLError(FastaskError, ValueError):
    """A broker URL that fastask can't make a broker from. It never shows the URL's password.

    Attributes:
        scheme: the URL's scheme, such as `"redis"`; `"env:NAME"` if a variable has none.
        reason: what is wrong and what to do.
    """

    def __init__(self, scheme: str, reason: str) -> None:
        super().__init__(scheme, reason)
        self.scheme = scheme
        self.reason = reason

    def __str__(self) -> str:
        shown = self.scheme if ":" in self.scheme else f"{self.scheme}://"
        return f"broker URL '{shown}': {self.reason}"


class EmbeddedBrokerError(FastaskError, RuntimeError):
    """A worker was started for the embedded broker, which needs none and can serve none."""

    def __str__(self) -> str:
        return (
            "the embedded broker runs its tasks in the web process, so no worker can serve it; "
            "give FastTask a broker, such as 'sqlite:///tasks.db', to run tasks in workers"
        )


class NotSentError(FastaskError, SendTaskError):
    """The broker did not take a message. It is Taskiq's `SendTaskError`, too.

    Attributes:
        task: the task's name.
        broker: the class of the broker.
        reason: what the broker raised, without passwords of URLs.
        in_test: whether a test has sent it outside of `ft.testing()`.
    """

    def __init__(self, task: str, broker: str, reason: str, *, in_test: bool = False) -> None:
        # Not Taskiq's own __init__, which takes keywords alone.
        Exception.__init__(self, task, broker, reason)
        self.task = task
        self.broker = broker
        self.reason = reason
        self.in_test = in_test

    def __str__(self) -> str:
        reason = in_one_line(self.reason, _REASON)
        task = shortened(self.task, _NAME)
        told = f"task {task!r} was not sent, {self.broker} did not take it ({reason})"
        return f"{told}; {remedy}" if (remedy := self._remedy()) else told

    def _remedy(self) -> str:
        if self.in_test:
            return "check that a server runs for it; in a test, send within ft.testing()"
        raised = self.reason.partition(":")[0]
        if raised in _SAY_WHAT_TO_DO:
            return ""
        if raised in _REFUSALS:
            return "its server runs and refuses it, so look at what it has and how it is set up"
        return "check that its server runs and can be reached"

    def __repr__(self) -> str:
        return Exception.__repr__(self)  # not Taskiq's, which shows its own fields


class BrokerUnavailableError(FastaskError, ConnectionError):
    """The server of a broker URL can't be reached, or does not let the program in.

    Attributes:
        address: the URL, without its password.
        reason: what was tried, and what came of it.
        remedy: what to do; empty if the reason says it.
        in_test: whether pytest runs a test, which is outside of `ft.testing()` then.
    """

    def __init__(self, address: str, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason
        self.remedy: str = f"start it, or {WAIT_FOR_IT}" if remedy is None else remedy
        self.in_test: bool = "PYTEST_CURRENT_TEST" in os.environ

    def __str__(self) -> str:
        where = "in a test, enter ft.testing() first, or have a server: " if self.in_test else ""
        reason = in_one_line(self.reason, _REASON)
        told = f"{where}{shortened(self.address, _NAME)} can't be used ({reason})"
        return f"{told}; {self.remedy}" if self.remedy else told


class DeadLetterError(FastaskError, RuntimeError):
    """A message was given up: the workers that ran its task died or lost it, each time.

    Attributes:
        task: the task's name.
        attempts: how often it was started.
    """

    def __init__(self, task: str, attempts: int) -> None:
        super().__init__(task, attempts)
        self.task = task
        self.attempts = attempts

    def __str__(self) -> str:
        return (
            f"task {shortened(self.task, _NAME)!r} was started {self.attempts} times and never "
            "came to an end, as if it killed its worker; it is kept as a dead letter and is "
            "not run again"
        )


class NoResultsError(FastaskError, RuntimeError):
    """A result was asked for where none is kept.

    Attributes:
        broker: the broker's URL scheme, such as `"amqp"`; empty for a broker object.
    """

    def __init__(self, broker: str = "") -> None:
        super().__init__(broker)
        self.broker = broker

    def __str__(self) -> str:
        if not self.broker:
            return (
                "the broker has no result backend, so it keeps no results; give it one: "
                "broker.with_result_backend(...)"
            )
        return (
            f"{self.broker}:// keeps no results; name where they are to be kept, such as "
            "FastTask(..., results='redis://localhost')"
        )


class StorageError(FastaskError, OSError):
    """The file of a `sqlite://` broker can't be used.

    Attributes:
        path: the file.
        reason: what is wrong and what to do.
        is_locked: whether another program holds it, so that it may soon be free.
    """

    def __init__(self, path: str, reason: str, *, is_locked: bool = False) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason
        self.is_locked = is_locked

    def __str__(self) -> str:
        return f"{self.path}: {in_one_line(self.reason, _REASON)}"
