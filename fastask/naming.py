"""Names of tasks, checked where they are written: a worker refuses the messages of others."""

from __future__ import annotations

from typing import Any

from fastask.shortening import shortened

__all__ = ["OWN", "name_problem"]

OWN = "fastask"
"""Names that start with this and a colon are those of tasks that fastask adds to a broker."""

_LONGEST = 1000  # as a worker takes them


def name_problem(name: Any) -> str:
    """Say what is wrong with the name of a task; nothing if it can be used."""
    if not (isinstance(name, str) and name):
        return f"write a name, not {name!r}"
    if len(name) > _LONGEST:
        return f"{shortened(name, 40)!r} is too long; write {_LONGEST} characters or less"
    if name.startswith(f"{OWN}:"):
        return f"'{OWN}:' is how fastask's own tasks start; write another one than {name!r}"
    return ""
