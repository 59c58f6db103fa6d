"""The pytest plugin, in runs of pytest of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.pytest_runs import CONFIG, HEAD, PATIENCE, run


def test_several_processes(tmp_path: Path) -> None:
    """With pytest-xdist each process has its own broker, app and tasks."""
    one = """
@pytest.mark.parametrize("number", range(20))
async def test_{name}(tasks, number):
    await add.kiq(number, 1)
    assert [sent.result for sent in tasks.sent] == [number + 1]
"""
    counts, written = run(tmp_path, one.format(name="a") + one.format(name="b"), options="-n 2")
    assert counts == "40 passed", written


CONFIG_OF_NO_ASYNCIO = "\n".join(
    line for line in CONFIG.splitlines() if not line.startswith("asyncio_")
)
FAILING = {
    "plain function": "def test_it(tasks):\n    asyncio.run(outer.kiq())\n",
    "coroutine function": "async def test_it(tasks):\n    await outer.kiq()\n",
    "test that fails itself": "async def test_it(tasks):\n    await outer.kiq()\n    assert 0\n",
}


@pytest.mark.parametrize("name", FAILING)
def test_errors_fail_the_test(name: str, tmp_path: Path) -> None:
    """An error that nobody has looked at fails the test, and not its teardown."""
    counts, written = run(tmp_path, FAILING[name])
    assert counts == "1 failed", written
    assert "a failed task" in written
    section = written.partition(" fastask tasks ")[2]
    assert re.search(
        r"^app:outer  failed, [\d.]+ ms: LookupError: a failed task$", section, re.MULTILINE
    )
    assert re.search(r"^  app:add  succeeded, [\d.]+ ms$", section, re.MULTILINE)


OWN = {
    "fixture of the project": """
@pytest.fixture
def tasks():
    with ft.testing() as tasks:
        yield tasks

def test_it(tasks):
    asyncio.run(add.kiq(1, 2))
    assert 0
""",
    "body": """
def test_it():
    with ft.testing():
        asyncio.run(add.kiq(1, 2))
        assert 0
""",
    "coroutine's body": """
async def test_it():
    async with ft.testing():
        await add.kiq(1, 2)
    assert 0
""",
    "fixture of a module": """
@pytest.fixture(scope="module", autouse=True)
def tasks():
    with ft.testing() as tasks:
        yield tasks

def test_before():
    asyncio.run(add.kiq(1, 2))

def test_it():
    asyncio.run(add.kiq(1, 2))
    assert 0
""",
}


@pytest.mark.parametrize("name", OWN)
def test_section_of_an_own_one(name: str, tmp_path: Path) -> None:
    """What is sent within the project's own `ft.testing()` is listed too, for its tests alone."""
    other = "\ndef test_other():\n    assert 0\n"
    counts, written = run(tmp_path, f"{OWN[name]}{other}", options="-p no:randomly")
    assert counts.startswith("2 failed"), written
    sections = re.findall(r" fastask tasks -+\napp:add  succeeded, [\d.]+ ms\n", written)
    assert len(sections) == 1, written


def test_section_of_wider_ones(tmp_path: Path) -> None:
    """It has what was sent for this test, and none is made for one that passes."""
    test = """
import fastask.pytest_plugin

@pytest.fixture(scope="module", autouse=True)
def tasks():
    with ft.testing(raise_errors=False) as tasks:
        yield tasks

def test_first():
    asyncio.run(add.kiq(1, 1))

def test_second():
    asyncio.run(outer.kiq())
    assert 0

def test_third():
    asyncio.run(add.kiq(1, 1))
    fastask.pytest_plugin.listing = None
"""
    counts, written = run(tmp_path, test, options="-p no:randomly")
    assert counts == "1 failed, 2 passed", written
    assert re.findall(r"^ *app:\w+  \w+", written, re.MULTILINE) == [
        "app:outer  failed",
        "  app:add  succeeded",
    ]


