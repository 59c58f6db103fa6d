"""`dependencies=[Depends(...)]`: resolved for their effect, in the order of a route's."""

from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.routing import Router

from fastask import FastTask, TaskRouter
from fastask.request import RequestFactory
from tests.behaviour.receiving import ReceivingBroker


async def test_outer_ones_come_first() -> None:
    """Those of the `FastTask`, of outer and inner routers, of the task, then its parameters."""
    log: list[str] = []

    def noting(name: str) -> Any:
        async def note() -> str:
            log.append(name)
            return name

        return Depends(note)

    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker, dependencies=[noting("app")])
    outer = TaskRouter(dependencies=[noting("outer")])
    inner = TaskRouter(dependencies=[noting("inner")])

    @inner.task("in:router", dependencies=[noting("task")])
    async def in_router(own: str = noting("own")) -> str:
        log.append("body")
        return own

    outer.include_router(inner)
    ft.include_router(outer)
    assert (await broker.ran(in_router)).return_value == "own"
    assert log == ["app", "outer", "inner", "task", "own", "body"]


async def test_one_that_raises_stops_the_task() -> None:
    """A guard that refuses a route refuses the task as well."""

    async def guard(request: Request) -> None:
        if "authorization" not in request.headers:
            raise HTTPException(401, "not for tasks")

    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    ran: list[bool] = []

    @ft.task("guarded:task", dependencies=[Depends(guard)])
    async def guarded() -> None:
        ran.append(True)

    result = await broker.ran(guarded)
    assert isinstance(result.error, HTTPException)
    assert result.error.status_code == 401
    assert not ran


@pytest.fixture
def requests_made(monkeypatch: pytest.MonkeyPatch) -> list[Router]:
    """The requests that were made, by their routers."""
    made: list[Router] = []
    make = RequestFactory.make

    def counted(self: RequestFactory, app: FastAPI, state: Any) -> Any:
        made.append(app.router)
        return make(self, app, state)

    monkeypatch.setattr(RequestFactory, "make", counted)
    return made


async def test_request_is_made_only_where_it_is_asked_for(requests_made: list[Router]) -> None:
    """A task without such a dependency makes none, sending makes none, one run makes one."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)

    async def no_request() -> int:
        return 1

    async def path(request: Request) -> str:
        return request.url.path

    @ft.task("without:request")
    async def without(value: int = Depends(no_request)) -> None: ...

    @ft.task("with:request")
    async def with_request(
        a: str = Depends(path), b: str = Depends(path, use_cache=False)
    ) -> None: ...

    await broker.ran(without)
    await with_request.kiq()
    assert requests_made == []
    await broker.deliver()
    assert len(requests_made) == 1


async def test_web_process_never_makes_one(requests_made: list[Router]) -> None:
    """The same dependency in a route gets the route's own request."""
    from httpx2 import ASGITransport, AsyncClient

    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    async def path(request: Request) -> str:
        return request.url.path

    @ft.task("sent:away")
    async def sent_away(found: str = ft.depends(path)) -> None: ...

    @app.get("/here")
    async def here(found: str = ft.depends(path)) -> str:
        await sent_away.kiq()
        return found

    async with AsyncClient(transport=ASGITransport(app), base_url="http://web") as client:
        assert (await client.get("/here")).json() == "/here"
    assert requests_made == []
