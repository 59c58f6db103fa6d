"""Four type checkers accept what users write, reject what is wrong, and say what is wrong.

The files `accepted_*.py` and `rejected.py` beside this one are user code; `marks.py` says how
errors are marked in them.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fastask.options import GivenOptions
from tests.typing.checkers import CHECKERS, HERE, Found, run
from tests.typing.marks import CHECKED, marks_of

ACCEPTED = tuple(sorted(path.name for path in HERE.glob("accepted_*.py")))
REJECTED = "rejected.py"
with_each_checker = pytest.mark.parametrize("checker", CHECKED)


class Reports(dict[str, list[Found]]):
    """What each checker reports; it runs once, when it is first asked for."""

    def __missing__(self, checker: str) -> list[Found]:
        files = [str(HERE / name) for name in (*ACCEPTED, REJECTED)]
        self[checker] = CHECKERS[checker](files)
        return self[checker]


@pytest.fixture(scope="module")
def reports() -> Mapping[str, list[Found]]:
    return Reports()


@with_each_checker
@pytest.mark.parametrize("file", [*ACCEPTED, REJECTED])
def test_what_is_reported_is_what_is_marked(
    checker: str, file: str, reports: Mapping[str, list[Found]]
) -> None:
    """Marked lines have the errors of their marks, and no other line has any."""
    found = [error for error in reports[checker] if error.file == file]
    marks = marks_of(file, checker)
    wrong = [f"not marked: {error}" for error in found if error.line not in marks]
    for line, mark in marks.items():
        here = [error for error in found if error.line == line]
        if mark.is_required and not any(mark.is_like(error) for error in here):
            reported = "; ".join(map(str, here)) or "nothing"
            wrong.append(f"not reported: {file}:{line}: {mark}, but {reported}")
    assert not wrong, "\n".join(wrong)


@with_each_checker
def test_marks_ask_every_checker(checker: str) -> None:
    """Lines where a checker may be silent are few."""
    marks = marks_of(REJECTED, checker)
    silent = [line for line, mark in marks.items() if not mark.is_required]
    assert len(marks) > 100
    assert len(silent) < len(marks) / 8


@pytest.mark.parametrize("option", GivenOptions.__annotations__)
@pytest.mark.parametrize("decorator", ["ft.task", "router.task"])
def test_every_option_is_tried(decorator: str, option: str) -> None:
    """There is a right and a wrong value of each."""
    used = rf"{re.escape(decorator)}\([^@]*?\b{option}="
    assert re.search(used, (HERE / "accepted_options.py").read_text())
    assert re.search(rf'{used}.*# error: option "{option}"', (HERE / REJECTED).read_text())


@with_each_checker
def test_a_missing_argument_is_named(checker: str, reports: Mapping[str, list[Found]]) -> None:
    """Nobody who forgets an argument has to read that no overload matches."""
    marks = marks_of(REJECTED, checker).items()
    missing = {line: mark.words for line, mark in marks if mark.kind == "missing"}
    assert len(missing) > 20
    for line, (name, *_) in missing.items():
        here = [each for each in reports[checker] if (each.file, each.line) == (REJECTED, line)]
        told = rf"([Mm]issing|No arguments? provided) .*{name}"
        assert any(re.search(told, error.message) for error in here), f"{name}: {here}"


def test_every_public_type_is_known(tmp_path: Path) -> None:
    """pyright finds the package typed in full, as it is installed; other packages aside."""
    written = run(
        "pyright",
        "--verifytypes=fastask",
        "--ignoreexternal",
        "--outputjson",
        f"--pythonpath={sys.executable}",
        folder=tmp_path,
    )
    report: dict[str, Any] = json.loads(written)["typeCompleteness"]
    symbols: list[dict[str, Any]] = report["symbols"]
    unknown = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in symbols
        if symbol["isExported"]
        for diagnostic in symbol["diagnostics"]
    ]
    assert report["completenessScore"] == 1, "\n".join(unknown)


@pytest.mark.parametrize("file", ACCEPTED)
def test_what_is_accepted_runs(file: str) -> None:
    """Declarations that the checkers accept are accepted at run time."""
    assert runpy.run_path(str(HERE / file))
