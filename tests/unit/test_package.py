"""The package as a whole: what it exports, and that imports point down only."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import fastask

PACKAGE = Path(fastask.__file__).parent
REPOSITORY = PACKAGE.parent
# From the top down: a module imports only from layers below its own.
LAYERS = [
    {"fastask"},
    {"fastask.pytest_plugin"},
    {"fastask.app"},
    {"fastask.testing"},
    {"fastask.testing.context"},
    {"fastask.testing.tasks"},
    {"fastask.testing.schedules"},
    {"fastask.testing.session"},
    {"fastask.testing.results", "fastask.testing.runs", "fastask.testing.threads"},
    {"fastask.testing.underway"},
    {"fastask.testing.record"},
    {"fastask.testing.loops", "fastask.testing.replacing"},
    {"fastask.router", "fastask.scheduler", "fastask.worker.app"},
    {"fastask.worker.supervision"},
    {"fastask.declare"},
    {"fastask.depends", "fastask.lifespan", "fastask.schedules"},
    {"fastask.options"},
    {"fastask.task"},
    {"fastask.kicker"},
    {"fastask.definition", "fastask.enqueued", "fastask.retries", "fastask.sending"},
    {"fastask.failures"},
    {"fastask.owner", "fastask.plan.run", "fastask.program"},
    {"fastask.plan.code"},
    {"fastask.plan.calls"},
    {"fastask.plan.steps"},
    {"fastask.plan.nodes"},
    {"fastask.brokers", "fastask.worker.report"},
    {
        "fastask.brokers.nats",
        "fastask.brokers.rabbitmq",
        "fastask.brokers.redis",
        "fastask.brokers.sqlite",
    },
    {
        "fastask.brokers.nats.broker",
        "fastask.brokers.rabbitmq.broker",
        "fastask.brokers.redis.broker",
        "fastask.brokers.sqlite.broker",
    },
    {
        "fastask.brokers.nats.once",
        "fastask.brokers.nats.results",
        "fastask.brokers.nats.starts",
        "fastask.brokers.rabbitmq.consuming",
        "fastask.brokers.redis.results",
        "fastask.brokers.sqlite.results",
    },
    {
        "fastask.brokers.nats.acknowledging",
        "fastask.brokers.nats.buckets",
        "fastask.brokers.nats.pulling",
        "fastask.brokers.rabbitmq.connection",
        "fastask.brokers.rabbitmq.delays",
        "fastask.brokers.rabbitmq.no_results",
        "fastask.brokers.redis.connection",
        "fastask.brokers.sqlite.store",
    },
    {
        "fastask.brokers.kinds",
        "fastask.brokers.nats.connection",
        "fastask.brokers.nats.deadlines",
        "fastask.brokers.nats.streams",
        "fastask.brokers.sqlite.messages",
    },
    {"fastask.brokers.durable", "fastask.brokers.keeping"},
    {"fastask.brokers.inbox"},
    {
        "fastask.adapter",
        "fastask.brokers.lifecycle",
        "fastask.brokers.memory",
        "fastask.brokers.unbound",
        "fastask.loading",
        "fastask.request",
        "fastask.wire.arguments",
        "fastask.wire.results",
    },
    {"fastask.wire.errors", "fastask.wire.values"},
    {"fastask.wire.envelope", "fastask.wire.stand_ins"},
    {"fastask.wire.writing"},
    {"fastask.wire.problems", "fastask.wire.sameness"},
    {
        "fastask.brokers.unknown",
        "fastask.unwinding",
        "fastask.worker.unfinished",
    },
    {
        "fastask.brokers.sqlite.leases",
        "fastask.brokers.sqlite.writer",
        "fastask.brokers.unreadable",
        "fastask.worker.logs",
    },
    {"fastask.brokers.sqlite.database"},
    {
        "fastask.brokers.sqlite.errors",
        "fastask.brokers.sqlite.forks",
        "fastask.brokers.sqlite.notices",
    },
    {
        "fastask.brokers.deployment",
        "fastask.brokers.once",
        "fastask.brokers.recent",
        "fastask.brokers.redis.scripts",
        "fastask.brokers.suspects",
        "fastask.brokers.url",
        "fastask.context",
        "fastask.copying",
        "fastask.cron",
        "fastask.markers",
        "fastask.naming",
        "fastask.plan",
        "fastask.plan.values",
        "fastask.signatures",
        "fastask.wire",
        "fastask.wire.annotations",
        "fastask.wire.held",
        "fastask.wire.tags",
        "fastask.worker",
        "fastask.worker.manager",
        "fastask.worker.signals",
    },
    {"fastask.exceptions"},
    {
        "fastask.exceptions.brokers",
        "fastask.exceptions.declaring",
        "fastask.exceptions.running",
        "fastask.exceptions.testing",
    },
    {"fastask.exceptions.base", "fastask.masking", "fastask.shortening"},
]


def modules() -> list[str]:
    found = pkgutil.walk_packages([str(PACKAGE)], prefix="fastask.")
    return ["fastask", *(module.name for module in found)]


MODULES = modules()


def imported(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_all_is_sorted_and_importable() -> None:
    """`__all__` holds what the package exports: constants, classes, functions, each sorted."""
    names = fastask.__all__
    assert [name for name in names if not hasattr(fastask, name)] == []
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))


def test_all_is_everything() -> None:
    """What the package imports for its users is in `__all__`, and nothing else."""
    public = {
        name
        for name, value in vars(fastask).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(fastask.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_all_of_a_module(name: str) -> None:
    """Every module says what it exports, and has it."""
    module = imported(name)
    if name.endswith("__main__") or name in {"fastask.plan", "fastask.wire", "fastask.worker"}:
        return
    exported = module.__all__
    assert [each for each in exported if not hasattr(module, each)] == []
    assert len(set(exported)) == len(exported)


@pytest.mark.parametrize("name", MODULES)
def test_docstring(name: str) -> None:
    """Every module says why it exists."""
    assert (imported(name).__doc__ or "").strip()


def test_version() -> None:
    """The version is that of the newest heading of the changelog, and of the distribution."""
    changelog = REPOSITORY / "CHANGELOG.md"
    if not changelog.exists():
        pytest.skip("there is no changelog yet")
    newest = re.search(r"^## (\S+) \(.+\)$", changelog.read_text(), re.MULTILINE)
    assert newest is not None, "write a heading such as '## 0.1.0 (2026-01-01)'"
    assert newest[1] == fastask.__version__
    assert version("taskiq-fastask") == fastask.__version__


def test_typed() -> None:
    """The package tells type checkers that it is typed."""
    assert (PACKAGE / "py.typed").is_file()
    assert (REPOSITORY / "py.typed").read_bytes() == (PACKAGE / "py.typed").read_bytes()


def imports_of(name: str) -> set[str]:
    """The modules of the package that a module imports, anywhere in it."""
    path = Path(imported(name).__file__ or "")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name of the module"
            below = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= below or {node.module or ""}
    return {each for each in found if each == "fastask" or each.startswith("fastask.")}


def test_every_module_has_its_layer() -> None:
    """Every module stands in one layer, and no layer holds a module that is gone."""
    listed = [name for layer in LAYERS for name in layer]
    assert sorted(listed) == sorted(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    """A module imports only from layers below its own, so there is no circle."""
    depth = next(depth for depth, layer in enumerate(LAYERS) if name in layer)
    below = {each for layer in LAYERS[depth + 1 :] for each in layer}
    assert imports_of(name) - below == set()


@pytest.mark.parametrize("name", MODULES)
def test_no_private_names(name: str) -> None:
    """Nothing of FastAPI's or Taskiq's that is private is imported by name."""
    path = Path(imported(name).__file__ or "")
    private = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.name.startswith("_") and alias.name != "__version__"
    ]
    assert private == []


def test_import_is_quiet() -> None:
    """Importing the package warns of nothing, opens no event loop and loads no test tool."""
    program = (
        "import sys, fastask; "
        "print(sorted({'pytest', 'redis', 'httpx', 'uvicorn'} & set(sys.modules)))"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
