"""The programs of the README and of the pages, run as a reader would run them."""

import re
import shutil
from pathlib import Path

import pytest

from tests.integration.processes import BIN, REPOSITORY, Process

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# (\w+\.py)\n")
CONFIG = """
[tool.pytest.ini_options]
fastask_app = "app:ft"
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
"""


PAGES = sorted((REPOSITORY / "docs").glob("*.md"))


def blocks(page: Path = REPOSITORY / "README.md") -> list[str]:
    return BLOCK.findall(page.read_text())


def written(folder: Path) -> list[str]:
    """Write every block that names its file."""
    names = []
    for block in blocks():
        if named := NAMED.match(block):
            (folder / named[1]).write_text(block)
            names.append(named[1])
    return names


def test_programs_and_their_tests_run(tmp_path: Path) -> None:
    """Its files make a program; its tests pass in an empty folder."""
    assert written(tmp_path) == ["app.py", "values.py", "test_app.py", "test_sent.py"]
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    with Process(BIN / "python", "-m", "pytest", "-q", cwd=tmp_path) as tests:
        status = tests.wait()
        assert status == 0, tests.log
        assert "4 passed" in tests.log


def test_worker_program_has_what_the_commands_name(tmp_path: Path) -> None:
    """`values:app`, `values:broker` and `values:scheduler` are there, and nothing connects."""
    written(tmp_path)
    look = "import values; print(values.app, values.broker, values.scheduler, values.remind)"
    with Process(BIN / "python", "-c", look, cwd=tmp_path) as program:
        assert program.wait() == 0, program.log


def test_waiting_for_a_result_works_as_shown(tmp_path: Path) -> None:
    """The block without a file name is the body of a coroutine of the program."""
    written(tmp_path)
    [body] = [block for block in blocks() if not block.startswith("# ")]
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    program = (
        "import asyncio\nfrom app import ft, store\n\nasync def main():\n"
        f"    async with ft.testing():\n{lines}        assert count == 1\n\nasyncio.run(main())\n"
    )
    (tmp_path / "program.py").write_text(program)
    with Process(BIN / "python", "program.py", cwd=tmp_path) as running:
        assert running.wait() == 0, running.log


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_of_the_pages_run(page: Path, tmp_path: Path) -> None:
    """Each block of a page is a program of its own, or a module that the next ones may import."""
    for number, block in enumerate(blocks(page)):
        named = NAMED.match(block)
        program = tmp_path / (named[1] if named else f"program{number}.py")
        program.write_text(block)
        with Process(BIN / "python", "-W", "error", program.name, cwd=tmp_path) as running:
            assert running.wait() == 0, running.log


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that a page links to are there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_make_knows_the_targets_that_it_names() -> None:
    """`make demo`, `make test` and `make dev` are in the Makefile."""
    assert shutil.which("make"), "make is not on this machine"
    named = set(re.findall(r"make (\w+)", (REPOSITORY / "README.md").read_text()))
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in named - {"s"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
