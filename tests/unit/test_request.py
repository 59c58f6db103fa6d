"""The request that a task's dependencies get."""

from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from fastask import FastTask, NoHTTPBodyError
from fastask.request import RequestFactory


def make(
    base_url: str | None = None, app: FastAPI | None = None, state: dict[str, Any] | None = None
) -> Request:
    return RequestFactory(base_url).make(app or FastAPI(), state or {})


def routed() -> FastAPI:
    """An app with a route, one of an included router, and one of a mounted app."""
    app = FastAPI()
    router = APIRouter(prefix="/items")

    @app.get("/health")
    def health() -> None: ...

    @router.get("/{item_id}")
    def read_item(item_id: int) -> None: ...

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    app.include_router(router, prefix="/v1")
    app.mount("/sub", FastAPI(routes=[Route("/page/{n}", page, name="page")]), name="sub")
    app.router.routes.append(Mount("/raw", routes=[Route("/page", page, name="page")], name="raw"))
    return app


def test_scope_is_complete() -> None:
    """The scope has all that ASGI and FastAPI put into one."""
    seen: dict[str, Any] = {}
    app = FastAPI()

    @app.get("/")
    async def look(request: Request) -> None:
        seen.update(request.scope)

    TestClient(app).get("/")
    # What FastAPI adds for a matched route and an open response.
    route_keys = {"endpoint", "route", "extensions", "fastapi_inner_astack"}
    route_keys |= {key for key in seen if key.startswith(("fastapi", "starlette"))}
    missing = set(seen) - set(make(app=app).scope) - route_keys
    assert missing == set()


def test_defaults() -> None:
    """Without an HTTP request everything is empty or a default."""
    app = FastAPI()
    request = make(app=app)
    assert request.method == "GET"
    assert dict(request.headers) == {}
    assert request.headers.get("authorization") is None
    assert dict(request.cookies) == {}
    assert dict(request.query_params) == {}
    assert request.path_params == {}
    assert str(request.url) == "http://localhost/"
    assert str(request.base_url) == "http://localhost/"
    assert request.url.path == "/"
    assert request.app is app
    assert request.state._state == {}


def test_client_is_no_address() -> None:
    """The client is named, and passes no allow-list of addresses."""
    client = make().client
    assert client is not None
    assert client.host == "task"


@pytest.mark.parametrize(
    ("base_url", "root"),
    [
        (None, "http://localhost/"),
        ("https://example.org", "https://example.org/"),
        ("https://example.org/", "https://example.org/"),
        ("https://example.org/shop", "https://example.org/shop/"),
        ("https://example.org/shop/", "https://example.org/shop/"),
        ("http://example.org:8000/a/b", "http://example.org:8000/a/b/"),
        ("https://example.org:443", "https://example.org/"),
        ("HTTPS://Example.org", "https://example.org/"),
    ],
)
def test_links(base_url: str | None, root: str) -> None:
    """Links start with the base URL, for routes, included routers and mounts."""
    request = make(base_url, routed())
    assert str(request.base_url) == root
    assert str(request.url) == root
    assert str(request.url_for("health")) == f"{root}health"
    assert str(request.url_for("read_item", item_id=5)) == f"{root}v1/items/5"
    assert str(request.url_for("sub", path="/page/3")) == f"{root}sub/page/3"
    assert str(request.url_for("raw:page")) == f"{root}raw/page"


def test_links_are_those_of_a_route() -> None:
    """A route behind the same address makes the same links."""
    app = routed()
    links: list[list[str]] = []

    def all_of(request: Request) -> list[str]:
        names: list[tuple[str, Any]] = [
            ("health", {}),
            ("read_item", {"item_id": 5}),
            ("sub", {"path": "/page/1"}),
        ]
        return [str(request.url_for(name, **params)) for name, params in names]

    @app.get("/links")
    def get_links(request: Request) -> None:
        links.append(all_of(request))

    client = TestClient(app, base_url="https://example.org")
    client.get("/links").raise_for_status()
    assert all_of(make("https://example.org", app)) == links[0]


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        (None, "http://localhost/api/health"),
        ("https://example.org", "https://example.org/api/health"),
        ("https://example.org/shop", "https://example.org/shop/health"),
    ],
)
def test_root_path(base_url: str | None, expected: str) -> None:
    """The app's root path counts where the base URL has no path of its own."""
    app = routed()
    app.root_path = "/api"
    request = make(base_url, app)
    assert str(request.url_for("health")) == expected


async def test_body() -> None:
    """Everything that reads a body says that a task has none."""
    request = make()
    with pytest.raises(NoHTTPBodyError, match=r"request\.body\(\): a task has no HTTP body"):
        await request.body()
    with pytest.raises(NoHTTPBodyError, match=r"json\(\)"):
        await request.json()
    with pytest.raises(NoHTTPBodyError, match=r"form\(\)"):
        await request.form()
    with pytest.raises(NoHTTPBodyError, match=r"form\(\)"):
        async with request.form(max_files=1):
            pass
    with pytest.raises(NoHTTPBodyError, match=r"stream\(\)"):
        async for _ in request.stream():
            pass
    with pytest.raises(NoHTTPBodyError, match=r"receive\(\)"):
        await request.receive()


