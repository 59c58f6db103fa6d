"""Runs type checkers over files of this folder, each as strict as it can be."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Found:
    """An error that a checker reports.

    Attributes:
        file: the name of the file.
        line: the line, from 1 on.
        code: the checker's name for such errors.
        message: what it says, with all names in double quotes.
        pointed: the part of the line that it points at.
    """

    file: str
    line: int
    code: str
    message: str
    pointed: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: [{self.code}] {self.message} (at {self.pointed})"


def run(checker: str, *arguments: str, folder: Path = ROOT) -> str:
    """Run a checker that is installed beside this Python, and give the JSON it writes."""
    if importlib.util.find_spec(checker) is None:
        pytest.fail(f"{checker} is not installed; it is in the dependency group `types`")
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
    if finished.returncode != 0 and not finished.stdout.startswith(("{", "[")):
        pytest.fail(f"{checker} gave no report:\n{finished.stdout}\n{finished.stderr}")
    return finished.stdout


def run_mypy(files: Sequence[str]) -> list[Found]:
    """Columns are from 0; older releases don't tell where an error ends."""
    written = run("mypy", "--config-file=mypy.ini", "--output=json", *files)
    entries: list[dict[str, Any]] = [json.loads(line) for line in written.splitlines()]
    return [
        found(
            entry["file"],
            (entry["line"], entry["column"]),
            (entry.get("end_line"), entry.get("end_column")),
            entry["code"],
            entry["message"],
        )
        for entry in entries
        if entry["severity"] == "error"
    ]


def run_pyright(files: Sequence[str]) -> list[Found]:
    """Lines and columns are from 0."""
    written = run("pyright", "--outputjson", f"--pythonpath={sys.executable}", *files)
    entries: list[dict[str, Any]] = json.loads(written)["generalDiagnostics"]
    return [
        found(
            entry["file"],
            (start["line"] + 1, start["character"]),
            (end["line"] + 1, end["character"]),
            entry.get("rule", "syntax"),
            entry["message"],
        )
        for entry in entries
        for start, end in [(entry["range"]["start"], entry["range"]["end"])]
    ]


def run_pyrefly(files: Sequence[str]) -> list[Found]:
    """Columns are from 1. An empty configuration keeps it from reading mypy's."""
    options = [f"--config={os.devnull}", "--preset=strict", "--python-version=3.11"]
    options += [f"--search-path={ROOT}", f"--python-interpreter-path={sys.executable}"]
    written = run("pyrefly", "check", *options, "--output-format=json", "--summary=none", *files)
    entries: list[dict[str, Any]] = json.loads(written)["errors"]
    return [
        found(
            entry["path"],
            (entry["line"], entry["column"] - 1),
            (entry["stop_line"], entry["stop_column"] - 1),
            entry["name"],
            entry["description"],
        )
        for entry in entries
    ]


def run_ty(files: Sequence[str]) -> list[Found]:
    """Columns are from 1. Its reports for GitLab are the ones with ends and in JSON."""
    written = run("ty", "check", f"--python={sys.prefix}", "--output-format=gitlab", *files)
    entries: list[dict[str, Any]] = json.loads(written)
    return [
        found(
            entry["location"]["path"],
            (start["line"], start["column"] - 1),
            (end["line"], end["column"] - 1),
            entry["check_name"],
            entry["description"],
        )
        for entry in entries
        for positions in [entry["location"]["positions"]]
        for start, end in [(positions["begin"], positions["end"])]
    ]


def found(
    path: str,
    start: tuple[int, int],
    end: tuple[int | None, int | None],
    code: str,
    message: str,
) -> Found:
    """Make an error of what a checker reports, and look up what it points at."""
    file = Path(path).name
    line = (HERE / file).read_text().splitlines()[start[0] - 1]
    stop = end[1] if end[0] == start[0] else None
    return Found(file, start[0], code, message.replace("`", '"'), line[start[1] : stop])


CHECKERS = {"mypy": run_mypy, "pyright": run_pyright, "pyrefly": run_pyrefly, "ty": run_ty}
