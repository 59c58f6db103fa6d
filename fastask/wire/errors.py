"""The error of a task on the wire: its class, arguments, attributes, notes and causes.

Taskiq's results hold class and arguments, and make the error by calling the class (taskiq
0.13). So notes and attributes are lost, and a class that is called with other arguments
than it passes on, such as FastAPI's `HTTPException`, comes back as a bare `Exception`.
Here an error is made without its `__init__`, of classes that are loaded already, and of
nothing but exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import GetSetDescriptorType, MemberDescriptorType, WrapperDescriptorType
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from fastask.exceptions import RemoteError
from fastask.shortening import shortened
from fastask.wire.annotations import class_name
from fastask.wire.envelope import enclosed, is_envelope, opened
from fastask.wire.held import attributes_of
from fastask.wire.stand_ins import ERROR, ErrorWriter, Room, loaded_class, stand_ins, told
from fastask.wire.tags import Reader
from fastask.wire.writing import Writer

__all__ = ["dumped_error", "loaded_error", "told"]

_Write: TypeAlias = Callable[[Any, Writer], Any]
_Read: TypeAlias = Callable[[Any], Any]
_Writers: TypeAlias = Callable[..., ErrorWriter]

_DEEPEST, _MOST = 8, 100  # causes of causes, groups in groups; errors in one
_MOST_LINES, _LONGEST_INPUT = 100, 1000  # of a `ValidationError`; characters of its `repr`


def dumped_error(error: BaseException) -> dict[str, Any]:
    """Give the form in which an error travels.

    An argument that has no form, such as an open file or a secret, travels as its text. So
    does an attribute if the class has a `__str__` of its own, which may show it; otherwise
    it is left out.
    """
    room = Room()
    return _Dump(room, _Dump(room)).form(error, _DEEPEST, _enclosed)


def loaded_error(form: Mapping[str, Any]) -> BaseException:
    """Make an error from its form.

    Returns:
        The error; a `RemoteError` where its class is not loaded here, or can't be made
        without its `__init__`.

    Raises:
        LookupError: nobody has written the form like this.
        TypeError: likewise.
        ValueError: likewise.
    """
    return _error(form, partial(_loaded, classes=_classes()))


class _Dump:
    """Writes an error with those that it was made from and holds, up to a number."""

    def __init__(self, room: Room, held: _Dump | None = None) -> None:
        self._left = _MOST
        self._room = room
        self._held = held or self  # counted apart, so that none of them costs a cause

    def form(self, error: BaseException, depth: int, write: _Write) -> dict[str, Any]:
        self._left -= 1
        arguments, attributes = _parts(error)
        inner = partial(self._inner, depth, write)
        nested = partial(self._held._inner, depth, _bare)
        writers = partial(ErrorWriter, nested, self._room)
        form: dict[str, Any] = {
            "type": class_name(type(error)),
            "text": write(told(error, str), Writer()),
            "args": [_written_argument(argument, writers, write) for argument in arguments],
            "attributes": _written_attributes(error, attributes, writers, write),
            "notes": [write(told(note, str), Writer()) for note in _notes(error)],
            "is_context_hidden": error.__suppress_context__,
        }
        context = None if error.__suppress_context__ else error.__context__
        for name, other in (("cause", error.__cause__), ("context", context)):
            if other is not None and (form_of_other := inner(other)) is not None:
                form[name] = form_of_other
        if isinstance(error, BaseExceptionGroup):
            group = map(inner, error.exceptions)
            form["group"] = [one for one in group if one is not None]
        return form

    def _inner(self, depth: int, write: _Write, error: BaseException) -> dict[str, Any] | None:
        return self.form(error, depth - 1, write) if depth and self._left > 0 else None


class _Nested(Reader):
    """An error among the arguments or attributes of another one, in whose envelope it is."""

    def read(self, parts: Any) -> BaseException:
        return _error(parts, lambda value: value)


def _classes() -> dict[str, Reader]:
    return {**stand_ins(), ERROR: _Nested()}


def _error(form: Mapping[str, Any], read: _Read, depth: int = 2 * _DEEPEST) -> BaseException:
    if not depth:
        raise ValueError("too many causes")
    error = _made(form, read, depth)
    # A class may allow no changes, as a frozen dataclass does.
    change = partial(BaseException.__setattr__, error)
    if notes := [read(note) for note in form["notes"]]:
        if {*map(type, notes)} != {str}:
            raise TypeError("a note that is no text")
        change("__notes__", notes)
    if "cause" in form:
        change("__cause__", _error(form["cause"], read, depth - 1))
    if "context" in form:
        change("__context__", _error(form["context"], read, depth - 1))
    change("__suppress_context__", bool(form["is_context_hidden"]))
    return error


def _made(form: Mapping[str, Any], read: _Read, depth: int) -> BaseException:
    kind = loaded_class(form["type"], BaseException)
    arguments = [read(argument) for argument in form["args"]]
    attributes = {name: read(value) for name, value in form["attributes"].items()}
    if "group" in form:
        arguments.append([_error(one, read, depth - 1) for one in form["group"]])
    try:
        error = _make(kind, arguments, attributes)
        str(error)  # a class may miss what its __init__ would have set
    except Exception:  # noqa: BLE001 - the class is foreign, and so is its __str__
        return RemoteError(form["type"], read(form["text"]))
    return error


def _parts(error: BaseException) -> tuple[list[Any], dict[str, Any]]:
    """What an error is made from, as pickle would store it for its built-in base."""
    if isinstance(error, ValidationError):
        lines = error.errors(include_url=False)[:_MOST_LINES]
        return [error.title, [_line(line) for line in lines]], {}
    attributes = attributes_of(error)
    if isinstance(error, BaseExceptionGroup):
        return [error.message], attributes
    reduced: Any = _base(type(error)).__reduce__(error)
    _, arguments, *state = reduced
    return list(arguments), attributes | (state[0] if state else {})


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
    writers = partial(ErrorWriter, _unnested, Room())
    made = {
        "type": line["type"],
        "loc": line["loc"],
        "input": _loaded(_written_argument(given, writers, _enclosed)),
    }
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
            BaseException.__setattr__(error, name, value)
        else:
            vars(error)[name] = value
    return error


def _base(kind: Any) -> Any:
    """The built-in class that an error is made of: of several bases, the one that lays it out."""
    while kind.__module__ != "builtins":
        kind = kind.__base__
    return kind


def _enclosed(value: Any, writer: Writer) -> Any:
    form = enclosed(value, writer)
    _loaded(form)  # what can't be read is not written
    return form


def _bare(value: Any, writer: Writer) -> Any:
    """Write what is in an envelope already."""
    return writer.write(value)


def _loaded(form: Any, classes: Mapping[str, Reader] | None = None) -> Any:
    return opened(form, classes or _classes()) if is_envelope(form) else form


def _unnested(error: BaseException) -> None:
    """Tell nothing of an error but its text."""


def _written_argument(value: Any, writers: _Writers, write: _Write) -> Any:
    try:
        return write(value, writers(shows=True))
    except Exception:  # noqa: BLE001 - the class is the user's
        return write(told(value, repr), Writer())


def _written_attributes(
    error: BaseException, attributes: Mapping[str, Any], writers: _Writers, write: _Write
) -> dict[str, Any]:
    """Attributes that are not Python's own, and that have a form."""
    shows = not isinstance(type(error).__str__, WrapperDescriptorType)
    forms: dict[str, Any] = {}
    for name, value in attributes.items():
        if not name.startswith("__"):
            with suppress(Exception):  # the class is the user's
                forms[name] = write(value, writers(shows=shows))
    return forms
