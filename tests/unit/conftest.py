"""What every unit test starts from: no module, no asyncio task and no broker is left behind."""

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from taskiq import AsyncBroker

from tests.unit.office import Office

WriteModule = Callable[[str, str], Path]


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteModule]:
    """Write modules that can be imported until the test ends."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written: set[str] = set()

    def write(name: str, text: str) -> Path:
        parts = name.split(".")
        folder = tmp_path.joinpath(*parts[:-1])
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{parts[-1]}.py"
        path.write_text(textwrap.dedent(text))
        written.add(parts[0])
        importlib.invalidate_caches()
        return path

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] in written]:
        del sys.modules[name]


@pytest.fixture
def office() -> Iterator[Office]:
    """An office that ends, and has sent nothing to its real broker."""
    office = Office()
    yield office
    office.go.set()
    assert office.broker.sent == []


@pytest.fixture(autouse=True)
def nothing_global() -> Iterator[None]:
    """No test registers a task for every broker."""
    yield
    assert AsyncBroker.global_task_registry == {}


@pytest.fixture(autouse=True)
def no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's environment says of deployments is not the tests' business."""
    names = ["ENVIRONMENT", "ENV", "APP_ENV", "FASTAPI_ENV", "PYTHON_ENV", "WEB_CONCURRENCY"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
