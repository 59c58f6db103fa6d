"""Lifespans put together around the embedded broker: what its tasks see, and when they end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import APIRouter, FastAPI, Request

from fastask import FastTask
from tests.unit.doubles import PATIENCE, remaining


def pools(request: Request) -> str:
    """What a task sees of the app's state and of the router's."""
    return f"{request.state.user} {request.state.router}"


class Embedded:
    """An app with a router's lifespan, wrapped after the router was included."""

    def __init__(self, *, wrapped_before: bool) -> None:
        self.events: list[str] = []
        self.go_on = asyncio.Event()
        self.ft = ft = FastTask(lambda: self.app)

        @ft.task("work")
        async def work(word: str, pools: str = ft.depends(pools)) -> None:
            await self.go_on.wait()
            self.events.append(f"{word}: {pools}")

        self.work = work
        user = self.noting("user")
        self.app = FastAPI(lifespan=ft.lifespan(user) if wrapped_before else user)
        self.app.include_router(APIRouter(lifespan=self.noting("router")))
        inner = self.app.router.lifespan_context
        self.app.router.lifespan_context = ft.lifespan(inner)

    def noting(self, name: str):
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
            self.events.append(f"{name} startup")
            await self.work.kiq(f"sent by the {name}")
            yield {name: name}
            self.events.append(f"{name} shutdown")

        return lifespan


@pytest.mark.parametrize("wrapped_before", [False, True], ids=["plain before", "wrapped before"])
async def test_tasks_see_the_routers_state(wrapped_before: bool) -> None:
    """Tasks see the routers' state, and are drained before the routers' shutdown."""
    embedded = Embedded(wrapped_before=wrapped_before)
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            embedded.events.clear()
            embedded.go_on.clear()
            async with embedded.app.router.lifespan_context(embedded.app):
                await embedded.work.kiq("sent by the body")
                asyncio.get_running_loop().call_soon(embedded.go_on.set)
            events = embedded.events
            assert events[:2] == ["user startup", "router startup"]
            assert sorted(events[2:-2]) == [
                "sent by the body: user router",
                "sent by the router: user router",
                "sent by the user: user router",
            ]
            assert events[-2:] == ["router shutdown", "user shutdown"]
            assert remaining() == set()


async def test_two_embedded_programs() -> None:
    """Two programs with an embedded broker each run their tasks while both are up."""
    ft1, ft2 = FastTask(lambda: app), FastTask(lambda: app)
    ran: list[str] = []

    @asynccontextmanager
    async def user(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"user": "user"}
        ran.append("shutdown")

    app = FastAPI(lifespan=ft1.lifespan(ft2.lifespan(user)))

    def pool(request: Request) -> str:
        return str(request.state.user)

    @ft1.task("one")
    async def one(pool: str = ft1.depends(pool)) -> None:
        ran.append(f"one {pool}")

    @ft2.task("two")
    async def two(pool: str = ft2.depends(pool)) -> None:
        ran.append(f"two {pool}")

    async with asyncio.timeout(PATIENCE):
        async with app.router.lifespan_context(app):
            await one.kiq()
            await two.kiq()
    assert sorted(ran[:2]) == ["one user", "two user"]
    assert ran[2:] == ["shutdown"]
    assert remaining() == set()


async def test_two_programs_that_share_an_embedded_broker() -> None:
    """Two programs that share an embedded broker have one queue, drained before the shutdown."""
    ft1 = FastTask(lambda: app)
    ft2 = FastTask(lambda: app, ft1.broker)
    ran: list[str] = []

    @asynccontextmanager
    async def user(app: FastAPI) -> AsyncIterator[None]:
        yield
        ran.append("shutdown")

    app = FastAPI(lifespan=ft1.lifespan(ft2.lifespan(user)))

    @ft1.task("one")
    async def one() -> None:
        ran.append("one")

    @ft2.task("two")
    async def two() -> None:
        ran.append("two")

    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            ran.clear()
            async with app.router.lifespan_context(app):
                await one.kiq()
                await two.kiq()
            assert sorted(ran[:2]) == ["one", "two"]
            assert ran[2:] == ["shutdown"]
    assert remaining() == set()
