"""The result of a task on the wire: the return annotation decides."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fastask.exceptions import InvalidResultError
from fastask.wire.envelope import UnreadableEnvelopeError
from fastask.wire.values import UnsendableError, ValueWire, told
from fastask.wire.writing import is_portable

__all__ = ["ResultWire"]


class _NoValue:
    """The type of no value."""


class ResultWire:
    """The result of one task.

    Args:
        task: the task's name, for errors.
        annotation: the return annotation; `Any` where there is none.

    Attributes:
        plain: the type whose values need no check.
    """

    def __init__(self, task: str, annotation: Any) -> None:
        self._task = task
        self._wire = ValueWire(annotation)
        # Of other types there are values that some serializer does not have.
        is_none = any(annotation is kind for kind in (None, type(None), Any))
        self.plain: type = bool if annotation is bool else type(None) if is_none else _NoValue
        self._exact = next((kind for kind in (int, float, str) if annotation is kind), None)

    def dump(self, value: Any) -> Any:
        """Check a result and give the form in which it travels.

        Raises:
            InvalidResultError: it does not fit the annotation, or would not arrive as it is.
        """
        kind = type(value)
        if kind is self.plain or (kind is self._exact and is_portable(value)):
            return value
        try:
            return self._wire.dump(self._wire.check(value), value)
        except ValidationError as error:
            raise self._misfit(error, value) from None
        except UnsendableError as error:
            raise InvalidResultError(self._task, str(error)) from None

    def load(self, form: Any) -> Any:
        """Give the result that a result backend holds, in the annotated type.

        Raises:
            InvalidResultError: it does not fit the annotation.
        """
        try:
            return self._wire.load(form)
        except ValidationError as error:
            raise self._misfit(error, form) from None
        except UnreadableEnvelopeError as error:
            raise InvalidResultError(self._task, str(error)) from None

    def _misfit(self, error: ValidationError, given: Any) -> InvalidResultError:
        return InvalidResultError(self._task, told(*self._wire.problems(error, given)))
