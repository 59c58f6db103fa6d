"""Messages that Taskiq can't read, or would stumble over: their senders get an error.

Taskiq drops a message that it can't read, and its sender waits for ever; a label that it
can't use, such as `ack_type`, ends the processing without a result or an acknowledgement
(taskiq 0.13). Such a message is read as one for a task that fails and says why.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any
from weakref import WeakSet

from pydantic import ValidationError
from taskiq import (
    AsyncBroker,
    BrokerMessage,
    Context,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)
from taskiq.abc.formatter import TaskiqFormatter
from taskiq.acks import AcknowledgeType, parse_acknowledge_type

from fastask.context import message_context
from fastask.exceptions import InvalidArgumentsError, InvalidMessageError, UnknownTaskError
from fastask.shortening import in_one_line, shortened

__all__ = ["INVALID_MESSAGE", "CheckedFormatter", "InvalidMessages"]

logger: logging.Logger = logging.getLogger("fastask.worker")

INVALID_MESSAGE = "fastask:invalid_message"
"""The name of the task that fails in the place of one whose message is no good."""

_LONGEST_NAME = 1000  # Taskiq's receiver keeps each name that it has seen
_SHOWN_NAME = 200
_SHOWN_PROBLEMS = 5
# Taskiq writes the id first, so it can be read where the rest is cut off, say, or too deep.
_HEAD = rb'\s*\{\s*"task_id"\s*:\s*"([ !#-\[\]-~]{1,255})"'  # of plain ASCII


class InvalidMessages:
    """Has a broker check the messages that it is given, while its worker runs.

    Args:
        broker: the broker.
    """

    def __init__(self, broker: AsyncBroker) -> None:
        self._broker = broker
        self._acknowledging = _Acknowledging()

    def install(self) -> None:
        """Check messages from now on."""
        self._broker.formatter = CheckedFormatter.around(self._broker)
        if self._acknowledging not in self._broker.middlewares:
            self._broker.middlewares.append(self._acknowledging)

    def remove(self) -> None:
        """Undo `install`."""
        if isinstance(self._broker.formatter, CheckedFormatter):
            self._broker.formatter = self._broker.formatter.former
        if self._acknowledging in self._broker.middlewares:
            self._broker.middlewares.remove(self._acknowledging)


class CheckedFormatter(TaskiqFormatter):
    """A broker's formatter that gives a message to fail with for one that is no good.

    Args:
        broker: the broker, whose serializer reads the id of a message.
        former: the formatter that it has.

    Attributes:
        former: that formatter.
    """

    def __init__(self, broker: AsyncBroker, former: TaskiqFormatter) -> None:
        self.former = former
        self._broker = broker

    @classmethod
    def around(cls, broker: AsyncBroker) -> TaskiqFormatter:
        """Give the formatter of a broker, checked; the very same if it is already."""
        former = broker.formatter
        return former if isinstance(former, cls) else cls(broker, former)

    def dumps(self, message: TaskiqMessage) -> BrokerMessage:
        """Write a message, as the former formatter does."""
        return self.former.dumps(message)

    def loads(self, message: bytes) -> TaskiqMessage:
        """Read a message; give one for a task that fails if it is no good.

        Raises:
            InvalidMessageError: nobody is to be told, as it has no id; Taskiq acknowledges it.
        """
        try:
            read = self.former.loads(message)
        except Exception as error:  # noqa: BLE001 - a serializer may raise anything
            task_id, name = self._sender(message)
            reason = _reason(error)
        else:
            if (unusable := _unusable(read)) is None:
                return read
            task_id, name, reason = read.task_id, read.task_name, unusable
        if not _is_text(task_id):
            logger.warning(
                "dropped a message of %d bytes that has no id to answer to: %s",
                len(message),
                reason,
            )
            raise InvalidMessageError("", reason) from None
        return _refused(task_id, name, reason)

    def _sender(self, message: bytes) -> tuple[str, str]:
        """Read the id and the task's name, as far as that can be done."""
        try:
            fields: Any = self._broker.serializer.loadb(message)
        except Exception:  # noqa: BLE001 - a serializer may raise anything
            fields = None
        if isinstance(fields, Mapping):
            found = [fields.get(name) for name in ("task_id", "task_name")]
        else:
            head = re.match(_HEAD, message)
            found = [head[1].decode() if head else None, None]
        task_id, name = (text if isinstance(text, str) else "" for text in found)
        return task_id, name


