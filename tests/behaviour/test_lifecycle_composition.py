"""Lifespans put together: several programs, routers, one inside another, wrapped twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.testclient import TestClient
from taskiq import TaskiqEvents

from fastask import FastTask
from tests.unit.doubles import PATIENCE, RecordingBroker, remaining


class NamedBroker(RecordingBroker):
    """Notes its name when it is started and stopped."""

    def __init__(self, events: list[str], name: str) -> None:
        super().__init__(events)
        self.name = name

    def _note(self, event: str) -> None:
        super()._note(f"{self.name} {event}")


class Composed:
    """Two programs and one app, whose lifespan each test puts together."""

    def __init__(self, *, is_shared: bool = False) -> None:
        self.events: list[str] = []
        self.first = NamedBroker(self.events, "first")
        self.second = self.first if is_shared else NamedBroker(self.events, "second")
        self.ft1 = FastTask(lambda: self.app, self.first)
        self.ft2 = FastTask(lambda: self.app, self.second)
        self.app = FastAPI()

        @self.ft1.task("note")
        async def note(word: str) -> None: ...

        self.task = note

    def noting(self, name: str) -> Callable[[FastAPI], Any]:
        """A lifespan that notes what it does, sends a task at both ends and yields its name."""

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
            self.events.append(f"{name} startup")
            await self.task.kiq(f"{name} startup")
            yield {name: name}
            await self.task.kiq(f"{name} shutdown")
            self.events.append(f"{name} shutdown")

        return lifespan

    @property
    def sent(self) -> list[Any]:
        return [message.args[0] for message in self.first.messages]

    async def run(self, kind: str) -> dict[str, Any]:
        """Run a web process, a worker or a test; give the state that tasks see meanwhile."""
        program = self.ft1._program
        async with asyncio.timeout(PATIENCE):
            if kind == "web":
                async with self.app.router.lifespan_context(self.app) as state:
                    self.events.append("body")
                    assert dict(state or {}) == program.state
                    return dict(program.state)
            self.first.is_worker_process = True
            await asyncio.create_task(self.first.startup())
            self.events.append("body")
            seen = dict(program.state)
            await asyncio.create_task(self.first.shutdown())
            return seen

    def state_of_requests(self) -> dict[str, Any]:
        """Serve the app, and give the state that its routes see."""

        @self.app.get("/state")
        async def state(request: Request) -> dict[str, Any]:
            return dict(request.state._state)

        with TestClient(self.app) as client:
            seen: dict[str, Any] = client.get("/state").json()
            return seen

    def is_down(self) -> bool:
        return not remaining() and not any(
            program._lifespan.is_running or program._program.lifecycle.is_up
            for program in (self.ft1, self.ft2)
        )


def around(*names: str) -> list[str]:
    """The events of nested steps: outer first, the body in the middle, outer last.

    A broker is a name of two words, "first broker"; all others are lifespans.
    """
    entering = [f"{name} up" if " " in name else f"{name} startup" for name in names]
    leaving = [f"{name} down" if " " in name else f"{name} shutdown" for name in names]
    return [*entering, "body", *reversed(leaving)]


def ends(*names: str) -> list[str]:
    """What nested lifespans send."""
    leaving = [f"{name} shutdown" for name in reversed(names)]
    return [*(f"{name} startup" for name in names), *leaving]


@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_two_brokers(kind: str) -> None:
    """Two programs with a broker each: both brokers are up around the lifespan, in both kinds."""
    composed = Composed()
    composed.app = FastAPI(
        lifespan=composed.ft1.lifespan(composed.ft2.lifespan(composed.noting("user")))
    )
    for _ in range(2):
        assert await composed.run(kind) == {"user": "user"}
        assert composed.events == around("first broker", "second broker", "user")
        assert composed.is_down()
        composed.events.clear()


async def test_state_of_two_brokers() -> None:
    """Tasks of both programs, and requests, see the lifespan's state."""
    composed = Composed()
    user = composed.noting("user")
    composed.app = FastAPI(lifespan=composed.ft1.lifespan(composed.ft2.lifespan(user)))
    async with composed.app.router.lifespan_context(composed.app) as state:
        assert state == {"user": "user"}
        assert composed.ft1._program.state == composed.ft2._program.state == state
    assert composed.ft1._program.state == composed.ft2._program.state == {}


def test_state_of_two_brokers_reaches_requests() -> None:
    """A request sees the state that passed through two programs."""
    composed = Composed()
    user = composed.noting("user")
    composed.app = FastAPI(lifespan=composed.ft1.lifespan(composed.ft2.lifespan(user)))
    assert composed.state_of_requests() == {"user": "user"}