def test_section_of_many(tmp_path: Path) -> None:
    """Of very many that one test enters, the last ones are kept; and those that go on."""
    test = """
def test_it():
    with ft.testing():
        asyncio.run(add.kiq(1, 1))
        for _ in range(30):
            with ft.testing(raise_errors=False):
                asyncio.run(outer.kiq())
        assert 0
"""
    counts, written = run(tmp_path, test)
    assert counts == "1 failed", written
    assert written.count("\napp:add  succeeded") == 1
    assert written.count("\napp:outer  failed") == 21  # with the one that was open last


def test_other_event_loops(tmp_path: Path) -> None:
    """Where a plugin runs coroutines without asyncio, as with trio, the error says so."""
    (tmp_path / "conftest.py").write_text("""
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    pyfuncitem.obj(**{"tasks": pyfuncitem.funcargs["tasks"]}).send(None)
""")
    test = "async def test_it(tasks): ...\n"
    counts, written = run(tmp_path, test, options="-p no:asyncio", config=CONFIG_OF_NO_ASYNCIO)
    assert counts == "1 failed", written
    assert "let the fixture anyio_backend give 'asyncio'" in written


def test_errors_are_notes(tmp_path: Path) -> None:
    """What a test raises itself has the errors of tasks as notes."""
    _, written = run(tmp_path, FAILING["test that fails itself"])
    assert re.search(r"task app:outer \(\w+\) failed with LookupError", written), written
    assert "ExceptionGroup" not in written


def test_error_without_words(tmp_path: Path) -> None:
    """An error whose class fails while it is told does not end the run of all tests."""
    test = """
class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("str")

@ft.task
async def failing():
    raise Unspeakable

async def test_it(tasks):
    await failing.kiq()

async def test_after(tasks): ...
"""
    counts, written = run(tmp_path, test)
    assert counts == "1 failed, 1 passed", written
    assert "Unspeakable: <Unspeakable, whose text can't be had: RuntimeError>" in written


def test_plain_task_outside(tmp_path: Path) -> None:
    """A task of Taskiq's own that a test sends to a broker without a server is told of it."""
    test = """
@ft.broker.task
async def plain(n: int): ...

async def test_outside():
    await plain.kiq(1)

async def test_inside():
    async with ft.testing():
        await plain.kiq(object())

async def test_of_a_loop():
    async with ft.testing(raise_errors=False):
        await again.kiq()
        raise again_error[0]

again_error = []

@ft.broker.task
async def again():
    try:
        await again.kiq()
    except Exception as error:
        again_error.append(error)
"""
    counts, written = run(tmp_path, test)
    assert counts == "3 failed", written
    assert written.count("in a test, send within ft.testing()") == 1, written


@pytest.mark.parametrize("options", ["", "-n 2"])
def test_tasks_that_were_forgotten(options: str, tmp_path: Path) -> None:
    """What a test has sent with `run="later"` and not run is listed at the end."""
    test = """
@pytest.mark.fastask(run="later")
class TestLater:
    async def test_forgotten(self, tasks):
        await outer.kiq()
        await add.kiq(1, 2)

    def test_run(self, tasks):
        asyncio.run(add.kiq(1, 2))
        tasks.run_all()

@pytest.mark.fastask(run="never")
async def test_never(tasks):
    await add.kiq(1, 2)
    await tasks.run(add, 1, 2)
"""
    counts, written = run(tmp_path, test, options=options)
    assert counts == "3 passed", written
    section = written.partition(" fastask: sent with run='later' and never run ")[2]
    assert "test_it.py::TestLater::test_forgotten: app:outer, app:add\n3 passed" in section
    _, written = run(tmp_path, "def test_it(tasks): ...\n", options=options)
    assert "fastask" not in written


def test_setup_that_fails(tmp_path: Path) -> None:
    """The lifespan that a fixture's task has entered is left, if the test is not even called."""
    test = """
@pytest.fixture
async def sending(tasks):
    await add.kiq(5, 5)

@pytest.fixture
def broken(sending):
    raise OSError("broken")

async def test_it(broken): ...

async def test_after(tasks):
    assert events == ["up", "down", "up"]
"""
    counts, written = run(tmp_path, test)
    assert counts == "1 passed, 1 error", written
    section = written.partition(" fastask tasks ")[2]
    assert re.search(r"^app:add  succeeded", section, re.MULTILINE)


