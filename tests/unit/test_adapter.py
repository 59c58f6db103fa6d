"""Dependencies with Taskiq's markers, in routes and in tasks."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Security
from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient
from taskiq import Context, TaskiqDepends, TaskiqState

from fastask import INJECTED, DependencyError, FastTask
from fastask.adapter import RouteAdapter, adapted, original

calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


@pytest.fixture
def ft(app: FastAPI) -> FastTask:
    return FastTask(app)


def word() -> str:
    return "word"


def taskiq_leaf() -> str:
    calls.append("leaf")
    return "leaf"


def taskiq_style(
    leaf: str = TaskiqDepends(taskiq_leaf),
    same: str = TaskiqDepends(taskiq_leaf),
    request: Request = TaskiqDepends(),
    connection: Annotated[HTTPConnection, TaskiqDepends()] = INJECTED,
) -> str:
    assert request is connection or type(connection) is HTTPConnection
    return f"{leaf} {same} {request.method}"


def below_plain(value: str = Depends(taskiq_style)) -> str:
    return value


async def below_async(value: Annotated[str, Depends(below_plain)]) -> str:
    return value


def below_generator(value: str = TaskiqDepends(taskiq_style)) -> Iterator[str]:
    calls.append("open")
    yield value
    calls.append("close")


class BelowClass:
    """A class whose parameters are marked for Taskiq."""

    def __init__(self, value: str = TaskiqDepends(taskiq_style)) -> None:
        self.value = value

    def __str__(self) -> str:
        return self.value


ADAPTED: list[Any] = [taskiq_style, below_plain, below_async, below_generator, BelowClass]


@pytest.mark.parametrize("dependency", ADAPTED)
async def test_adapted(app: FastAPI, ft: FastTask, dependency: Any) -> None:
    """What uses Taskiq's markers, itself or below, works in a route as in a task."""

    async def show(value: Annotated[Any, ft.depends(dependency)] = INJECTED) -> str:
        return str(value)

    app.get("/")(show)
    assert TestClient(app).get("/").json() == "leaf leaf GET"
    in_route = list(calls)
    calls.clear()
    assert await ft.task(show).run() == "leaf leaf GET"
    assert calls == in_route
    assert calls.count("leaf") == 1


@pytest.mark.parametrize("dependency", ADAPTED)
def test_openapi(app: FastAPI, ft: FastTask, dependency: Any) -> None:
    """No marker of Taskiq's becomes a parameter of the route."""

    @app.get("/")
    async def show(value: Any = ft.depends(dependency)) -> str:
        return str(value)

    operation = app.openapi()["paths"]["/"]["get"]
    assert "parameters" not in operation
    assert "requestBody" not in operation


def with_query(size: int = Query(5), leaf: str = TaskiqDepends(taskiq_leaf)) -> str:
    return f"{leaf} {size}"


async def test_http_parameters_beside(app: FastAPI, ft: FastTask) -> None:
    """A query parameter beside Taskiq's markers stays one in a route and defaults in a task."""

    async def show(value: str = ft.depends(with_query)) -> str:
        return value

    app.get("/")(show)
    client = TestClient(app)
    assert client.get("/?size=7").json() == "leaf 7"
    assert client.get("/").json() == "leaf 5"
    assert client.get("/?size=x").status_code == 422
    names = [parameter["name"] for parameter in app.openapi()["paths"]["/"]["get"]["parameters"]]
    assert names == ["size"]
    assert await ft.task(show).run() == "leaf 5"


def greeting(name: str = "nobody", mark: str = "!", leaf: str = TaskiqDepends(taskiq_leaf)) -> str:
    return f"{name}{mark} {leaf}"


def with_kwargs(
    ann: str = TaskiqDepends(greeting, kwargs={"name": "ann", "mark": "?"}),
    bob: str = TaskiqDepends(greeting, kwargs={"name": "bob", "mark": "."}),
    again: str = TaskiqDepends(greeting, kwargs={"name": "ann", "mark": "?"}),
) -> list[str]:
    return [ann, bob, again]


async def test_kwargs(app: FastAPI, ft: FastTask) -> None:
    """Fixed keyword arguments of `TaskiqDepends` are passed, and are no parameters of the route."""

    async def show(values: list[str] = ft.depends(with_kwargs)) -> list[str]:
        return values

    app.get("/")(show)
    expected = ["ann? leaf", "bob. leaf", "ann? leaf"]
    assert TestClient(app).get("/").json() == expected
    assert await ft.task(show).run() == expected
    assert "parameters" not in app.openapi()["paths"]["/"]["get"]


def scopes_of(scopes: SecurityScopes, leaf: str = TaskiqDepends(taskiq_leaf)) -> list[str]:
    return scopes.scopes


def secured(scopes: list[str] = Security(scopes_of, scopes=["read"])) -> list[str]:
    return scopes