class _Acknowledging(TaskiqMiddleware):
    """Acknowledges messages whose task did not run, where that is the task's own business.

    With `ack_type="manual"` they would be delivered again for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unrun: WeakSet[Context] = WeakSet()

    def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        """Note that a task never ran."""
        if isinstance(exception, (InvalidArgumentsError, UnknownTaskError)):
            context = message_context()
            # A task may also fail with what the sending of another one has raised.
            if context is not None and exception.task == message.task_name:
                self._unrun.add(context)

    async def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Acknowledge the message of a task that never ran."""
        context = message_context()
        if context is not None and context in self._unrun and context.is_ackable:
            await context.ack()


def _refused(task_id: str, name: str, reason: str) -> TaskiqMessage:
    """Give a message for a task that fails; the labels of the other one may be no good."""
    return TaskiqMessage(
        task_id=task_id,
        task_name=INVALID_MESSAGE,
        labels={"ack_type": AcknowledgeType.WHEN_SAVED.value},
        args=[in_one_line(name, _SHOWN_NAME), reason],
        kwargs={},
    )


def _unusable(message: TaskiqMessage) -> str | None:
    """Say what is wrong with a message that was read, and parse its labels."""
    if len(message.task_name) > _LONGEST_NAME:
        return f"its task name has {len(message.task_name)} characters"
    if not _is_text(message.task_id):
        return "its task_id is no text"
    try:
        message.parse_labels()
    except Exception:  # noqa: BLE001 - whatever a parser of Taskiq's raises
        return "its labels don't have the types that its labels_types say"
    message.labels_types = None  # or Taskiq would parse them again
    for label in _LABELS.keys() & message.labels.keys():
        check, wanted = _LABELS[label]
        if not _passes(check, message.labels[label]):
            return f"its label {label!r} is not {wanted}"
    return None


def _passes(check: Callable[[Any], Any], value: Any) -> bool:
    try:
        check(value)
    except Exception:  # noqa: BLE001 - `int` of a list, of infinity, of too many digits
        return False
    return True


def _ack_type(value: Any) -> None:
    if value is not None:
        parse_acknowledge_type(value)


def _timeout(value: Any) -> None:
    if value is not None and isnan(float(value)):
        raise ValueError


# What Taskiq's receiver and retry middlewares read, with nothing that catches their errors.
_LABELS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ack_type": (_ack_type, "one of " + ", ".join(each.value for each in AcknowledgeType)),
    "timeout": (_timeout, "a number of seconds"),
    "delay": (float, "a number of seconds"),
    "max_retries": (int, "a whole number"),
    "_retries": (int, "a whole number"),
    "X-Taskiq-requeue": (int, "a whole number"),
}


def _is_text(task_id: str) -> bool:
    """Whether an id can be the key of a result."""
    if task_id.isascii():
        return bool(task_id)
    return not any("\ud800" <= char <= "\udfff" for char in task_id)


def _reason(error: Exception) -> str:
    """Say why a message can't be read, without anything of it."""
    if not isinstance(error, ValidationError) or error.title != TaskiqMessage.__name__:
        return f"it can't be decoded ({type(error).__name__})"
    if error.error_count() > _SHOWN_PROBLEMS:
        return f"{error.error_count()} of its fields are wrong"
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{_place(one['loc'])}: {shortened(one['msg'], 200)}" for one in found)


def _place(loc: tuple[int | str, ...]) -> str:
    return in_one_line(".".join(str(part) for part in loc), 80) or "message"
