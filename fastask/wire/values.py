"""The values of one annotation: checked, written in JSON, and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, get_origin

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from fastask.wire.annotations import class_name, classes_in, is_json, is_open
from fastask.wire.envelope import enclosed, is_envelope, opened
from fastask.wire.problems import Secrets, kind_of_value, problems_of, secrets_in, short
from fastask.wire.sameness import change_of, is_near
from fastask.wire.writing import LooseWriter, Writer, is_portable

__all__ = ["ARBITRARY", "PLAIN", "UnsendableError", "ValueWire", "told"]

ARBITRARY = ConfigDict(arbitrary_types_allowed=True)
"""Pydantic's configuration that lets a class stand for its own instances."""

PLAIN: frozenset[type] = frozenset({int, float, str, bool, type(None)})
"""Types whose values are their own JSON form, within the bounds of `is_portable`."""

_NO_FORM = "it has no JSON form; send something that has, such as a string or a number"
_CHANGES = "it would arrive as another value, as its class changes what it reads or writes"
_SAME_NAME = "another class of its annotation has the same module and name; rename one of them"

_NOTHING = object()
_JSON: dict[str, Any] = {
    "mode": "json",
    "by_alias": False,
    "round_trip": True,
    "warnings": False,
}
# By alias first, as plain Taskiq reads it. Defaults are not always what their field reads.
_WAYS: list[dict[str, Any]] = [{"by_alias": True}, {}, {"by_alias": True, "exclude_unset": True}]


class UnsendableError(Exception):
    """A value that would not arrive as it is.

    Attributes:
        problems: as `problems_of` gives them; `loc` is the place within the value.
        more: how many problems there are besides.
    """

    def __init__(self, problems: Sequence[Mapping[str, Any]], more: int = 0) -> None:
        super().__init__(problems, more)
        self.problems = problems
        self.more = more

    def __str__(self) -> str:
        return told(self.problems, self.more)


def told(problems: Sequence[Mapping[str, Any]], more: int) -> str:
    """Tell of the first problem within a value, and how many there are besides."""
    first, *rest = problems
    place = ".".join(str(part) for part in first["loc"])
    got = f" (got {first['got']})" if first["got"] else ""
    others = f"; and {len(rest) + more} more" if rest or more else ""
    return f"{place + ': ' if place else ''}{first['msg']}{got}{others}"


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
        self._kinds = frozenset(get_origin(kind) or kind for kind in self._classes.values())

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

    def problems(self, error: ValidationError, given: Any) -> tuple[list[dict[str, Any]], int]:
        """Give the problems of a value, as `problems_of` does, without its secrets."""
        return problems_of(error, given, self._secrets)

    def dump(self, value: Any, given: Any = _NOTHING) -> Any:
        """Give the form in which a checked value travels.

        That is its JSON form if it is read as the same value again, as most are. Otherwise
        it travels in an envelope, with the names of its classes if need be. Where the
        annotation leaves the type open, as `Any` does, JSON decides it, as in plain Taskiq;
        the envelope holds what JSON would lose. Where a validator would change the value
        once more, what it was made of travels.

        Args:
            value: the value, checked.
            given: what it was made of, if that is known.

        Raises:
            UnsendableError: it would be read as another value however it is written.
        """
        if self._is_json and type(value) in PLAIN and is_portable(value):
            return value
        if self._is_json:
            if (form := _or_nothing(enclosed, value, LooseWriter())) is _NOTHING:
                raise _refusal(_NO_FORM)
            return form
        return self._proved(self._listed(value) if isinstance(value, Iterator) else value, given)

    def _proved(self, value: Any, given: Any) -> Any:
        """Give the first form that is read as the value."""
        has_form, arrived = False, _NOTHING
        forms = self._open_forms(value) if self._is_open else self._forms(value)
        for form in chain(forms, self._enclosed_as_it_is(given)):
            if form is _NOTHING:
                continue
            has_form = True
            if (read := _or_nothing(self.load, form)) is _NOTHING:
                continue
            if _or_nothing(is_near, value, read, self._annotation) is True:
                return form
            arrived = read  # the later the form, the less it leaves out
        if arrived is not _NOTHING:
            raise self._change(value, arrived)
        raise self._misfit(value) or _refusal(_CHANGES if has_form else _NO_FORM)

    def _listed(self, value: Iterator[Any]) -> list[Any]:
        """Read what pydantic makes of an `Iterable`, once, as it is checked by then only."""
        try:
            return list(value)
        except ValidationError as error:
            raise UnsendableError(*self.problems(error, value)) from None

    def _misfit(self, value: Any) -> UnsendableError | None:
        """Tell what is wrong in a value that fits by its class only."""
        parts = _or_nothing(self._adapter.dump_python, value, **_JSON | {"mode": "python"})
        try:
            self.check(value if parts is _NOTHING else parts)
        except ValidationError as error:
            return UnsendableError(*self.problems(error, value))
        except Exception:  # noqa: BLE001 - of a class of the user's
            return None
        return None

    def _change(self, value: Any, read: Any) -> UnsendableError:
        """Tell what makes a value arrive as another one."""
        changed = _or_nothing(change_of, value, read, self._annotation)
        place, sent, got = ((), 0, 0) if changed is _NOTHING else changed
        if type(sent) is type(got):
            return _refusal(_CHANGES)
        if class_name(type(sent)) == class_name(type(got)):
            return _refusal(_SAME_NAME)
        words = f"it would be read as {kind_of_value(got)}, so send that"
        return _refusal(words, tuple(map(short, place)), kind_of_value(sent))

    @cached_property
    def _secrets(self) -> Secrets:
        return secrets_in({"": self._annotation})

    def _open_forms(self, value: Any) -> Iterator[Any]:
        if (loose := _or_nothing(enclosed, value, LooseWriter())) is _NOTHING:
            return
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
        yield _or_nothing(enclosed, value, Writer(self._kinds))


def _or_nothing(write: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Write or read with classes of the user's, which may raise anything."""
    try:
        return write(*args, **options)
    except Exception:  # noqa: BLE001
        return _NOTHING


def _refusal(reason: str, place: tuple[Any, ...] = (), got: str = "") -> UnsendableError:
    return UnsendableError([{"type": "unsendable", "loc": place, "msg": reason, "got": got}])


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return TypeAdapter(annotation, config=ARBITRARY)