async def test_security_scopes(app: FastAPI, ft: FastTask) -> None:
    """Scopes of `Security` reach an adapted dependency."""

    async def show(scopes: list[str] = ft.depends(secured)) -> list[str]:
        return scopes

    app.get("/")(show)
    assert TestClient(app).get("/").json() == ["read"]
    assert await ft.task(show).run() == ["read"]


@pytest.mark.parametrize("scope", ["function", "request"])
def test_scope(app: FastAPI, ft: FastTask, scope: Literal["function", "request"]) -> None:
    """The scope is kept: one closes before the response is sent, the other after."""

    @app.middleware("http")
    async def note(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        calls.append("response starts")
        return response

    @app.get("/")
    async def show(value: str = ft.depends(below_generator, scope=scope)) -> str:
        return value

    TestClient(app).get("/")
    order = ["leaf", "open", "close", "response starts"]
    assert calls == order if scope == "function" else calls.index("close") > 1


async def test_scope_in_a_task(ft: FastTask) -> None:
    """The scope of an adapted generator holds in a task too."""
    marker: Any = ft.depends(below_generator, scope="function")
    assert marker.scope == "function"

    @ft.task
    async def show(
        early: str = ft.depends(below_generator, scope="function"),
        late: str = ft.depends(below_generator),
    ) -> None:
        calls.append("body")

    await show.run()
    assert calls == ["leaf", "open", "open", "body", "close", "close"]


@pytest.mark.parametrize("at", [taskiq_style, taskiq_leaf, below_plain])
async def test_overrides(app: FastAPI, ft: FastTask, at: Any) -> None:
    """An override by the function as it is written reaches it, adapted or not."""

    async def show(value: str = ft.depends(below_async)) -> str:
        return value

    app.get("/")(show)
    task = ft.task(show)
    app.dependency_overrides[at] = lambda: "other"
    expected = "other other GET" if at is taskiq_leaf else "other"
    assert TestClient(app).get("/").json() == expected
    assert await task.run() == expected
    app.dependency_overrides.clear()
    assert TestClient(app).get("/").json() == await task.run() == "leaf leaf GET"


async def test_overridden_by_what_uses_taskiqs_markers(app: FastAPI, ft: FastTask) -> None:
    """An override may itself be written for both: through `adapted`, or with FastAPI's markers."""

    async def show(value: str = ft.depends(word)) -> str:
        return value

    app.get("/")(show)
    marker: Any = ft.depends(taskiq_style)
    app.dependency_overrides[word] = marker.dependency
    assert TestClient(app).get("/").json() == "leaf leaf GET"
    assert await ft.task(show).run() == "leaf leaf GET"


def test_adapter_equals_its_dependency() -> None:
    """An adapter stands for its dependency in overrides and caches."""
    adapter = adapted(taskiq_style)
    assert isinstance(adapter, RouteAdapter)
    assert adapter == taskiq_style
    assert hash(adapter) == hash(taskiq_style)
    overrides: dict[Any, int] = {taskiq_style: 1}
    assert overrides[adapter] == 1
    assert adapter == adapted(taskiq_style)
    assert adapter != adapted(below_plain)
    assert original(adapter) is taskiq_style
    assert adapted(word) is word
    assert repr(adapter) == "RouteAdapter(taskiq_style)"


def test_shared_between_adapted_and_plain(app: FastAPI, ft: FastTask) -> None:
    """One dependency, reached adapted and as it is, is called once in a request."""

    @app.get("/")
    async def show(
        value: str = ft.depends(below_plain), leaf: str = ft.depends(taskiq_leaf)
    ) -> None: ...

    TestClient(app).get("/").raise_for_status()
    assert calls == ["leaf"]


async def test_router_of_the_app(app: FastAPI, ft: FastTask) -> None:
    """Adapted dependencies work in the `dependencies` of routers and of tasks."""
    marker: Any = ft.depends(taskiq_style)
    router = APIRouter(dependencies=[marker])

    @router.get("/")
    async def show() -> None: ...

    app.include_router(router)
    TestClient(app).get("/").raise_for_status()
    assert calls == ["leaf"]
    await ft.task(dependencies=[marker])(show).run()
    assert calls == ["leaf"] * 2


def asks_context(context: Context = TaskiqDepends()) -> str:
    return context.message.task_name


def asks_state(state: TaskiqState = TaskiqDepends()) -> str:
    return "state"


@pytest.mark.parametrize(
    ("dependency", "asked"), [(asks_context, "Context"), (asks_state, "State")]
)
async def test_context_in_a_route(app: FastAPI, ft: FastTask, dependency: Any, asked: str) -> None:
    """A dependency that needs a running task says so in a route; an override helps."""

    async def show(value: str = ft.depends(dependency)) -> str:
        return value

    app.get("/")(show)
    client = TestClient(app)
    with pytest.raises(DependencyError, match=asked) as caught:
        client.get("/")
    assert "only a running task has" in str(caught.value)
    app.dependency_overrides[dependency] = word
    assert client.get("/").json() == "word"
    app.dependency_overrides.clear()
    assert await ft.task("task")(show).run() in ("task", "state")