async def test_broker_started_by_hand_in_another_programs_worker() -> None:
    """A lifespan may start another program's broker itself, in the worker as in the web."""
    composed = Composed()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await composed.second.startup()
        yield
        await composed.second.shutdown()

    composed.app = FastAPI(lifespan=composed.ft1.lifespan(lifespan))
    for kind in ("web", "worker"):
        await composed.run(kind)
        assert composed.events == around("first broker", "second broker"), kind
        composed.events.clear()


@pytest.mark.parametrize("outer", ["ft1", "ft2"])
@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_shared_broker(kind: str, outer: str) -> None:
    """Two programs that share a broker start it once, run the lifespan once, stop it once."""
    composed = Composed(is_shared=True)
    user = composed.noting("user")
    first, second = composed.ft1, composed.ft2
    if outer == "ft2":
        first, second = second, first
    composed.app = FastAPI(lifespan=first.lifespan(second.lifespan(user)))
    for _ in range(2):
        assert await composed.run(kind) == {"user": "user"}
        assert composed.events == around("first broker", "user")
        assert composed.is_down()
        composed.events.clear()


@pytest.mark.parametrize("wrapping", ["ft1", "ft2"])
async def test_shared_broker_in_a_worker_with_one_of_two_lifespans(wrapping: str) -> None:
    """Where only one of two programs wraps the lifespan, a worker runs it once all the same."""
    composed = Composed(is_shared=True)
    wrapped = getattr(composed, wrapping).lifespan(composed.noting("user"))
    composed.app = FastAPI(lifespan=wrapped)
    assert await composed.run("worker") == {"user": "user"}
    assert composed.events == around("first broker", "user")
    assert composed.is_down()


async def test_shared_broker_of_two_apps_in_a_worker() -> None:
    """A worker runs the lifespans of all apps of its broker, the last one's inside."""
    composed = Composed()
    other = FastAPI()
    FastTask(lambda: other, composed.first)
    composed.app = FastAPI(lifespan=composed.ft1.lifespan(composed.noting("user")))
    other.router.lifespan_context = composed.noting("other")
    await composed.run("worker")
    assert composed.events == around("first broker", "user", "other")


async def test_two_apps_in_a_worker_one_of_which_fails() -> None:
    """An app that fails to start in a worker has those before it stopped, and the broker."""
    composed = Composed()

    @asynccontextmanager
    async def failing(app: FastAPI) -> AsyncIterator[None]:
        raise LookupError("other")
        yield  # type: ignore[unreachable]

    FastTask(FastAPI(lifespan=failing), composed.first)
    composed.app = FastAPI(lifespan=composed.ft1.lifespan(composed.noting("user")))
    with pytest.raises(LookupError, match="other"):
        await composed.run("worker")
    assert composed.events == [step for step in around("first broker", "user") if step != "body"]
    assert composed.is_down()


async def test_shared_broker_of_two_apps_in_the_web() -> None:
    """Of two apps that are served at once, neither stops the broker that the other one needs."""
    composed = Composed(is_shared=True)
    other = FastAPI(lifespan=composed.ft2.lifespan())
    composed.app = FastAPI(lifespan=composed.ft1.lifespan())
    begins = composed.app.router.lifespan_context(composed.app)
    follows = other.router.lifespan_context(other)
    async with asyncio.timeout(PATIENCE):
        await begins.__aenter__()
        await follows.__aenter__()
        await begins.__aexit__(None, None, None)
        composed.events.append("body of the other")
        await follows.__aexit__(None, None, None)
    assert composed.events == ["first broker up", "body of the other", "first broker down"]


async def test_second_server_waits_until_the_shared_broker_is_up() -> None:
    """Of two apps that start at once, none is served before the broker is up, or after it."""
    composed, go_on, both = Composed(is_shared=True), asyncio.Event(), asyncio.Barrier(2)
    other = FastAPI(lifespan=composed.ft2.lifespan())
    composed.app = FastAPI(lifespan=composed.ft1.lifespan())

    async def slowly(state: Any) -> None:
        await go_on.wait()
        composed.events.append("started")

    composed.ft1.broker.add_event_handler(TaskiqEvents.CLIENT_STARTUP, slowly)

    async def serve(app: FastAPI) -> None:
        async with app.router.lifespan_context(app):
            composed.events.append("body")
            await both.wait()

    async with asyncio.timeout(PATIENCE):
        serving = [asyncio.create_task(serve(app)) for app in (composed.app, other)]
        await asyncio.wait(serving, timeout=0.01)
        go_on.set()
        await asyncio.gather(*serving)
    up, *middle, down = composed.events
    assert (up, middle, down) == (
        "first broker up",
        ["started", "body", "body"],
        "first broker down",
    )


