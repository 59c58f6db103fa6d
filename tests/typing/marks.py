"""Reads what the files of this folder say of the errors in them.

A line that checkers must reject ends with a mark, `# error: kind words`. The kind is one of
the table below. Each word is a part of the message (what a checker quotes is in double quotes
here) or, after `^`, the beginning of what the checker points at.

A comment above a line says where a checker can't keep up:

- `# mypy says: kind words`: it reports another error than the mark asks for;
- `# ty is silent: reason`: it reports nothing;
- `# pyrefly errs: reason`: it reports an error, though the line is right.

The latter two allow and don't ask: a newer release of the checker may know better.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.typing.checkers import HERE, Found

_NAMES = """
kind        mypy                              pyright                             pyrefly                                  ty
missing     call-arg                          reportCallIssue                     missing-argument                         missing-argument
unknown     call-arg                          reportCallIssue                     unexpected-keyword                       unknown-argument
too-many    call-arg                          reportCallIssue                     bad-argument-count                       too-many-positional-arguments
twice       misc                              reportCallIssue                     bad-keyword-argument                     parameter-already-assigned
keyword     arg-type                          reportArgumentType                  bad-argument-type                        invalid-argument-type
positional  arg-type                          reportArgumentType                  bad-argument-type                        invalid-argument-type
items       list-item                         reportArgumentType                  bad-argument-type                        invalid-argument-type
option      call-overload/arg-type/list-item  reportArgumentType                  bad-argument-type                        invalid-argument-type
no-option   call-overload                     reportCallIssue                     unexpected-keyword/no-matching-overload  no-matching-overload
overload    call-overload                     reportCallIssue/reportArgumentType  no-matching-overload                     no-matching-overload
default     assignment                        reportArgumentType                  bad-function-definition                  invalid-parameter-default
assigned    assignment                        reportAssignmentType                bad-assignment                           invalid-assignment
unawaited   unused-coroutine                  reportUnusedCoroutine               unused-coroutine                         unused-awaitable
awaited     misc                              reportGeneralTypeIssues             not-async                                invalid-await
attribute   attr-defined                      reportAttributeAccessIssue          missing-attribute                        missing-attribute/unresolved-attribute
"""  # noqa: E501 - a table

# Where a checker reports an error and does not name the argument.
UNNAMED: Mapping[tuple[str, str], str] = {
    ("positional", "mypy"): "it counts arguments, and points at the right one",
    ("positional", "ty"): "it tells the types, and points at the right one",
    ("items", "mypy"): "it points at the item",
    ("option", "mypy"): "it tells the types of what fits no overload",
    ("no-option", "pyright"): "it tells the types of what fits no overload",
    ("no-option", "ty"): "it tells that no overload fits",
    ("overload", "mypy"): "it tells the types of what fits no overload",
    ("overload", "ty"): "it tells that no overload fits",
}


def _read_names() -> dict[tuple[str, str], tuple[str, ...]]:
    (_, *checkers), *rows = [line.split() for line in _NAMES.strip().splitlines()]
    return {
        (kind, checker): tuple(names.split("/"))
        for kind, *columns in rows
        for checker, names in zip(checkers, columns, strict=True)
    }


CODES: Mapping[tuple[str, str], tuple[str, ...]] = _read_names()
CHECKED = tuple(dict.fromkeys(checker for _, checker in CODES))

_MARK = re.compile(r"  # error: (?P<kind>\S+) ?(?P<words>.*)$")
_EXCEPTION = re.compile(
    rf"\s*# (?P<checker>{'|'.join(CHECKED)}) (?P<what>says|is silent|errs): (?P<rest>.+)"
)
_WORDS = re.compile(r'\^.+|"[^"]+"|\S+')


@dataclass(frozen=True)
class Marked:
    """What a checker is to make of a line.

    Attributes:
        kind: what kind of error it is to report; nothing if the line is right.
        words: what the error tells.
        codes: the checker's names of the kind.
        is_required: whether the error has to be there, or only may.
    """

    kind: str
    words: tuple[str, ...]
    codes: tuple[str, ...]
    is_required: bool

    def is_like(self, found: Found) -> bool:
        """Whether an error is the one that is asked for."""
        return found.code in self.codes and all(self._is_told(word, found) for word in self.words)

    def _is_told(self, word: str, found: Found) -> bool:
        if word.startswith("^"):
            return found.pointed.startswith(word[1:])
        # ty tells an argument by what it points at: `timeout="5"`.
        return word in found.message or found.pointed.startswith(word.strip('"') + "=")

    def __str__(self) -> str:
        return f"[{'/'.join(self.codes)}] {' '.join(self.words)}"


def marks_of(file: str, checker: str) -> dict[int, Marked]:
    """Read the marks of a file, by the number of their lines."""
    marks: dict[int, Marked] = {}
    above: dict[str, str] = {}
    for number, line in enumerate((HERE / file).read_text().splitlines(), start=1):
        exception = _EXCEPTION.fullmatch(line)
        if exception is not None:
            if exception["checker"] == checker:
                above[exception["what"]] = exception["rest"]
        elif line.strip() and not line.strip().startswith("#"):
            mark = _MARK.search(line)
            if mark is not None or above:
                marks[number] = _made(mark[0] if mark else "", above, checker)
            above = {}
    return marks


def _made(mark: str, above: Mapping[str, str], checker: str) -> Marked:
    if not mark and "errs" not in above:
        pytest.fail(f"nothing is marked below {above}")
    kind, _, rest = above.get("says", mark.removeprefix("  # error: ")).partition(" ")
    if not mark:
        return Marked("", (), (), is_required=False)
    if (kind, checker) not in CODES:
        pytest.fail(f"there is no such kind of errors: {kind}")
    words: list[str] = _WORDS.findall(rest)
    if (kind, checker) in UNNAMED:
        words = [word for word in words if not word.startswith('"')]
    return Marked(kind, tuple(words), CODES[kind, checker], "is silent" not in above)
