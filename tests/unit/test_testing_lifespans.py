"""The lifespan is entered once, and overrides end with the test, however the app is given."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.testclient import TestClient

from fastask import FastTask
from tests.unit.conftest import WriteModule
from tests.unit.doubles import UntouchableBroker
from tests.unit.shop import Shop, send
from tests.unit.test_testing_restores import snapshot


def get_rate() -> int:
    return 1


class Bank:
    """A program whose lifespan sends a task at its start and at its end."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.broker = UntouchableBroker()
        self.ft = FastTask(self.make, self.broker)

        @self.ft.task("note")
        async def note(word: str, rate: int = self.ft.depends(get_rate)) -> int:
            self.events.append(word)
            return rate

        self.note = note

    def make(self) -> FastAPI:
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            self.events.append("startup")
            await self.note.kiq("sent by the startup")
            yield
            await self.note.kiq("sent by the shutdown")
            self.events.append("shutdown")

        app = FastAPI(lifespan=self.ft.lifespan(lifespan))

        @app.get("/")
        async def route(rate: int = Depends(get_rate)) -> list[int]:
            return [rate, await (await self.note.kiq("route")).result(timeout=1)]

        return app


@pytest.fixture
def bank() -> Bank:
    return Bank()


AROUND = ["startup", "sent by the startup", "sent by the shutdown", "shutdown"]


@pytest.mark.parametrize("how", ["client", "client outside", "lazily", "async"])
def test_sent_by_the_lifespan_itself(bank: Bank, how: str) -> None:
    """Tasks that a startup or a shutdown sends are run, and start no second lifespan."""
    before = snapshot(bank.broker)

    async def main() -> None:
        async with bank.ft.testing() as tasks:
            assert len(tasks.sent) == 1

    if how == "async":
        asyncio.run(main())
    else:
        with bank.ft.testing() as tasks:
            if how == "lazily":
                assert tasks.run(bank.note, "run") == 1
                bank.events.remove("run")
            else:
                client = TestClient(bank.ft.app if how == "client" else bank.make())
                with client:
                    pass
                assert [sent.state for sent in tasks.sent] == ["succeeded"] * 2
    assert bank.events == AROUND
    assert snapshot(bank.broker) == before
    assert not bank.ft._lifespan.is_running


def test_sent_by_the_lifespan_later(bank: Bank) -> None:
    """So they are where tasks wait, and the test runs them while the client is there."""
    with bank.ft.testing("later") as tasks, TestClient(bank.ft.app):
        assert [sent.state for sent in tasks.sent] == ["waiting"]
        assert len(tasks.run_all()) == 1
    assert bank.events == ["startup", "sent by the startup", "shutdown"]


@pytest.mark.parametrize("how", ["tasks", "app"])
@pytest.mark.parametrize("app", ["object", "made by the client"])
def test_overrides(bank: Bank, how: str, app: str) -> None:
    """An override reaches routes and tasks, and is gone after the test."""
    own = bank.ft.app
    with bank.ft.testing() as tasks:
        served = own if app == "object" else bank.make()
        if how == "tasks":
            tasks.override(get_rate, lambda: 2)
        with TestClient(served) as client:
            if how == "app":
                served.dependency_overrides = {get_rate: lambda: 2}
            assert client.get("/").json() == [2, 2]
    assert bank.ft.app is own
    for one in (own, served):
        assert one.dependency_overrides == {}
    with bank.ft.testing(), TestClient(served) as client:
        assert client.get("/").json() == [1, 1]


@pytest.mark.parametrize("kind", ["lifespan", "handlers", "nothing"])
@pytest.mark.parametrize("how", ["sync", "async"])
def test_app_without_ft_lifespan(how: str, kind: str) -> None:
    """A client that enters the app has its lifespan run once, whatever the app's lifespan is."""
    events: list[str] = []

    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("startup")
        yield {"yielded": "state"}
        events.append("shutdown")

    ft = FastTask(lambda: app, UntouchableBroker())
    app = FastAPI(lifespan=asynccontextmanager(lifespan) if kind == "lifespan" else None)
    if kind == "handlers":
        app.router.on_startup.append(lambda: events.append("startup"))
        app.router.on_shutdown.append(lambda: events.append("shutdown"))
    own = app.router.lifespan_context

    @ft.task("state")
    async def state(request: Request) -> str:
        return getattr(request.state, "yielded", "none")

    async def main() -> None:
        async with ft.testing() as tasks:
            with TestClient(app):
                told.append(await tasks.run(state))  # type: ignore[call-arg]

    told: list[str] = []
    if how == "async":
        asyncio.run(main())
    else:
        with ft.testing(), ft.testing() as tasks, TestClient(app):
            told.append(tasks.run(state))  # type: ignore[call-arg]
    assert told == ["state" if kind == "lifespan" else "none"]
    assert events == ([] if kind == "nothing" else ["startup", "shutdown"])
    assert app.router.lifespan_context is own


def test_overrides_of_nested_tests(bank: Bank) -> None:
    """What was overridden before, outside or by the app itself, is so again."""
    bank.ft.app.dependency_overrides[get_rate] = lambda: 2
    with bank.ft.testing() as outer:
        outer.override(get_rate, lambda: 3)
        with bank.ft.testing() as inner:
            inner.override(get_rate, lambda: 4)
            assert inner.run(bank.note, "a") == 4
        assert outer.run(bank.note, "b") == 3
    with bank.ft.testing() as tasks:
        assert tasks.run(bank.note, "c") == 2


