"""The error of a task on the wire: its class, arguments, attributes, notes and causes.

Taskiq's results hold class and arguments, and make the error by calling the class (taskiq
0.13). So notes and attributes are lost, and a class that is called with other arguments
than it passes on, such as FastAPI's `HTTPException`, comes back as a bare `Exception`.
Here an error is made without its `__init__`, of classes that are loaded already, and of
nothing but exceptions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from fastask.exceptions import RemoteError
from fastask.shortening import shortened
from fastask.wire.envelope import enclosed, is_envelope, opened
from fastask.wire.writing import WriterOfErrors

__all__ = ["dumped_error", "loaded_error", "told"]

_DEEPEST, _MOST = 8, 100  # causes of causes, groups in groups; errors in one
_MOST_LINES, _LONGEST_INPUT = 100, 1000  # of a `ValidationError`; characters of its `repr`


def dumped_error(error: BaseException) -> dict[str, Any]:
    """Give the form in which an error travels.

    An argument that has no form, such as an open file or a secret, travels as its `repr`; an
    attribute that has none is left out.
    """
    return _Dump().form(error, _DEEPEST)


def loaded_error(form: Mapping[str, Any], depth: int = 2 * _DEEPEST) -> BaseException:
    """Make an error from its form.

    Returns:
        The error; a `RemoteError` where its class is not loaded here, or can't be made
        without its `__init__`.

    Raises:
        LookupError: nobody has written the form like this.
        TypeError: likewise.
        ValueError: likewise.
    """
    if not depth:
        raise ValueError("too many causes")
    error = _made(form, depth)
    for note in form["notes"]:
        error.add_note(_loaded(note))
    if "cause" in form:
        error.__cause__ = loaded_error(form["cause"], depth - 1)
    if "context" in form:
        error.__context__ = loaded_error(form["context"], depth - 1)
    error.__suppress_context__ = bool(form["is_context_hidden"])
    return error


def told(value: Any, tell: Callable[[Any], str]) -> str:
    """Give what `str` or `repr` says of a value, whatever its class does meanwhile."""
    try:
        return tell(value)
    except Exception as error:  # noqa: BLE001 - the class is the user's
        return f"<{type(value).__name__}, whose text can't be had: {type(error).__name__}>"


class _Dump:
    """Writes an error with those that it was made from, up to a number."""

    def __init__(self) -> None:
        self._left = _MOST

    def form(self, error: BaseException, depth: int) -> dict[str, Any]:
        self._left -= 1
        arguments, attributes = _parts(error)
        form: dict[str, Any] = {
            "type": f"{type(error).__module__}:{type(error).__qualname__}",
            "text": _dumped(told(error, str)),
            "args": [_dumped(argument) for argument in arguments],
            "attributes": dict(_dumped_attributes(attributes)),
            "notes": [_dumped(told(note, str)) for note in _notes(error)],
            "is_context_hidden": error.__suppress_context__,
        }
        if depth and error.__cause__ is not None and self._left > 0:
            form["cause"] = self.form(error.__cause__, depth - 1)
        context = None if error.__suppress_context__ else error.__context__
        if depth and context is not None and self._left > 0:
            form["context"] = self.form(context, depth - 1)
        if isinstance(error, BaseExceptionGroup):
            inner = error.exceptions if depth else ()
            form["group"] = [self.form(one, depth - 1) for one in inner if self._left > 0]
        return form


def _made(form: Mapping[str, Any], depth: int) -> BaseException:
    kind = _class_of(form["type"])
    arguments = [_loaded(argument) for argument in form["args"]]
    attributes = {name: _loaded(value) for name, value in form["attributes"].items()}
    if "group" in form:
        arguments.append([loaded_error(one, depth - 1) for one in form["group"]])
    try:
        error = _make(kind, arguments, attributes)
        str(error)  # a class may miss what its __init__ would have set
    except Exception:  # noqa: BLE001 - the class is foreign, and so is its __str__
        return RemoteError(form["type"], _loaded(form["text"]))
    return error


def _parts(error: BaseException) -> tuple[list[Any], dict[str, Any]]:
    """What an error is made from, as pickle would store it for its built-in base."""
    if isinstance(error, ValidationError):
        lines = error.errors(include_url=False)[:_MOST_LINES]
        return [error.title, [_line(line) for line in lines]], {}
    slots = [name for base in type(error).__mro__ for name in _slots(base)]
    attributes = {name: getattr(error, name) for name in slots if hasattr(error, name)}
    if isinstance(error, BaseExceptionGroup):
        return [error.message], attributes | vars(error)
    reduced: Any = _base(type(error)).__reduce__(error)
    _, arguments, *state = reduced
    return list(arguments), attributes | (state[0] if state else {})


def _slots(base: type) -> list[str]:
    names = vars(base).get("__slots__", ())
    return [names] if isinstance(names, str) else list(names)


def _notes(error: BaseException) -> list[Any]:
    notes = getattr(error, "__notes__", None)
    return notes if isinstance(notes, list) else []


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    """One problem of a `ValidationError`, as one is made from it."""
    context = {
        name: str(value) if isinstance(value, Exception) else value
        for name, value in line.get("ctx", {}).items()
    }
    words = told(given := line["input"], repr)
    if len(words) > _LONGEST_INPUT:  # such as the whole payload, for each missing field
        given = shortened(words, _LONGEST_INPUT)
    made = {"type": line["type"], "loc": line["loc"], "input": _loaded(_dumped(given))}
    return {**made, "ctx": context, "msg": line["msg"]}


def _made_lines(title: str, lines: list[dict[str, Any]]) -> ValidationError:
    plain = [{name: line[name] for name in line if name != "msg"} for line in lines]
    try:
        return ValidationError.from_exception_data(title, plain)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):  # a type of error that is not pydantic's own
        for line, given in zip(plain, lines, strict=True):
            words = given["msg"].replace("{", "{{").replace("}", "}}")
            line["type"] = PydanticCustomError(given["type"], words)
            del line["ctx"]
        return ValidationError.from_exception_data(title, plain)  # type: ignore[arg-type]


def _make(kind: Any, arguments: list[Any], attributes: Mapping[str, Any]) -> BaseException:
    if kind is ValidationError:
        return _made_lines(*arguments)
    base: Any = _base(kind)
    error: BaseException = base.__new__(kind, *arguments)
    base.__init__(error, *arguments)
    for name, value in attributes.items():
        # Slots, and attributes of built-in classes, such as the name in an `ImportError`.
        if isinstance(getattr(kind, name, None), (GetSetDescriptorType, MemberDescriptorType)):
            setattr(error, name, value)
        else:
            vars(error)[name] = value
    return error


def _base(kind: type) -> Any:
    """The built-in class that an error is made of."""
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _class_of(name: str) -> Any:
    """Find a class by its name among the modules that are loaded; import nothing."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _dumped(value: Any) -> Any:
    try:
        return enclosed(value, WriterOfErrors())
    except Exception:  # noqa: BLE001 - the class is the user's
        return enclosed(told(value, repr), WriterOfErrors())


def _dumped_attributes(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Attributes that are not Python's own, and that have a form."""
    for name, value in attributes.items():
        if not name.startswith("__"):
            try:
                yield name, enclosed(value, WriterOfErrors())
            except Exception:  # noqa: BLE001, S112 - the class is the user's
                continue


def _loaded(form: Any) -> Any:
    return opened(form) if is_envelope(form) else form
