"""Messages that run at the same time, kept apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.requests import HTTPConnection
from taskiq import Context, TaskiqDepends, TaskiqState
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from taskiq_dependencies import DependencyGraph

from fastask import INJECTED, FastTask
from fastask.brokers.memory import MemoryBroker
from fastask.context import current_context
from tests.unit.doubles import PATIENCE, remaining

MESSAGES = 200


@pytest.fixture
def ft() -> FastTask:
    return FastTask(FastAPI(), MemoryBroker(max_tasks=MESSAGES))


class Meeting:
    """Lets tasks go on when all have come."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._all = asyncio.Event()

    async def come(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._all.set()
        await self._all.wait()


async def id_early(context: Context = TaskiqDepends()) -> str:
    return context.message.task_id


async def sleepy() -> None:
    await asyncio.sleep(0)


async def id_late(
    slept: None = TaskiqDepends(sleepy, use_cache=False),
    context: Context = TaskiqDepends(),
) -> str:
    await asyncio.sleep(0)
    return context.message.task_id


@pytest.mark.parametrize("kind", ["plain", "fastask"])
async def test_many_at_once(ft: FastTask, kind: str) -> None:
    """Each of many concurrent messages sees its own `Context`, also where nothing is cached."""
    meeting = Meeting(MESSAGES)

    async def look(
        n: int,
        early: str = TaskiqDepends(id_early, use_cache=False),
        late: str = TaskiqDepends(id_late, use_cache=False),
        again: str = TaskiqDepends(id_late, use_cache=False),
        context: Context = TaskiqDepends(),
    ) -> list[str]:
        await meeting.come()
        return [early, late, again, context.message.task_id, current_context().message.task_id]

    task: Any = ft.task("look")(look) if kind == "fastask" else ft.broker.register_task(look)

    async def one(n: int) -> None:
        sent = await task.kiq(n)
        result = (await sent.get_result()).return_value
        assert result == [sent.task_id] * 5

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*map(one, range(MESSAGES)))
    assert remaining() == set()


async def test_compiled_after_another_message(ft: FastTask) -> None:
    """A task whose first message comes late sees its own messages, not the ones before."""

    @ft.task("first")
    async def first() -> None: ...

    @ft.task("late")
    async def late(name: str = ft.depends(id_late), state: TaskiqState = TaskiqDepends()) -> str:
        assert state is ft.broker.state
        return name

    async with asyncio.timeout(PATIENCE):
        await first.kiq()
        sent = await asyncio.gather(late.kiq(), late.kiq())
        assert [await one.result(timeout=1) for one in sent] == [one.task_id for one in sent]


@pytest.mark.parametrize("kind", ["plain", "fastask"])
async def test_request_of_plain_tasks(ft: FastTask, kind: str) -> None:
    """`Request` and `HTTPConnection` are there through `TaskiqDepends`, as one object."""

    async def app_of(request: Request = TaskiqDepends()) -> Any:
        return request.app

    async def look(
        request: Request = TaskiqDepends(),
        connection: HTTPConnection = TaskiqDepends(),
        app: Any = TaskiqDepends(app_of),
        annotated: Annotated[Request, TaskiqDepends()] = INJECTED,
    ) -> bool:
        return request is connection is annotated and app is request.app is ft.app

    task: Any = ft.task("look")(look) if kind == "fastask" else ft.broker.register_task(look)
    sent = await task.kiq()
    result = await sent.get_result()
    assert (result.error, result.return_value) == (None, True)


async def test_request_of_plain_tasks_is_their_own(ft: FastTask) -> None:
    """Plain tasks do not share a request or its state, one after the other or at once."""
    seen: list[Request] = []
    meeting = Meeting(10)

    async def look(n: int, request: Request = TaskiqDepends()) -> None:
        assert not hasattr(request.state, "n")
        request.state.n = n
        seen.append(request)
        await meeting.come()
        assert request.state.n == n

    task = ft.broker.register_task(look)
    async with asyncio.timeout(PATIENCE):
        sent = await asyncio.gather(*(task.kiq(n) for n in range(10)))
        sent.append(await task.kiq(10))
    assert [(await one.get_result()).error for one in sent] == [None] * 11
    assert len(set(map(id, seen))) == 11
    assert Request not in ft.broker.custom_dependency_context


