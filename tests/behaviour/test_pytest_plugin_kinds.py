"""The pytest plugin's fixture and marker, in tests of many kinds that one run of pytest has."""

import re
from pathlib import Path

import pytest

from tests.behaviour.pytest_runs import HEAD, run

PASSING = {
    "plain function": """
def test_it(tasks):
    assert isinstance(tasks, Tasks)
    with TestClient(app) as client:
        client.post("/")
    [sent] = tasks.sent_to(add)
    assert sent.result == 3
    assert events == ["up", "down"]
""",
    "coroutine function": """
async def test_it(tasks):
    assert isinstance(tasks, AsyncTasks)
    assert app.state.loop is asyncio.get_running_loop()
    await add.kiq(1, 2)
    assert tasks.sent[0].result == 3
    assert events == ["up"]

def test_after():
    assert events == ["up", "down"]
    assert threading.active_count() == 1
""",
    "method": """
class TestIt:
    async def test_it(self, tasks):
        await add.kiq(1, 2)
        assert tasks.sent[0].result == 3
""",
    "fixture that sends": """
@pytest.fixture
async def sending(tasks):
    await asyncio.gather(add.kiq(5, 5), add.kiq(5, 6))

async def test_it(sending, tasks):
    assert [sent.result for sent in tasks.sent] == [10, 11]
    assert app.state.loop is asyncio.get_running_loop()
    assert events == ["up"]

def test_after():
    assert events == ["up", "down"]
    assert threading.active_count() == 1
""",
    "fixture of another event loop": """
import pytest_asyncio

@pytest_asyncio.fixture(loop_scope="session")
async def sending(tasks):
    await add.kiq(5, 5)

async def test_it(sending, tasks):
    await add.kiq(1, 2)
    assert [sent.result for sent in tasks.sent] == [10, 3]
    assert app.state.loop is asyncio.get_running_loop()
    assert events == ["up", "down", "up"]
""",
    "plain fixture that sends": """
@pytest.fixture
def sending():
    asyncio.run(add.kiq(5, 5))

async def test_it(sending, tasks):
    await add.kiq(1, 2)
    assert [sent.result for sent in tasks.sent] == [10, 3]
    assert events == ["up"]
""",
    "fixtures of more than one test": """
@pytest.fixture(scope="session", autouse=True)
def outside():
    with pytest.raises(Exception, match="kick"):
        asyncio.run(add.kiq(1, 2))

@pytest.fixture(autouse=True)
def inside():
    asyncio.run(add.kiq(1, 2))

@pytest.mark.fastask
def test_it(): ...

def test_other(tasks):
    assert tasks.sent
""",
    "fixture that is asked for in the test": """
async def test_it(request):
    tasks = request.getfixturevalue("tasks")
    await add.kiq(1, 2)
    assert tasks.sent[0].result == 3

def test_after():
    assert events == ["up", "down"]
""",
    "fixture that is asked for in a coroutine": """
async def test_it(request):
    tasks = request.getfixturevalue("tasks")
    assert isinstance(tasks, AsyncTasks)
    assert await tasks.run(add, 1, 2) == 3

def test_after():
    assert events == ["up", "down"]
""",
    "fixture that sends at its end": """
@pytest.fixture
async def last(tasks):
    yield
    await add.kiq(1, 2)
    assert events == ["up"]
    assert app.state.loop is asyncio.get_running_loop()

@pytest.fixture
async def first(last, tasks):
    await add.kiq(1, 2)
    yield
    await add.kiq(1, 2)
    assert [sent.result for sent in tasks.sent] == [3, 3]

async def test_it(first): ...

def test_after():
    assert events == ["up", "down"]
    assert threading.active_count() == 1
""",
    "fixture of a class that sends at its end": """
class TestIt:
    @pytest.fixture
    async def fixture(self, tasks):
        self.number = 1
        yield self
        assert self.number == 2
        await add.kiq(1, 2)
        assert tasks.sent[0].result == 3

    async def test_it(self, fixture):
        assert self is fixture
        self.number += 1

def test_after():
    assert events == ["up", "down"]
""",
    "fixture of another event loop that sends at its end": """
import pytest_asyncio

@pytest_asyncio.fixture(loop_scope="session")
async def other(tasks):
    await add.kiq(1, 2)
    yield
    await add.kiq(1, 2)

@pytest.fixture
async def own(other, tasks):
    yield
    await add.kiq(1, 2)

async def test_it(own, tasks):
    await add.kiq(1, 2)

def test_after():
    assert events == ["up", "down"] * 3
    assert threading.active_count() == 1
""",
    "unittest": """
import unittest

class TestIt(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def given(self, tasks):
        self.tasks = tasks

    async def asyncSetUp(self):
        assert events == ["up"]
        await add.kiq(1, 2)

    async def test_it(self):
        assert isinstance(self.tasks, AsyncTasks)
        assert app.state.loop is asyncio.get_running_loop()
        await add.kiq(3, 4)
        assert [sent.result for sent in self.tasks.sent] == [3, 7]

    async def asyncTearDown(self):
        await add.kiq(5, 6)
        assert self.tasks.sent[-1].result == 11
        assert events == ["up"]

class TestPlain(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def given(self, tasks):
        self.tasks = tasks

    def test_it(self):
        assert self.tasks.run(add, 1, 2) == 3

def test_after():
    assert events == ["up", "down"] * 2
    assert threading.active_count() == 1
""",
    "fixture of the project": """
@pytest.fixture
def order():
    return []

@pytest.fixture
def before(order):
    order.append("before")

@pytest.fixture
def tasks(order):
    order.append("tasks")

async def test_it(before, tasks, order):
    assert order == ["before", "tasks"]
""",
    "fixture of the project that is made of it": """
@pytest.fixture
def before():
    asyncio.run(add.kiq(1, 2))

@pytest.fixture
def order():
    return []

@pytest.fixture
def tasks(tasks, order):
    order.append("tasks")
    asyncio.run(add.kiq(3, 4))
    return tasks

async def test_it(before, tasks, order):
    assert [sent.result for sent in tasks.sent] == [7, 3]
    assert order == ["tasks"]

@pytest.mark.fastask(run="later")
async def test_its_marker(before, tasks):
    assert [sent.state for sent in tasks.sent] == ["waiting"] * 2
    await tasks.run_all()
""",
    "hypothesis": """
from hypothesis import HealthCheck, given, settings, strategies

@settings(max_examples=3, suppress_health_check=list(HealthCheck), deadline=None, database=None)
@given(number=strategies.integers())
async def test_it(tasks, number):
    await add.kiq(number, 1)
    assert tasks.sent[-1].result == number + 1
    assert app.state.loop is asyncio.get_running_loop()
""",
    "marker": """
@pytest.mark.fastask(run="later")
async def test_it(tasks):
    await add.kiq(1, 2)
    assert tasks.sent[0].state == "waiting"
    assert [sent.result for sent in await tasks.run_all()] == [3]
""",
    "marker without the fixture": """
@pytest.fixture
def before():
    asyncio.run(add.kiq(1, 2))

@pytest.mark.fastask
def test_it(before):
    asyncio.run(add.kiq(1, 2))
""",
    "marker of a class": """
@pytest.mark.fastask(raise_errors=False, lifespan=False)
class TestIt:
    async def test_it(self, tasks):
        await outer.kiq()
        assert not events
""",
    "markers of class and function": """
@pytest.mark.fastask(run="later", raise_errors=False)
class TestIt:
    @pytest.mark.fastask(run="inline")
    async def test_it(self, tasks):
        await outer.kiq()
        assert tasks.sent[0].state == "failed"
""",
    "marker of a parameter": """
@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.fastask), 2])
def test_it(number, request):
    assert ("tasks" in request.node.funcargs) == (number == 1)
""",
    "override": """
async def get(): ...

def test_it(tasks):
    tasks.override(get, lambda: 1)

def test_after():
    assert app.dependency_overrides == {}
    with pytest.raises(Exception, match=r"ft\\.testing\\(\\)"):
        asyncio.run(add.kiq(1, 2))
""",
}