def with_router(composed: Composed, wrap_router: bool = False) -> None:
    router = APIRouter(
        lifespan=composed.ft1.lifespan(composed.noting("router"))
        if wrap_router
        else composed.noting("router")
    )
    composed.app = FastAPI(lifespan=composed.ft1.lifespan(composed.noting("user")))
    composed.app.include_router(router)


@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_lifespan_of_a_router(kind: str) -> None:
    """The broker is up around a router's lifespan too, which may send at both ends."""
    composed = Composed()
    with_router(composed)
    for _ in range(2):
        async with asyncio.timeout(PATIENCE):
            if kind == "web":  # tasks see what the wrapped lifespan yields, and not the router's
                async with composed.app.router.lifespan_context(composed.app) as state:
                    composed.events.append("body")
                    assert state == {"user": "user", "router": "router"}
            else:
                assert await composed.run(kind) == {"user": "user", "router": "router"}
        assert composed.events == around("first broker", "user", "router")
        assert composed.sent == ends("user", "router")
        assert composed.is_down()
        composed.events.clear()
        composed.first.sent.clear()


def test_state_of_a_router_reaches_requests() -> None:
    """Requests see the state of the app's and of the router's lifespan."""
    composed = Composed()
    with_router(composed)
    assert composed.state_of_requests() == {"user": "user", "router": "router"}


@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_wrapped_lifespan_of_a_router(kind: str) -> None:
    """A router whose lifespan is wrapped as well as the app's has it run, in both kinds."""
    composed = Composed()
    with_router(composed, wrap_router=True)
    async with asyncio.timeout(PATIENCE):
        if kind == "web":
            async with composed.app.router.lifespan_context(composed.app):
                composed.events.append("body")
        else:
            assert await composed.run(kind) == {"user": "user", "router": "router"}
    assert composed.events == around("first broker", "user", "router")
    assert composed.is_down()


@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_lifespan_inside_another(kind: str) -> None:
    """A plain lifespan may enter the wrapped one, and yield its state and more."""
    composed = Composed()
    wrapped = composed.ft1.lifespan(composed.noting("user"))

    @asynccontextmanager
    async def outer(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        composed.events.append("outer startup")
        async with wrapped(app) as state:
            yield dict(state)
        composed.events.append("outer shutdown")

    composed.app = FastAPI(lifespan=outer)
    for _ in range(2):
        assert await composed.run(kind) == {"user": "user"}
        expected = around("outer", "first broker", "user")
        if kind == "worker":  # there Taskiq starts the broker, before any lifespan
            expected = around("first broker", "outer", "user")
        assert composed.events == expected
        assert composed.is_down()
        composed.events.clear()


@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_wrapped_twice(kind: str) -> None:
    """A lifespan that is wrapped twice runs once, inside the broker."""
    composed = Composed()
    user = composed.noting("user")
    composed.app = FastAPI(lifespan=composed.ft1.lifespan(composed.ft1.lifespan(user)))
    for _ in range(2):
        assert await composed.run(kind) == {"user": "user"}
        assert composed.events == around("first broker", "user")
        assert composed.is_down()
        composed.events.clear()


@pytest.mark.parametrize("wrapped_before", [False, True], ids=["plain before", "wrapped before"])
@pytest.mark.parametrize("kind", ["web", "worker"])
async def test_wrapped_after_include_router(kind: str, wrapped_before: bool) -> None:
    """What is wrapped after the routers are included gives tasks the routers' state as well."""
    composed = Composed()
    with_router(composed)
    if not wrapped_before:
        composed.app = FastAPI(lifespan=composed.noting("user"))
        composed.app.include_router(APIRouter(lifespan=composed.noting("router")))
    inner = composed.app.router.lifespan_context
    composed.app.router.lifespan_context = composed.ft1.lifespan(inner)
    for _ in range(2):
        assert await composed.run(kind) == {"user": "user", "router": "router"}
        assert composed.events == around("first broker", "user", "router")
        assert composed.is_down()
        composed.events.clear()


@pytest.mark.parametrize("form", ["twice", "after include_router"])
async def test_wrapped_twice_in_a_test(form: str) -> None:
    """Under `ft.testing()` the lifespans that are wrapped twice run, and give their state."""
    composed = Composed()
    with_router(composed)
    inner = composed.app.router.lifespan_context
    if form == "twice":
        inner = composed.ft1.lifespan(composed.noting("user"))
    composed.app.router.lifespan_context = composed.ft1.lifespan(inner)
    names = ["user", "router"][: 1 + (form != "twice")]
    async with asyncio.timeout(PATIENCE), composed.ft1.testing():
        composed.events.append("body")
        assert composed.ft1._program.state == dict(zip(names, names, strict=True))
    assert composed.events == around(*names)
    assert composed.is_down()
