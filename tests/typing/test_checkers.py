"""mypy and pyright accept what users write, reject what is wrong, and say what is wrong.

The files beside this one are user code. An error that a checker must report is written above
its line: `# error: [mypy's code] words | [pyright's rule] words`, with words of the message.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ACCEPTED = (
    "accepted_tasks.py",
    "accepted_depends.py",
    "accepted_iterator_lifespans.py",
    "accepted_subclass_lifespans.py",
)
REJECTED = "rejected.py"
with_each_checker = pytest.mark.parametrize("checker", ["mypy", "pyright"])


@dataclass(frozen=True)
class Found:
    """An error that a checker reports."""

    file: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: [{self.code}] {self.message}"


@dataclass(frozen=True)
class Marked:
    """An error that a comment asks for."""

    file: str
    line: int
    code: str
    words: str

    def is_like(self, found: Found) -> bool:
        place = (self.file, self.line, self.code)
        return place == (found.file, found.line, found.code) and self.words in found.message

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: [{self.code}] {self.words}"


class Reports(dict[str, list[Found]]):
    """What each checker reports; it runs once, when it is first asked for."""

    def __missing__(self, checker: str) -> list[Found]:
        files = [str(HERE / name) for name in (*ACCEPTED, REJECTED)]
        self[checker] = {"mypy": run_mypy, "pyright": run_pyright}[checker](files)
        return self[checker]


@pytest.fixture(scope="module")
def reports() -> Mapping[str, list[Found]]:
    return Reports()


def run(checker: str, *arguments: str, folder: Path = ROOT) -> str:
    """Run a checker that is installed beside this Python, and give what it writes."""
    if importlib.util.find_spec(checker) is None:
        pytest.fail(f"{checker} is not installed; it is in the dependency group `dev`")
    scripts = Path(sys.executable).parent
    path = os.pathsep.join([str(scripts), os.environ.get("PATH", "")])
    finished = subprocess.run(
        [sys.executable, "-m", checker, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path, "VIRTUAL_ENV": str(scripts.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0 and not finished.stdout.startswith("{"):
        pytest.fail(f"{checker} gave no report:\n{finished.stdout}\n{finished.stderr}")
    return finished.stdout


def run_mypy(files: Sequence[str]) -> list[Found]:
    written = run("mypy", "--config-file=mypy.ini", "--output=json", *files)
    entries: list[dict[str, Any]] = [json.loads(line) for line in written.splitlines()]
    return [
        Found(Path(entry["file"]).name, entry["line"], entry["code"], entry["message"])
        for entry in entries
        if entry["severity"] == "error"
    ]


def run_pyright(files: Sequence[str]) -> list[Found]:
    written = run("pyright", "--outputjson", f"--pythonpath={sys.executable}", *files)
    entries: list[dict[str, Any]] = json.loads(written)["generalDiagnostics"]
    return [
        Found(
            Path(entry["file"]).name,
            entry["range"]["start"]["line"] + 1,
            entry.get("rule", "syntax"),
            entry["message"],
        )
        for entry in entries
    ]


def marked_in(file: str, checker: str) -> list[Marked]:
    """Read the comments of a file; they belong to the next line of code."""
    marked: list[Marked] = []
    waiting: list[tuple[str, str]] = []
    for number, line in enumerate((HERE / file).read_text().splitlines(), start=1):
        code = line.strip()
        if code.startswith("# error: "):
            of_mypy, of_pyright = code.removeprefix("# error: ").split(" | ")
            waiting += errors_in(of_mypy if checker == "mypy" else of_pyright)
        elif code and not code.startswith("#"):
            marked += [Marked(file, number, *error) for error in waiting]
            waiting = []
    return marked


def errors_in(text: str) -> list[tuple[str, str]]:
    """Read `[code] words [code] words`, or `-` for none."""
    code = r"\[([a-z-]+|report[A-Z]\w+)\]"
    errors: list[tuple[str, str, str]] = re.findall(rf"{code} (.+?)(?= {code}|$)", text)
    if not errors and text != "-":
        pytest.fail(f"neither `[code] words` nor `-`: {text}")
    return [(code, words) for code, words, _ in errors]


@with_each_checker
@pytest.mark.parametrize("file", [*ACCEPTED, REJECTED])
def test_what_is_reported_is_what_is_marked(
    checker: str, file: str, reports: Mapping[str, list[Found]]
) -> None:
    """Marked lines have the errors of their comments, and no other line has any."""
    found = [error for error in reports[checker] if error.file == file]
    wrong: list[str] = []
    for marked in marked_in(file, checker):
        match = next((error for error in found if marked.is_like(error)), None)
        if match is None:
            wrong.append(f"not reported: {marked}")
        else:
            found.remove(match)
    wrong += [f"not marked: {error}" for error in found]
    assert not wrong, "\n".join(wrong)


@with_each_checker
def test_a_missing_argument_is_named(checker: str, reports: Mapping[str, list[Found]]) -> None:
    """Nobody who forgets an argument has to read that no overload matches."""
    source = (HERE / REJECTED).read_text().splitlines()
    first = source.index(next(line for line in source if "def lacks_an_argument" in line))
    last = source.index(next(line for line in source if "def has_an_unknown_argument" in line))
    messages = [
        error.message
        for error in reports[checker]
        if error.file == REJECTED and first < error.line < last
    ]
    assert len(messages) == 12
    for message in messages:
        assert re.search(r'[Mm]issing .*"(key|name|pool)"', message)


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
