"""What would surprise somebody who knows FastAPI or Taskiq, and does not happen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.testclient import TestClient
from taskiq import TaskiqDepends

from fastask import INJECTED, DuplicateTaskError, FastTask, TaskOptionError
from tests.behaviour.receiving import ReceivingBroker


async def test_factory_s_app_is_the_one_that_is_served() -> None:
    """A server makes the app by the factory; tasks see that app, not another one."""

    def create() -> FastAPI:
        async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
            app.state.pool = "open"
            yield

        app = FastAPI(lifespan=ft.lifespan(lifespan))

        @app.post("/")
        async def post() -> str:
            return (await read.kiq()).task_id

        return app

    ft = FastTask(create)

    @ft.task
    async def read(*, request: Request = INJECTED) -> str:
        return str(request.app.state.pool)

    with TestClient(create()) as client:
        task_id = client.post("/").json()
    result = await ft.broker.result_backend.get_result(task_id)
    assert (result.error, result.return_value) == (None, "open")


async def test_embedded_broker_that_a_script_starts_runs_tasks() -> None:
    """`await ft.broker.startup()` without an app's lifespan leaves no task waiting for ever."""
    ft = FastTask(FastAPI())

    @ft.task("of:script")
    async def of_script() -> int:
        return 1

    await ft.broker.startup()
    assert await (await of_script.kiq()).result(timeout=5) == 1
    await ft.broker.shutdown()


async def test_task_sent_from_another_loop_is_run() -> None:
    """A thread with an event loop of its own may send to the embedded broker."""
    app = FastAPI()
    ft = FastTask(app)
    ran = asyncio.Event()

    @ft.task("sent:elsewhere")
    async def sent_elsewhere() -> None:
        ran.set()

    async with ft.lifespan()(app):
        await asyncio.to_thread(lambda: asyncio.run(sent_elsewhere.kiq()))
        await asyncio.wait_for(ran.wait(), 10)


async def test_default_of_a_positional_only_parameter_is_the_function_s() -> None:
    """What the caller leaves out is not sent as something else."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)

    @ft.task("by:position")
    async def by_position(a: int, b: int = 2, /) -> list[int]:
        return [a, b]

    assert (await broker.ran(by_position, 1)).return_value == [1, 2]


def made_by(make: Callable[[int], Any]) -> None:
    ft = FastTask(FastAPI())
    for number in range(2):
        ft.task("same:name")(make(number))


def closure(number: int) -> Any:
    async def returns() -> int:
        return number

    return returns


class Callable_:
    __name__ = "callable"

    def __init__(self, number: int) -> None:
        self.number = number

    async def __call__(self) -> int:
        return self.number


@pytest.mark.parametrize(
    "make",
    [closure, Callable_, lambda number: partial(closure(number))],
    ids=["closures", "instances", "partials"],
)
def test_two_functions_of_one_place_do_not_share_a_name(make: Callable[[int], Any]) -> None:
    """Only a module that is loaded again may declare a name again."""
    with pytest.raises(DuplicateTaskError):
        made_by(make)


def test_class_is_no_task() -> None:
    """A class is refused where it is declared."""
    with pytest.raises(TaskOptionError, match="a task is a function"):
        FastTask(FastAPI()).task(int)


async def test_timeout_of_blocking_code_fails_the_task() -> None:
    """The thread can't be stopped; the task fails when it ends, and what follows does not run."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)
    ran: list[str] = []

    def slow() -> None:
        time.sleep(0.2)

    @ft.task("slow:task", timeout=0.05)
    def slow_task() -> int:
        slow()
        return 7

    @ft.task("slow:dependency", timeout=0.05)
    async def slow_dependency(value: None = Depends(slow)) -> None:
        ran.append("body")

    for task in (slow_task, slow_dependency):
        assert isinstance((await broker.ran(task)).error, TimeoutError)
    assert ran == []


@dataclass
class Fake:
    url: str
    calls: list[int] = field(default_factory=list, compare=False)

    def __call__(self) -> str:
        self.calls.append(1)
        return self.url

    def __hash__(self) -> int:
        return hash(self.url)


async def test_equal_overrides_are_not_the_same() -> None:
    """The object that overrides now is called, not an equal one of an earlier test."""
    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    def real() -> str:
        return "real"

    @ft.task("equal:overrides")
    async def equal(value: str = Depends(real)) -> str:
        return value

    fakes = [Fake("fake"), Fake("fake")]
    for fake in fakes:
        app.dependency_overrides[real] = fake
        await broker.ran(equal)
    assert [fake.calls for fake in fakes] == [[1], [1]]


async def test_two_programs_on_one_broker_share_its_dependency_context() -> None:
    """What is added to the broker is there for the tasks of both."""

    class Key: ...

    broker = ReceivingBroker()
    first, second = FastTask(FastAPI(), broker), FastTask(FastAPI(), broker)

    async def read(key: Any = TaskiqDepends(Key)) -> str:
        return str(key)

    tasks = [first.task("of:first")(read), second.task("of:second")(read)]
    broker.add_dependency_context({Key: "given"})
    assert [(await broker.ran(task)).return_value for task in tasks] == ["given", "given"]


async def test_names_of_parameters_are_free() -> None:
    """No parameter's name collides with a name in the code that is written out."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)

    @ft.task("odd:names")
    async def odd(args: int, kwargs: int, func: int, context: int, load: int, v0: int) -> int:
        return args + kwargs + func + context + load + v0

    sent = {"args": 1, "kwargs": 2, "func": 3, "context": 4, "load": 5, "v0": 6}
    for _ in range(2):  # the second one by the code that is written out
        assert (await broker.ran_with(odd, sent)).return_value == 21


def test_lifespan_with_parentheses_says_how_to_write_it() -> None:
    """`@ft.lifespan()` would give a context manager where a lifespan is meant."""
    ft = FastTask(FastAPI())
    decorator: Any = ft.lifespan()
    with pytest.raises(TypeError, match=r"write @ft\.lifespan without parentheses"):
        decorator(lambda app: None)


def test_inline_task_of_a_test_runs_in_the_loop_of_the_lifespan() -> None:
    """What the lifespan opened belongs to the client's loop, whoever sends the task."""
    threads: dict[str, int] = {}

    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        threads["lifespan"] = threading.get_ident()
        yield

    app = FastAPI()
    ft = FastTask(app)
    app.router.lifespan_context = ft.lifespan(lifespan)

    @ft.task("in:loop")
    async def in_loop() -> None:
        threads["task"] = threading.get_ident()

    with ft.testing(), TestClient(app):
        asyncio.run(in_loop.kiq())
    assert threads["task"] == threads["lifespan"] != threading.get_ident()


def lowest() -> str:
    return "lowest"


async def early(later: Later, value: str = TaskiqDepends(lowest)) -> str:
    return value


early_marker: Any = FastTask.depends(early)


class Later(Request):
    """Defined after the marker that has to read it."""


async def test_marker_may_name_what_is_defined_later() -> None:
    """`ft.depends` reads annotations when FastAPI does, not when it is written."""
    app = FastAPI()
    ft = FastTask(app)

    @app.get("/")
    async def route(value: Any = early_marker) -> Any:
        return value

    @ft.task("named:later")
    async def task(value: Any = early_marker) -> Any:
        return value

    with TestClient(app) as client:
        assert client.get("/").json() == "lowest"
    assert await task.run() == "lowest"
