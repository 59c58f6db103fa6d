"""What the functions of a tree do, written down in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fastapi import BackgroundTasks, HTTPException, Response
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes

__all__ = ["Event", "Journal", "Observed", "Outcome", "OwnError", "Stop", "described"]

Event: TypeAlias = tuple[Any, ...]
Outcome: TypeAlias = tuple[str, ...]


class OwnError(Exception):
    """An error that no framework knows."""


class Stop(BaseException):
    """An error that `except Exception` does not catch."""


def described(error: BaseException) -> tuple[str, str]:
    """Give what two runs must have in common: the type and the message."""
    return type(error).__name__, str(error)


@dataclass
class Observed:
    """One run: its events and how it ended; `cause` is what FastAPI wrapped, if it did.

    `last` is the last error that any function of the tree raised. `early` is what had been
    raised when all teardowns of scope "function" had run, if they let nothing through, and
    `early_events` how much had happened by then.
    """

    events: list[Event]
    outcome: Outcome
    cause: BaseException | None = None
    has_failed: bool = False
    last: BaseException | None = None
    early: BaseException | None = None
    early_events: int | None = None


@dataclass
class Journal:
    """The events of one run."""

    events: list[Event] = field(default_factory=list)
    has_failed: bool = False
    last: BaseException | None = None
    early: BaseException | None = None
    early_events: int | None = None
    _calls: Counter[str] = field(default_factory=Counter)
    _objects: list[Any] = field(default_factory=list)

    def restart(self) -> None:
        """Begin another run."""
        vars(self).update(vars(Journal()))

    def observed(self, outcome: Outcome, cause: BaseException | None = None) -> Observed:
        """Close the journal of this run."""
        return Observed(
            self.events,
            outcome,
            cause,
            has_failed=self.has_failed,
            last=self.last,
            early=self.early,
            early_events=self.early_events,
        )

    def call(self, _name: str, **values: Any) -> str:
        """Note a call and what it was given; give a value that no other call gives."""
        self._calls[_name] += 1
        token = f"{_name} #{self._calls[_name]}"
        given = {name: self._described(value) for name, value in values.items()}
        self.events.append(("called", token, given))
        for name, value in values.items():
            if name.startswith("changed"):
                value.append("changed")
        return token

    def closed(self, name: str) -> None:
        """Note that a generator goes on after its `yield`."""
        self.events.append(("closed", name))

    def saw(self, name: str, error: BaseException) -> None:
        """Note what a generator caught at its `yield`."""
        self.events.append(("saw", name, described(error)))

    def error(self, name: str, phase: str, kind: str) -> BaseException:
        """Make an error and note that it is raised."""
        self.last = _error(kind, f"{name} in {phase}")
        self.events.append(("raised", name, phase, described(self.last)))
        self.has_failed |= phase == "setup"
        return self.last

    def not_yielding(self, name: str) -> bool:
        """Note that a generator does not yield, which `contextlib` complains of."""
        self.events.append(("did not yield", name))
        self.last = RuntimeError("generator didn't yield")
        self.has_failed = True
        return True

    def background(self, name: str, kind: str | None) -> None:
        """Be a background task."""
        self.events.append(("background", name))
        if kind is not None:
            raise self.error(name, "background", kind)

    def closed_early(self, error: BaseException | None) -> None:
        """Note that all teardowns of scope "function" have run, and what they let through."""
        self.early = None if error is not None else self.last
        self.early_events = len(self.events)

    def _described(self, value: Any) -> Any:
        if isinstance(value, (HTTPConnection, Response, BackgroundTasks)):
            return self._numbered(value)
        if isinstance(value, SecurityScopes):
            return ("scopes", tuple(value.scopes), value.scope_str)
        if isinstance(value, list):
            return list(value)
        return getattr(value, "token", value)

    def _numbered(self, value: Any) -> str:
        """Tell objects apart: the same one has the same number."""
        for number, known in enumerate(self._objects):
            if known is value:
                return f"object {number}"
        self._objects.append(value)
        return f"object {len(self._objects) - 1}"


def _error(kind: str, message: str) -> BaseException:
    match kind:
        case "value":
            return ValueError(message)
        case "own":
            return OwnError(message)
        case "http":
            return HTTPException(418, message)
    return Stop(message)