CONFTEST = """
import pytest
from app import events

@pytest.fixture(autouse=True, scope="module")
def anew():
    events.clear()
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[set[str], str]]:
    """What became of the tests of each kind, and what pytest has told of all."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "conftest.py").write_text(CONFTEST)
    modules = {name: f"test_{name.replace(' ', '_')}" for name in PASSING}
    for name, module in modules.items():
        (folder / f"{module}.py").write_text(HEAD + PASSING[name])
    _, written = run(folder, "", options="-rA")
    found = re.compile(r"^(PASSED|FAILED|ERROR) (\w+)\.py", re.MULTILINE).findall(written)
    return {
        name: ({outcome for outcome, each in found if each == module}, written)
        for name, module in modules.items()
    }


@pytest.mark.parametrize("name", PASSING)
def test_passes(name: str, outcomes: dict[str, tuple[set[str], str]]) -> None:
    """The fixture and the marker do what `ft.testing()` does, for all kinds of tests."""
    found, written = outcomes[name]
    assert found == {"PASSED"}, written


@pytest.mark.parametrize(
    "name", ["coroutine function", "fixture that sends", "fixture that sends at its end"]
)
def test_strict_mode(name: str, tmp_path: Path) -> None:
    """It works where coroutine functions are marked by hand."""
    test = PASSING[name].replace("async def test", "@pytest.mark.asyncio\nasync def test")
    test = test.replace("@pytest.fixture", "import pytest_asyncio\n@pytest_asyncio.fixture")
    counts, written = run(tmp_path, test, mode="strict")
    assert counts == "2 passed", written


@pytest.mark.parametrize(
    "name", ["coroutine function", "fixture that sends", "fixture that sends at its end"]
)
def test_plugin_of_anyio(name: str, tmp_path: Path) -> None:
    """It works with anyio's plugin."""
    test = PASSING[name].replace("async def test", "@pytest.mark.anyio\nasync def test")
    backend = '@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    counts, written = run(tmp_path, backend + test, mode="strict")
    assert counts == "2 passed", written