async def test_nobody_has_gone_away() -> None:
    """A task is never disconnected."""
    assert await make().is_disconnected() is False


@pytest.mark.parametrize(
    "base_url",
    ["example.org", "/shop", "ftp://example.org", "https://", "//example.org", "https:///x"],
)
def test_bad_base_url(base_url: str) -> None:
    """A base URL that makes no links is refused where it is written."""
    with pytest.raises(ValueError, match="is no absolute URL") as caught:
        FastTask(FastAPI(), base_url=base_url)
    assert repr(base_url) in str(caught.value)


def test_base_url_with_a_bad_port() -> None:
    """A port that is no number is refused where it is written."""
    with pytest.raises(ValueError, match=r"base_url|[Pp]ort"):
        FastTask(FastAPI(), base_url="https://example.org:port")


@pytest.mark.parametrize("base_url", ["https://example.org?a=1", "https://example.org/#top"])
def test_base_url_with_a_query(base_url: str) -> None:
    """A query or fragment, which no link would keep, is refused where it is written."""
    with pytest.raises(ValueError, match="base_url"):
        FastTask(FastAPI(), base_url=base_url)


def test_state_is_copied() -> None:
    """Each run has a state of its own, made from what the lifespan yielded."""
    state = {"pool": object()}
    app = FastAPI()
    one, other = make(app=app, state=state), make(app=app, state=state)
    assert one.state.pool is other.state.pool is state["pool"]
    one.state.user = "ann"
    one.state.pool = None
    assert not hasattr(other.state, "user")
    assert other.state.pool is state["pool"]
    assert set(state) == {"pool"}


@pytest.mark.parametrize("name", ["session", "user", "auth"])
def test_without_middleware(name: str) -> None:
    """What middlewares provide is missing as in a route without them."""
    with pytest.raises(AssertionError) as in_task:
        getattr(make(), name)
    with pytest.raises(AssertionError) as in_route:
        getattr(Request({"type": "http", "headers": []}), name)
    assert str(in_task.value) == str(in_route.value)


async def test_one_request_in_a_run() -> None:
    """A run makes one request; connections are the same object."""
    ft = FastTask(FastAPI())
    seen: list[HTTPConnection] = []

    def note(request: Request, connection: HTTPConnection) -> None:
        seen.extend([request, connection])

    @ft.task
    async def noted(
        request: Request,
        connection: HTTPConnection,
        one: None = ft.depends(note),
        other: None = ft.depends(note, use_cache=False),
    ) -> None:
        seen.extend([request, connection])

    await noted.run()  # type: ignore[call-arg]
    assert len(seen) == 6
    assert len(set(map(id, seen))) == 1
    await noted.run()  # type: ignore[call-arg]
    assert len(set(map(id, seen))) == 2


async def test_made_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that asks for no request makes none."""
    made: list[str] = []
    monkeypatch.setattr(RequestFactory, "make", lambda *args: made.append("request"))
    ft = FastTask(FastAPI())

    @ft.task
    async def plain(n: int) -> int:
        return n

    await plain.run(1)
    assert made == []


def test_nothing_of_the_users_request() -> None:
    """A task sent from a route sees nothing of that route's request."""
    seen: list[Request] = []
    app = FastAPI()
    ft = FastTask(app)

    @ft.task
    async def look(request: Request) -> None:
        seen.append(request)

    @app.post("/send/{n}")
    async def send(n: int, request: Request) -> None:
        request.state.user = "ann"
        await look.kiq()  # type: ignore[call-arg]

    with ft.testing():
        client = TestClient(app, cookies={"session": "secret"})
        client.post("/send/5?a=1", headers={"authorization": "secret"}, json={}).raise_for_status()
    (request,) = seen
    assert dict(request.headers) == {}
    assert dict(request.cookies) == {}
    assert dict(request.query_params) == {}
    assert request.path_params == {}
    assert request.state._state == {}
    assert request.method == "GET"
    assert "secret" not in repr(request.scope)


def test_lifespan_state_in_a_task() -> None:
    """What the lifespan yields is in `request.state` of a task, as in a route."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        yield {"pool": "lifespan's"}

    ft = FastTask(lambda: app)
    app = FastAPI(lifespan=ft.lifespan(lifespan))

    @ft.task
    async def pool(request: Request) -> str:
        return str(request.state.pool)

    @app.get("/")
    async def get(request: Request) -> list[str]:
        sent = await pool.kiq()  # type: ignore[call-arg]
        return [request.state.pool, await sent.result(timeout=1)]

    with ft.testing(), TestClient(app) as client:
        assert client.get("/").json() == ["lifespan's"] * 2