async def test_lifespan_state_is_copied() -> None:
    """What a task puts into `request.state` no other task sees, nor the app."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"pool": "pool"}

    ft = FastTask(lambda: app)
    app = FastAPI(lifespan=ft.lifespan(lifespan))
    seen: list[dict[str, Any]] = []

    async def plain(n: int, request: Request = TaskiqDepends()) -> None:
        seen.append(dict(request.state._state))
        request.state.n = request.state.pool = n

    task = ft.broker.register_task(plain, "plain")
    ours = ft.task("ours")(plain)
    async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app):
        for n in range(2):
            await task.kiq(n)
            await ours.kiq(n)
    assert seen == [{"pool": "pool"}] * 4


async def test_no_graph_per_message(ft: FastTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taskiq builds no dependency graph while messages run, with overrides or without."""

    def get_word() -> str:
        return "word"

    @ft.task("ours")
    async def ours(word: str = ft.depends(get_word), request: Request = TaskiqDepends()) -> str:
        return word

    async def look(request: Request = TaskiqDepends(), word: str = TaskiqDepends(get_word)) -> str:
        return word

    plain = ft.broker.register_task(look, "plain")
    await ours.kiq()  # the receiver is made
    built: list[Any] = []
    original = DependencyGraph._build_graph

    def build(self: DependencyGraph) -> None:
        built.append(self.target)
        original(self)

    monkeypatch.setattr(DependencyGraph, "_build_graph", build)
    for _ in range(3):
        assert await (await ours.kiq()).result(timeout=1) == "word"
        assert (await (await plain.kiq()).get_result()).return_value == "word"
    ft.app.dependency_overrides[get_word] = lambda: "other"
    for _ in range(3):
        assert await (await ours.kiq()).result(timeout=1) == "other"
        await plain.kiq()
    assert built == []


async def test_state_and_extra_classes(ft: FastTask) -> None:
    """`TaskiqState` and classes of `add_dependency_context` are there for both kinds of tasks."""

    class Settings:
        pass

    settings = Settings()
    ft.broker.add_dependency_context({Settings: settings})
    ft.broker.state.number = 5

    async def look(state: TaskiqState = TaskiqDepends(), own: Settings = TaskiqDepends()) -> Any:
        return [state.number, own is settings]

    for task in (ft.task("ours")(look), ft.broker.register_task(look, "plain")):
        result = await (await task.kiq()).get_result()
        assert (result.error, result.return_value) == (None, [5, True])


async def test_extra_class_that_is_added_later(ft: FastTask) -> None:
    """A class that is provided after the task was declared, or anew, is what a run gets."""

    class Settings:
        def __init__(self, number: int) -> None:
            self.number = number

    @ft.task("ours")
    async def look(own: Settings = TaskiqDepends()) -> int:
        return own.number

    for number in (1, 2):
        ft.broker.add_dependency_context({Settings: Settings(number)})
        assert await (await look.kiq()).result(timeout=1) == number


async def test_progress(ft: FastTask) -> None:
    """A progress tracker writes for the task's own message."""

    @ft.task("work")
    async def work(n: int, tracker: ProgressTracker[Any] = TaskiqDepends()) -> None:
        await asyncio.sleep(0)
        await tracker.set_progress(TaskState.STARTED, n)

    sent = await asyncio.gather(*(work.kiq(n) for n in range(5)))
    for n, one in enumerate(sent):
        result = await one.get_result()
        assert result.error is None
        progress = await one.get_progress()
        assert progress is not None
        assert progress.meta == n


async def test_message_inside_a_message(ft: FastTask) -> None:
    """A task that runs inside of another does not take its `Context` away."""

    @ft.task("inner")
    async def inner(name: str = ft.depends(id_early)) -> str:
        return name

    @ft.task("outer")
    async def outer(context: Context, name: str = ft.depends(id_late)) -> bool:
        sent = await inner.kiq()
        assert await sent.result(timeout=1) == sent.task_id
        now = current_context().message.task_id
        return context.message.task_id == name == now != sent.task_id

    assert await (await outer.kiq()).result(timeout=1)  # type: ignore[call-arg]


async def test_context_of_run(ft: FastTask) -> None:
    """`run` has a `Context` with the task's name and labels and an id of its own."""

    @ft.task("look", labels={"queue": "mail"})
    async def look(context: Context) -> Any:
        return context.message

    one, other = await look.run(), await look.run()  # type: ignore[call-arg]
    assert (one.task_name, one.labels) == ("look", {"queue": "mail"})
    assert one.task_id != other.task_id


async def test_run_inside_a_message(ft: FastTask) -> None:
    """`run` inside a task has a `Context` of its own too, and leaves the task's alone."""

    @ft.task("inner")
    async def inner(name: str = ft.depends(id_early)) -> str:
        return name

    @ft.task("outer")
    async def outer(context: Context) -> bool:
        own = await inner.run()
        return own != context.message.task_id == current_context().message.task_id

    assert await (await outer.kiq()).result(timeout=1)  # type: ignore[call-arg]


async def test_no_message_is_announced(ft: FastTask) -> None:
    """A receiver that announces no message is told, by a task and by `current_context`."""
    with pytest.raises(RuntimeError, match="receiver announced no message"):
        current_context()

    @ft.task("look")
    async def look() -> None: ...

    with pytest.raises(RuntimeError, match="receiver announced no message"):
        await look.original_func()


async def test_shared_dependency(ft: FastTask) -> None:
    """Plain FastAPI dependencies and Taskiq's can stand in one task."""

    def get_word() -> str:
        return "word"

    @ft.task("mixed")
    async def mixed(
        one: str = Depends(get_word),
        other: str = TaskiqDepends(get_word),
        third: str = ft.depends(get_word),
    ) -> list[str]:
        return [one, other, third]

    assert await mixed.run() == ["word"] * 3
