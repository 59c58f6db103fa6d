"""What a worker tells: its broker, and what went wrong where."""

from __future__ import annotations

import sysconfig
import traceback
from functools import cache
from pathlib import Path
from typing import Any

import taskiq
from taskiq import AsyncBroker

from fastask.brokers.kinds import durable
from fastask.masking import masked

__all__ = ["described", "failure"]


def described(broker: AsyncBroker) -> str:
    """Give a broker's class, and what it says of its address, without passwords."""
    given = vars(broker)
    if (made := durable(broker)) is not None:
        return f"{type(made).__name__} ({made.address}, queue {made.settings.queue})"
    parts = [
        f"{name} {masked(str(given[name]))}"
        for name in ("url", "servers", "dsn", "queue_name", "subject")
        if isinstance(given.get(name), str | list) and given[name]
    ]
    connection: Any = getattr(given.get("connection_pool"), "connection_kwargs", {})
    if "host" in connection:
        parts.insert(0, f"at {connection['host']}:{connection.get('port')}")
    return f"{type(broker).__name__}{' (' * bool(parts)}{', '.join(parts)}{')' * bool(parts)}"


def failure(error: BaseException) -> str:
    """Give an error in one line: its type, its words, and where the user's code met it.

    Passwords in URLs are left out; of a group the first error is told.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    words = " ".join(masked(str(error)).split())
    told = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return f"{told} ({place})" if (place := _place(error)) else told


def _place(error: BaseException) -> str:
    """The innermost line of the user's own code, also below what the error was made from."""
    link: BaseException | None = error
    while link is not None:
        for frame in reversed(traceback.extract_tb(link.__traceback__)):
            file = str(Path(frame.filename).resolve())
            if not frame.filename.startswith("<") and not file.startswith(_libraries()):
                return f"{frame.filename}:{frame.lineno}, in {frame.name}"
        link = link.__cause__ or link.__context__
    return ""


@cache
def _libraries() -> tuple[str, ...]:
    """Where code lives that is not the user's; looked up when something fails, not before."""
    paths: list[Any] = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    roots = [Path(taskiq.__file__).parents[1], Path(__file__).parents[1]]
    return tuple(str(Path(path).resolve()) for path in (*paths, *roots))
