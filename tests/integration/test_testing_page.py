"""The recipes of `docs/testing.md`, and the example with a database, run by pytest itself."""

import re
from pathlib import Path

import pytest

from tests.integration.processes import BIN, REPOSITORY, Process

PAGE = REPOSITORY / "docs" / "testing.md"
EXAMPLE = REPOSITORY / "examples" / "testing"
BLOCK = re.compile(r"^```(?:python|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# (\w+\.(?:py|toml))\n")
TEST = re.compile(r"^(?:async )?def test_", re.MULTILINE)
PYTEST = ("-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider")


def recipes() -> dict[str, str]:
    """Give the page's files by name; each block is one."""
    found: dict[str, str] = {}
    for block in BLOCK.findall(PAGE.read_text()):
        named = NAMED.match(block)
        assert named, block
        assert named[1] not in found, named[1]
        found[named[1]] = block
    return found


RECIPES = recipes()
TESTS = {name: len(TEST.findall(text)) for name, text in RECIPES.items() if TEST.search(text)}


def write_recipes(folder: Path) -> None:
    for name, text in RECIPES.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize("order", ["downwards", "upwards"])
def test_recipes_pass(order: str, tmp_path: Path) -> None:
    """All of them in one run, with warnings as errors; none needs what another one has done."""
    write_recipes(tmp_path)
    names = list(TESTS) if order == "downwards" else list(TESTS)[::-1]
    with Process(BIN / "python", *PYTEST, *names, cwd=tmp_path) as run:
        assert run.wait() == 0, run.log
        assert f"{sum(TESTS.values())} passed" in run.log


def test_database_recipe_needs_its_rollback(tmp_path: Path) -> None:
    """Without the line that rolls back, the second test finds what the first has left."""
    write_recipes(tmp_path)
    file = tmp_path / "test_orders.py"
    kept = file.read_text().replace("transaction.rollback()", "transaction.commit()")
    assert kept != RECIPES[file.name]
    file.write_text(kept)
    with Process(BIN / "python", *PYTEST, file.name, cwd=tmp_path) as run:
        assert run.wait() == 1, run.log
        assert "FAILED test_orders.py::test_nothing_is_left" in run.log


@pytest.mark.parametrize("folder", [REPOSITORY, EXAMPLE], ids=["checkout", "folder"])
def test_example_passes(folder: Path) -> None:
    """As its modules say: from the checkout, and from its own folder."""
    count = sum(len(TEST.findall(file.read_text())) for file in EXAMPLE.glob("test_*.py"))
    where = () if folder == EXAMPLE else (str(EXAMPLE.relative_to(folder)),)
    with Process(BIN / "python", *PYTEST, *where, cwd=folder) as run:
        assert run.wait() == 0, run.log
        assert f"{count + 1} passed" in run.log  # one has two parameters
