"""What Taskiq logs, without values of messages and in lengths that fit a log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

from pydantic import ValidationError
from taskiq import TaskiqMessage

from fastask.exceptions import InvalidMessageError
from fastask.shortening import in_one_line, shortened

__all__ = ["ShortRecords"]

_TASKIQ = "taskiq"  # the logger of its kicker; all others are below
_LONGEST_ARGUMENT = 500  # characters
_LONGEST_NAME = 200
_LONGEST_TEXT = 2000
_SIZED = (bytes, bytearray, memoryview, tuple, list, set, frozenset, Mapping)


class ShortRecords(logging.Filter):
    """Shortens what is logged with Taskiq's loggers, and leaves all others alone.

    At debug level Taskiq and its brokers log whole messages, which may hold secrets, and at
    any level what it could not read (taskiq 0.13). Messages and containers are told by
    their size, texts are cut.
    """

    @classmethod
    def install(cls) -> None:
        """Put it on the loggers that Taskiq and its brokers have so far; once on each."""
        for name, known in list(logging.root.manager.loggerDict.items()):
            is_taskiqs = name == _TASKIQ or name.startswith(f"{_TASKIQ}.")
            # On each of them, as a logger's filters don't see what its children log.
            if is_taskiqs and isinstance(known, logging.Logger):
                known.addFilter(_SHORT_RECORDS)

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record; drop the one on a message that was told of already."""
        error = record.exc_info[1] if record.exc_info else None
        is_told = error is not None and any(each is error for each in record.args or ())
        if is_told and isinstance(error, InvalidMessageError):
            return False
        if is_told and isinstance(error, ValidationError):
            record.exc_info = None  # its last line repeats values, and the rest is pydantic's
        elif error is not None:
            _shorten_traceback(record, error)
        if record.args:
            record.args = _short_arguments(record, record.args)
        elif isinstance(record.msg, str):
            record.msg = shortened(record.msg, _LONGEST_TEXT)
        else:
            record.msg = _told(record.msg)
        return True


_SHORT_RECORDS = ShortRecords()


def _short_arguments(record: logging.LogRecord, args: Any) -> Any:
    if not isinstance(args, Mapping):
        return tuple(_told(value) for value in args)
    # Python has unpacked an only argument that is a mapping, for texts with names in them.
    if "%(" in str(record.msg):
        return {name: _told(value) for name, value in args.items()}
    return (_told(args),)


def _told(value: Any) -> Any:
    """Give a number as it is, a text cut, and of what has a size its kind and size."""
    if isinstance(value, Number) or value is None:
        return value
    if isinstance(value, TaskiqMessage):
        name = in_one_line(value.task_name, _LONGEST_NAME)
        task_id = in_one_line(value.task_id, _LONGEST_NAME)
        counts = f"{len(value.args)} args, {len(value.kwargs)} kwargs, {len(value.labels)} labels"
        return f"<{name} ({task_id}): {counts}>"
    if isinstance(value, ValidationError):
        return f"{value.error_count()} validation errors for {value.title}"
    if isinstance(value, _SIZED):
        return f"<{type(value).__name__} of {len(value)}>"
    return in_one_line(str(value), _LONGEST_ARGUMENT)


def _shorten_traceback(record: logging.LogRecord, error: BaseException) -> None:
    """Write the traceback of an error with very many words, before a handler does.

    `exc_info` stays as it is, for handlers that report errors elsewhere.
    """
    if not record.exc_text and any(_has_many_words(each) for each in _chain(error)):
        parts = (part.rstrip("\n") for part in traceback.format_exception(error))
        record.exc_text = "\n".join(shortened(part, _LONGEST_TEXT) for part in parts)


def _has_many_words(error: BaseException) -> bool:
    try:
        return len(str(error)) > _LONGEST_TEXT
    except Exception:  # noqa: BLE001 - `traceback` shows such errors, too
        return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and all that it was made from, once each."""
    waiting, seen = [error], {id(error)}
    while waiting:
        yield (link := waiting.pop())
        parts = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        for other in (link.__cause__, link.__context__, *parts):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
