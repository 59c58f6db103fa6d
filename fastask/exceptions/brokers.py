"""Errors of brokers and their servers."""

from __future__ import annotations

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

_NAME = 200  # characters of a name that is shown; other clients may send any
_REASON = 400  # characters of what a broker raised


class BrokerURLError(FastaskError, ValueError):
    """A broker URL that fastask can't make a broker from. It never shows the URL's password.

    Attributes:
        scheme: the URL's scheme, such as `"redis"`.
        reason: what is wrong and what to do.
    """

    def __init__(self, scheme: str, reason: str) -> None:
        super().__init__(scheme, reason)
        self.scheme = scheme
        self.reason = reason

    def __str__(self) -> str:
        return f"broker URL '{self.scheme}://': {self.reason}"


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
        where = "a server runs for it; in a test, send within ft.testing()"
        remedy = f"check that {where if self.in_test else 'its server runs and can be reached'}"
        reason = in_one_line(self.reason, _REASON)
        task = shortened(self.task, _NAME)
        return f"task {task!r} was not sent, {self.broker} did not take it ({reason}); {remedy}"

    def __repr__(self) -> str:
        return Exception.__repr__(self)  # not Taskiq's, which shows its own fields


class BrokerUnavailableError(FastaskError, ConnectionError):
    """The server of a broker URL can't be reached, or does not let the program in.

    Attributes:
        address: the URL, without its password.
        reason: what was tried, and what came of it.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        reason = in_one_line(self.reason, _REASON)
        remedy = "start it, or add wait=60 to the URL's query to have it waited for"
        return f"{shortened(self.address, _NAME)} can't be used ({reason}); {remedy}"


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
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {in_one_line(self.reason, _REASON)}"
