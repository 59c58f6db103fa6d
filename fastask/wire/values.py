"""The values of one annotation: checked, written in JSON, and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter

from fastask.wire.annotations import classes_in, is_json, is_open
from fastask.wire.envelope import enclosed, is_envelope, opened
from fastask.wire.sameness import is_near, is_same
from fastask.wire.writing import LooseWriter, Writer, is_portable

__all__ = ["ARBITRARY", "PLAIN", "UnsendableError", "ValueWire"]

ARBITRARY = ConfigDict(arbitrary_types_allowed=True)
"""Pydantic's configuration that lets a class stand for its own instances."""

PLAIN: frozenset[type] = frozenset({int, float, str, bool, type(None)})
"""Types whose values are their own JSON form, within the bounds of `is_portable`."""

_NO_FORM = "it has no JSON form; send something that has, such as a string or a number"
_CHANGES = "it would arrive as another value, as its class changes what it reads or writes"


class UnsendableError(Exception):
    """A value that would not arrive as it is."""


class ValueWire:
    """One annotation and how its values travel.

    Args:
        annotation: a type that pydantic has a schema for.

    Raises:
        pydantic.PydanticUserError: it has none.
    """

    def __init__(self, annotation: Any) -> None:
        self._adapter = _adapter(annotation)
        self._annotation = annotation
        self._is_json = is_json(annotation)
        self._is_open = is_open(annotation)
        self._classes = classes_in(annotation)

    def check(self, value: Any) -> Any:
        """Give a value in the annotated type.

        Raises:
            pydantic.ValidationError: it does not fit.
        """
        # Plain Taskiq sends the fields of models by their names, not by aliases.
        return self._adapter.validate_python(value, by_alias=True, by_name=True)

    def read(self, form: Any) -> Any:
        """Give what a message or a result holds, unchecked.

        Raises:
            UnreadableEnvelopeError: it is in an envelope that nobody has written like this.
        """
        return opened(form, self._classes) if is_envelope(form) else form

    def load(self, form: Any) -> Any:
        """Give the value that a message or a result holds, in the annotated type.

        Raises:
            pydantic.ValidationError: it does not fit.
            UnreadableEnvelopeError: it is in an envelope that nobody has written like this.
        """
        return self.check(self.read(form))

    def dump(self, value: Any, given: Any = None) -> Any:
        """Give the form in which a checked value travels.

        That is its JSON form if it is read as the same value again, as most are. Otherwise
        it travels in an envelope, with the names of its classes if need be. Where the
        annotation leaves the type open, as `Any` does, JSON decides it, as in plain Taskiq;
        the envelope holds what JSON would lose. Where a validator would change the value
        once more, what it was made of travels.

        Args:
            value: the value, checked.
            given: what it was made of.

        Raises:
            UnsendableError: it would be read as another value however it is written.
        """
        if self._is_json and type(value) in PLAIN and is_portable(value):
            return value
        if isinstance(value, Iterator) and not self._is_json:
            value = list(value)  # what pydantic makes of an `Iterable`; it is read only once
        if self._is_json:
            return self._written(enclosed, value, LooseWriter())
        reason = _NO_FORM
        forms = self._open_forms(value) if self._is_open else self._forms(value)
        for form in chain(forms, self._enclosed_as_it_is(given)):
            if form is _NOTHING:
                continue
            if self._is_read_as(form, value):
                return form
            reason = _CHANGES
        raise UnsendableError(reason)

    def _open_forms(self, value: Any) -> Iterator[Any]:
        loose = self._written(enclosed, value, LooseWriter())
        plain = _or_nothing(self._adapter.dump_python, value, **_JSON)
        is_plain = not is_envelope(loose) and plain is not _NOTHING and is_portable(plain)
        yield plain if is_plain else loose
        yield from self._enclosed(value)

    def _forms(self, value: Any) -> Iterator[Any]:
        forms: list[Any] = []
        for options in _WAYS:
            form = _or_nothing(self._adapter.dump_python, value, **_JSON | options)
            if form is _NOTHING or form in forms:
                continue
            forms.append(form)
            if is_portable(form) and not is_envelope(form):
                yield form
        yield from self._enclosed(value)

    def _enclosed(self, value: Any) -> Iterator[Any]:
        parts = _or_nothing(self._adapter.dump_python, value, **_JSON | {"mode": "python"})
        if parts is not _NOTHING:
            yield _or_nothing(enclosed, parts, Writer())
        yield from self._enclosed_as_it_is(value)

    def _enclosed_as_it_is(self, value: Any) -> Iterator[Any]:
        yield _or_nothing(enclosed, value, Writer(self._classes.values()))

    def _written(self, write: Callable[..., Any], *args: Any) -> Any:
        form = _or_nothing(write, *args)
        if form is _NOTHING:
            raise UnsendableError(_NO_FORM)
        return form

    def _is_read_as(self, form: Any, value: Any) -> bool:
        read = _or_nothing(self.load, form)
        if read is _NOTHING:
            return False
        if self._is_open:
            return bool(_or_nothing(is_near, value, read, self._annotation) is True)
        return bool(_or_nothing(is_same, value, read) is True)


_NOTHING = object()
_JSON: dict[str, Any] = {
    "mode": "json",
    "by_alias": False,
    "round_trip": True,
    "warnings": False,
}
# By alias first, as plain Taskiq reads it. Defaults are not always what their field reads.
_WAYS: list[dict[str, Any]] = [{"by_alias": True}, {}, {"by_alias": True, "exclude_unset": True}]


def _or_nothing(write: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Write or read with classes of the user's, which may raise anything."""
    try:
        return write(*args, **options)
    except Exception:  # noqa: BLE001
        return _NOTHING


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return TypeAdapter(annotation, config=ARBITRARY)