def test_that_is_run_again(tmp_path: Path) -> None:
    """A test that another plugin runs again starts anew."""
    (tmp_path / "conftest.py").write_text("""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(3):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    test = """
import inspect

async def test_it(tasks):
    await add.kiq(1, 2)
    assert [sent.result for sent in tasks.sent] == [3]
    assert events.count("up") == events.count("down") + 1
    assert [frame.function for frame in inspect.stack()].count("served") == 1

def test_plain(tasks):
    assert not tasks.sent
"""
    counts, written = run(tmp_path, test)
    assert counts == "6 passed", written


def test_nothing_to_tell(tmp_path: Path) -> None:
    """A test that passes has no section, nor has one that failed and has sent nothing."""
    counts, written = run(tmp_path, "def test_it(tasks):\n    assert 0\ndef test_its(tasks): ...\n")
    assert counts == "1 failed, 1 passed"
    assert "fastask tasks" not in written


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("", "fastask_app is ''; name the FastTask of the app in the pytest configuration"),
        ("fastask_app = app", "fastask_app is 'app'"),
        ("fastask_app = nowhere:ft", "can't be had (ModuleNotFoundError: No module named"),
        ("fastask_app = broken:ft", "'broken:ft' can't be had (ZeroDivisionError: division by"),
        ("fastask_app = app:nothing", "'app:nothing' can't be had"),
        ("fastask_app = app:app", "'app:app' is a FastAPI; name the FastTask"),
    ],
)
def test_configuration(config: str, told: str, tmp_path: Path) -> None:
    """What is wrong with the configuration is told to the test that asks for the fixture."""
    (tmp_path / "broken.py").write_text("1 / 0")
    test = "def test_it(tasks): ...\ndef test_other(): ...\n"
    counts, written = run(tmp_path, test, config=CONFIG.replace("fastask_app = app:ft", config))
    assert counts == "1 passed, 1 error", written
    assert told in written


def test_dots(tmp_path: Path) -> None:
    """The name may have dots."""
    config = CONFIG.replace("app:ft", "app:Holder.ft")
    counts, written = run(tmp_path, "def test_it(tasks): ...\n", config=config)
    assert counts == "1 passed", written


def test_root_folder(tmp_path: Path) -> None:
    """The app is found in the root folder of the tests, if in no other."""
    test = HEAD.replace("from app import add, app, events, ft, outer", "")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_other.py").write_text(f"{test}def test_it(tasks): ...\n")
    config = CONFIG.replace("pythonpath = .", "").replace(
        "addopts =", "addopts = --import-mode=importlib"
    )
    counts, written = run(tmp_path, "", config=config, options="tests", python="-P")
    assert counts == "1 passed", written


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("(runs='later')", "it takes run, raise_errors, lifespan, by keyword"),
        ("('later')", "it takes run, raise_errors, lifespan, by keyword"),
        ("(run='soon')", "run must be 'inline', 'later' or 'never', not 'soon'"),
    ],
)
def test_options_of_the_marker(marker: str, told: str, tmp_path: Path) -> None:
    """An option that can't be used is an error that names those that can, and the test."""
    test = f"@pytest.mark.fastask{marker}\ndef test_it(): ...\n"
    counts, written = run(tmp_path, test)
    assert counts == "1 error", written
    assert f"UsageError: @pytest.mark.fastask{marker} of test_it.py::test_it: {told}" in written


def test_project_without_it(tmp_path: Path) -> None:
    """It may be blocked, and imports no app for tests that don't use it."""
    (tmp_path / "app.py").write_text("1 / 0")
    (tmp_path / "test_it.py").write_text("def test_it(): ...")
    scope = "asyncio_default_fixture_loop_scope=function"
    for options in ([], ["-p", "no:fastask"]):
        command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-o", scope, *options]
        done = subprocess.run(command, cwd=tmp_path, timeout=PATIENCE, check=False)
        assert done.returncode == 0


def test_without_pytest() -> None:
    """`import fastask` does not need pytest."""
    program = "import sys; sys.modules['pytest'] = None; import fastask, fastask.testing"
    done = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=False)
    assert done.returncode == 0