def test_broker_overrides_end_too(bank: Bank) -> None:
    """Taskiq's own overrides that a test writes end with it."""
    with bank.ft.testing() as tasks:
        bank.broker.dependency_overrides[get_rate] = lambda: 5
        assert tasks.run(bank.note, "a") == 5
    assert bank.broker.dependency_overrides == {}


@pytest.mark.parametrize("lifespan", [True, False])
def test_app_by_path(write_module: WriteModule, lifespan: bool) -> None:
    """An app that is named by its path is imported by the test."""
    write_module(
        "fastask_tested_app",
        """
        from fastapi import FastAPI
        from fastask import FastTask
        from tests.unit.doubles import UntouchableBroker

        ft = FastTask("fastask_tested_app:app", UntouchableBroker())
        app = FastAPI(lifespan=ft.lifespan())

        @ft.task
        async def one() -> int:
            return 1
        """,
    )
    import fastask_tested_app  # type: ignore[import-not-found]

    with fastask_tested_app.ft.testing(lifespan=lifespan) as tasks:
        assert tasks.run(fastask_tested_app.one) == 1


def second_program(shop: Shop) -> tuple[FastTask, Any]:
    other = FastTask(lambda: app, shop.broker)
    app = FastAPI(lifespan=other.lifespan())
    app.state.pool = "other"

    @other.task("other")
    async def task() -> str:
        return str(other.app.state.pool)

    return other, task


def test_two_programs_on_one_broker() -> None:
    """Tests of either see the tasks of both, and leave the broker as it was."""
    shop = Shop()
    other, task = second_program(shop)
    before = snapshot(shop.broker)
    with shop.ft.testing() as tasks:
        assert (tasks.run(shop.price, "pen"), tasks.run(task)) == ("pen 1 pool", "other")
    with other.testing() as tasks:
        assert tasks.run(task) == "other"
        with shop.ft.testing() as inner:
            assert inner.run(shop.price, "pen") == "pen 1 pool"
    assert snapshot(shop.broker) == before


def test_one_client_of_two_programs() -> None:
    """A client of one program's app does not stand for the lifespan of the other."""
    shop = Shop()
    other, _ = second_program(shop)
    with shop.ft.testing() as tasks, TestClient(other.app):
        asyncio.run(send(shop, "pen"))
        assert tasks.sent[0].result == "pen 1 pool"
    assert shop.events == ["startup", "pen", "shutdown"]


PLUGINS = """
import pytest
from fastapi import FastAPI
from fastask import FastTask
from tests.unit.shop import Shop, send

{mark}

@pytest.fixture
def shop():
    return Shop()

@{fixture}
async def tasks(shop):
    async with shop.ft.testing() as tasks:
        yield tasks
    assert not shop.ft._lifespan.is_running

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.parametrize("n", range(2))
async def test_fixture(shop, tasks, n):
    assert await tasks.run(shop.price, "pen") == "pen 1 pool"
    async with shop.ft.testing("later") as inner:
        await shop.price.kiq("ink")
        assert len(await inner.run_all()) == 1
    assert len(tasks.sent) == 1

async def test_alone(shop):
    async with shop.ft.testing() as tasks:
        await shop.price.kiq("pen")
        assert tasks.sent[0].error is None

@pytest.mark.xfail(raises=ExceptionGroup, strict=True)
async def test_loud(shop):
    async with shop.ft.testing():
        await shop.price.kiq("pen", fail=True)
"""


@pytest.mark.parametrize("plugin", ["asyncio", "asyncio, strict", "anyio"])
def test_plugins_of_pytest(tmp_path: Path, plugin: str) -> None:
    """Fixtures and tests of pytest-asyncio and of anyio's plugin work, nested ones too."""
    name = plugin.partition(",")[0]
    fixture = "pytest.fixture" if plugin != "asyncio, strict" else "pytest_asyncio.fixture"
    mark = "" if plugin == "asyncio" else f"pytestmark = pytest.mark.{name}"
    mark += "\nimport pytest_asyncio" if "strict" in plugin else ""
    (tmp_path / "test_it.py").write_text(PLUGINS.format(mark=mark, fixture=fixture))
    options = ["-p", "no:asyncio"] if name == "anyio" else asyncio_options(plugin)
    options += ["-p", "no:cacheprovider", "-q", "-W", "error", f"--rootdir={tmp_path}"]
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", "/dev/null", str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3 passed, 1 xfailed" in ran.stdout, ran.stdout + ran.stderr


def asyncio_options(plugin: str) -> list[str]:
    mode = "strict" if "strict" in plugin else "auto"
    return ["-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function"]


async def test_two_of_one_app() -> None:
    """The last one enters the lifespan of the app, which is that of both, when both are there."""
    app = FastAPI()
    first, second = FastTask(app, UntouchableBroker()), FastTask(app, UntouchableBroker())
    app.router.lifespan_context = first.lifespan(second.lifespan())
    ones = [ft.task("one")(get_rate) for ft in (first, second)]
    async with first.testing(lifespan=False) as tasks, second.testing() as others:
        assert [await tasks.run(ones[0]), await others.run(ones[1])] == [1, 1]
        assert [ft._lifespan.is_running for ft in (first, second)] == [True, True]
    assert [ft._lifespan.is_running for ft in (first, second)] == [False, False]
