"""The app's lifespan: in the web process, and held open by one asyncio task."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from fastask import FastTask
from fastask.owner import LifespanOwner
from tests.unit.doubles import PATIENCE, RecordingBroker, remaining

Lifespan = Callable[[FastAPI], Any]


class Stage:
    """An app whose lifespan notes what happens, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.events: list[str] = []
        self.broker = RecordingBroker(self.events, fails)
        self.ft = FastTask(lambda: self.app, self.broker)
        self.app = FastAPI(lifespan=self.ft.lifespan(self.lifespan))

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[dict[str, str]]:
        self.note("startup")
        try:
            yield {"pool": "pool"}
        finally:
            self.note("shutdown")

    def note(self, event: str) -> None:
        self.events.append(event)
        if event == self.fails:
            raise LookupError(event)

    async def serve(self) -> None:
        async with asyncio.timeout(PATIENCE), self.app.router.lifespan_context(self.app):
            self.note("body")


@asynccontextmanager
async def manager(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": app.title}


async def generator(app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
    yield {"pool": app.title}


class ManagerClass:
    """A lifespan that is a class with `__aenter__` and `__aexit__`."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __aenter__(self) -> dict[str, Any]:
        return {"pool": self.app.title}

    async def __aexit__(self, *error: object) -> None: ...


def decorated(ft: FastTask) -> Lifespan:
    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"pool": app.title}

    return lifespan


def decorated_generator(ft: FastTask) -> Lifespan:
    @ft.lifespan
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        yield {"pool": app.title}

    return lifespan


FORMS: dict[str, Callable[[FastTask], Lifespan]] = {
    "context manager": lambda ft: ft.lifespan(manager),
    "generator": lambda ft: ft.lifespan(generator),
    "class": lambda ft: ft.lifespan(ManagerClass),
    "decorator": decorated,
    "decorated generator": decorated_generator,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    """Each form of lifespan gives its state to routes and to tasks."""
    ft = FastTask(lambda: app)
    app = FastAPI(title="shop", lifespan=FORMS[form](ft))

    def get_pool(request: Request) -> str:
        return str(request.state.pool)

    @ft.task
    async def pool_of_task(pool: str = ft.depends(get_pool)) -> str:
        return pool

    @app.get("/")
    async def pools(pool: str = ft.depends(get_pool)) -> list[str]:
        return [pool, await (await pool_of_task.kiq()).result(timeout=PATIENCE)]

    with TestClient(app) as client:
        assert client.get("/").json() == ["shop", "shop"]


async def test_nothing() -> None:
    """Without a lifespan of the user's the broker is started and stopped all the same."""
    broker = RecordingBroker()
    ft = FastTask(lambda: app, broker)
    app = FastAPI(lifespan=ft.lifespan())
    async with app.router.lifespan_context(app) as state:
        assert not state
        assert broker.events == ["broker up"]
    assert broker.events == ["broker up", "broker down"]


def test_nothing_over_asgi() -> None:
    """A lifespan without state is one that a server accepts."""
    ft = FastTask(lambda: app)
    app = FastAPI(lifespan=ft.lifespan())

    @app.get("/")
    async def get(request: Request) -> dict[str, Any]:
        return dict(request.state._state)

    with TestClient(app) as client:
        assert client.get("/").json() == {}


MATRIX = {
    "": ["broker up", "startup", "body", "shutdown", "broker down"],
    "broker up": ["broker up"],
    "startup": ["broker up", "startup", "broker down"],
    "body": ["broker up", "startup", "body", "shutdown", "broker down"],
    "shutdown": ["broker up", "startup", "body", "shutdown", "broker down"],
    "broker down": ["broker up", "startup", "body", "shutdown", "broker down"],
}


@pytest.mark.parametrize("fails", MATRIX)
async def test_what_was_done_is_undone(fails: str) -> None:
    """Whatever step fails, exactly the steps that were done are undone, and its error is told."""
    stage = Stage(fails)
    if fails:
        with pytest.raises((LookupError, ConnectionError), match=fails):
            await stage.serve()
    else:
        await stage.serve()
    assert stage.events == MATRIX[fails]
    assert not stage.ft._lifespan.is_running
    assert stage.ft._program.state == {}
    assert remaining() == set()


@pytest.mark.parametrize("fails", MATRIX)
async def test_again_after_a_failure(fails: str) -> None:
    """After a cycle, failed or not, the next one is complete."""
    stage = Stage(fails)
    for _ in range(2):
        try:
            await stage.serve()
        except (LookupError, ConnectionError):
            assert fails
    stage.events.clear()
    stage.fails = stage.broker.fails = ""
    await stage.serve()
    assert stage.events == MATRIX[""]


async def test_startup_and_shutdown_can_send() -> None:
    """Startup and shutdown code can enqueue: the broker is up around both."""
    stage = Stage()

    @stage.ft.task("note")
    async def note(word: str) -> None: ...

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await note.kiq("startup")
        yield
        await note.kiq("shutdown")

    app = stage.app = FastAPI(lifespan=stage.ft.lifespan(lifespan))
    async with app.router.lifespan_context(app):
        pass
    assert [message.args for message in stage.broker.messages] == [["startup"], ["shutdown"]]
    assert stage.events == ["broker up", "broker down"]


@pytest.mark.parametrize("flag", ["is_worker_process", "is_scheduler_process"])
async def test_taskiq_starts_the_broker(flag: str) -> None:
    """Where Taskiq starts the broker, the lifespan leaves it alone."""
    stage = Stage()
    setattr(stage.broker, flag, True)
    await stage.serve()
    assert stage.events == ["startup", "body", "shutdown"]


async def test_worker_starts_the_app_after_the_broker() -> None:
    """In a worker the order is that of the web process, though Taskiq starts the broker.

    A lifespan that starts and stops the broker itself does not do it again.
    """
    stage = Stage()
    stage.broker.is_worker_process = True
    lifespan = stage.ft._lifespan

    @asynccontextmanager
    async def starts_broker(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        stage.note("startup")
        await stage.broker.startup()
        yield {"pool": "pool"}
        await stage.broker.shutdown()
        stage.note("shutdown")

    stage.app = FastAPI(lifespan=stage.ft.lifespan(starts_broker))
    async with asyncio.timeout(PATIENCE):
        await stage.broker.startup()
        assert stage.events == ["broker up", "startup"]
        assert lifespan.is_running
        assert stage.ft._program.state == {"pool": "pool"}
        await stage.broker.shutdown()
    assert stage.events[2:] == ["shutdown", "broker down"]
    assert not lifespan.is_running


async def test_enter_fails() -> None:
    """A startup that fails in a worker leaves nothing entered, and may be tried again."""
    stage = Stage("startup")
    lifespan = stage.ft._lifespan
    with pytest.raises(LookupError, match="startup"):
        await lifespan.enter()
    assert not lifespan.is_running
    await lifespan.leave()
    assert stage.events == ["startup"]
    stage.fails = ""
    await lifespan.enter()
    await lifespan.leave()
    assert stage.events == ["startup", "startup", "shutdown"]


async def test_lifespan_that_fastask_does_not_wrap() -> None:
    """An app with a plain lifespan is entered in a worker just the same."""
    ft = FastTask(lambda: app)
    app = FastAPI(title="shop", lifespan=manager)
    await ft._lifespan.enter()
    assert ft._program.state == {"pool": "shop"}
    await ft._lifespan.leave()
    assert ft._program.state == {}


async def test_wrapped_lifespan_inside_another() -> None:
    """A wrapped lifespan that another one enters starts the broker for it too."""
    stage = Stage()
    wrapped = stage.ft.lifespan(stage.lifespan)

    @asynccontextmanager
    async def outer(app: FastAPI) -> AsyncIterator[Any]:
        stage.note("outer startup")
        async with wrapped(app) as state:
            yield state
        stage.note("outer shutdown")

    stage.app = FastAPI(lifespan=outer)
    await stage.serve()
    assert stage.events == ["outer startup", *MATRIX[""], "outer shutdown"]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def elsewhere(call: Callable[[], Any]) -> Any:
    """Call in an asyncio task of its own, as Taskiq does with startup and shutdown."""
    return await asyncio.create_task(call())


async def test_owner_keeps_to_one_task() -> None:
    """Task groups and context variables work, though entered and left from different tasks."""
    seen: list[Any] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        task = asyncio.current_task()
        token = variable.set("inside")
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield "yielded"
            group.cancel_scope.cancel()
        seen.append(variable.get())
        variable.reset(token)
        seen.append(asyncio.current_task() is task)

    async with asyncio.timeout(PATIENCE):
        owner = LifespanOwner(lifespan())
        assert await elsewhere(owner.enter) == "yielded"
        await elsewhere(owner.leave)
    assert seen == ["inside", True]
    assert variable.get() == "unset"
    assert remaining() == set()


async def test_owner_tells_what_startup_raises() -> None:
    """What the startup raises reaches the one who enters."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise LookupError("startup")
        yield  # type: ignore[unreachable]

    owner = LifespanOwner(lifespan())
    with pytest.raises(LookupError, match="startup"):
        await owner.enter()
    assert remaining() == set()


async def test_owner_tells_what_shutdown_raises() -> None:
    """What the shutdown raises reaches the one who leaves."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise LookupError("shutdown")

    owner = LifespanOwner(lifespan())
    await owner.enter()
    with pytest.raises(LookupError, match="shutdown"):
        await owner.leave()
    assert remaining() == set()


async def test_owner_is_cancelled_during_startup() -> None:
    """A startup that is cancelled cleans up before the cancellation goes on."""
    events: list[str] = []
    started = asyncio.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            started.set()
            await asyncio.Event().wait()
            yield
        finally:
            await asyncio.sleep(0)
            events.append("cleaned")

    owner = LifespanOwner(lifespan())
    entering = asyncio.create_task(owner.enter())
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        entering.cancel()
        await asyncio.wait([entering])
    assert entering.cancelled()
    assert events == ["cleaned"]
    assert remaining() == set()


async def test_owner_whose_lifespan_dies() -> None:
    """What kills a lifespan while it is held, as a task group's child, is told on leaving."""
    dead = asyncio.Event()

    async def die() -> None:
        raise LookupError("child")

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(die)
                yield
        finally:
            dead.set()

    owner = LifespanOwner(lifespan())
    async with asyncio.timeout(PATIENCE):
        await owner.enter()
        await dead.wait()
        with pytest.raises(ExceptionGroup) as caught:
            await owner.leave()
    assert caught.group_contains(LookupError, match="child")


async def test_leave_without_enter() -> None:
    """Leaving what was not entered does nothing."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield

    await LifespanOwner(lifespan()).leave()
