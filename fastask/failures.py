"""Failed results that keep the whole error, and that every result backend can store."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic_core import to_jsonable_python
from taskiq import AsyncBroker, NoResultError, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.serialization import exception_to_python

from fastask.exceptions import RemoteError
from fastask.wire.errors import dumped_error, loaded_error, told
from fastask.wire.writing import is_portable

__all__ = ["FailureMiddleware", "error_of", "labels_of"]

_LABEL = "fastask_error"


class FailureMiddleware(TaskiqMiddleware):
    """Adds the whole error to a failed result, beside what Taskiq stores of it.

    Plain Taskiq clients read what they always read. An error that JSON can't hold, such as
    a `UnicodeEncodeError`, would make some serializers fail, and one that Taskiq can't make
    again, such as a frozen dataclass, every client. The result would be lost: Taskiq is given
    the error's text instead.
    """

    @classmethod
    def install(cls, broker: AsyncBroker) -> None:
        """Add it to a broker that does not have it.

        It comes first, so it is the last to see a result: middlewares may change the error.
        """
        if not any(isinstance(middleware, cls) for middleware in broker.middlewares):
            middleware = cls()
            middleware.set_broker(broker)
            broker.middlewares.insert(0, middleware)

    @classmethod
    def remove(cls, broker: AsyncBroker) -> None:
        """Undo `install`."""
        broker.middlewares = [one for one in broker.middlewares if not isinstance(one, cls)]

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Add the error, unless the result is not stored at all."""
        error = result.error
        if error is None or isinstance(error, NoResultError):
            return
        with suppress(Exception):  # the class is the user's
            form = dumped_error(error)
            if _is_storable(form):
                result.labels = {**result.labels, _LABEL: form}
        if not _is_taskiqs(result):
            name = f"{type(error).__module__}:{type(error).__qualname__}"
            text = told(error, str).encode("ascii", "backslashreplace").decode()
            result.error = RemoteError(name, text)


def error_of(result: TaskiqResult[Any]) -> BaseException | None:
    """Give the error of a result, as whole as it was when the task raised it.

    Args:
        result: as a result backend gave it.

    Returns:
        The error; `None` if the task did not fail.
    """
    error, form = result.error, result.labels.get(_LABEL)
    if error is None or error.__traceback__ is not None or form is None:
        return error  # one that has a traceback is the very error: results kept in memory
    try:
        return loaded_error(form)
    except Exception:  # noqa: BLE001 - a label of another's
        return error


def labels_of(result: TaskiqResult[Any]) -> dict[str, Any]:
    """Give the labels of the message, without what `FailureMiddleware` added."""
    return {name: value for name, value in result.labels.items() if name != _LABEL}


def _is_taskiqs(result: TaskiqResult[Any]) -> bool:
    """Whether Taskiq can store the error of a result and make it again."""
    try:
        plain = result.model_dump(mode="json", include={"error"})["error"]
        return _is_storable(plain) and exception_to_python(plain) is not None
    except Exception:  # noqa: BLE001 - Taskiq calls the error's class in many ways
        return False


def _is_storable(form: Any) -> bool:
    """Whether every serializer has it, and pydantic does not find it too deep."""
    try:
        return is_portable(form) and bool(to_jsonable_python([[[form]]]))
    except ValueError:
        return False
