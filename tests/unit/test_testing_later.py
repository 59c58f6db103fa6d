"""When tasks run: at once, later, or never; and that no test can wait for ever."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from taskiq import Context, InMemoryBroker, TaskiqDepends

from fastask import FastTask, InvalidArgumentsError
from fastask.exceptions import TaskLoopError, TaskNotRunError
from tests.unit.doubles import PATIENCE
from tests.unit.shop import Shop, send
from tests.unit.test_testing_failures import send_one
from tests.unit.test_testing_restores import snapshot


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_later(shop: Shop) -> None:
    """Nothing runs before `run_all`, which runs in the order of sending."""
    async with shop.ft.testing("later") as tasks:
        for item in "abc":
            await shop.price.kiq(item)
        assert [sent.state for sent in tasks.sent] == ["waiting"] * 3
        assert shop.events == ["startup"]
        ran = await tasks.run_all()
        assert ran == tasks.sent
        assert shop.events == ["startup", "a", "b", "c"]
        assert await tasks.run_all() == []


async def test_never(shop: Shop) -> None:
    """What is only noted has no run, and leaving does not mind."""
    async with shop.ft.testing("never") as tasks:
        await shop.price.kiq("pen")
        assert [sent.state for sent in tasks.sent] == ["waiting"]
    assert shop.events == ["startup", "shutdown"]


def test_mode_that_is_none(shop: Shop) -> None:
    """Another mode is refused where it is written."""
    mode: Any = "sooner"
    with pytest.raises(ValueError, match="'inline', 'later' or 'never', not 'sooner'"):
        shop.ft.testing(mode)


def chained(shop: Shop, length: int) -> Any:
    """A task that sends itself so many times."""

    @shop.ft.task("chained")
    async def task(left: int = length) -> None:
        if left:
            await task.kiq(left - 1)

    return task


async def test_tasks_of_tasks_are_run(shop: Shop) -> None:
    """`run_all` runs what tasks send too, up to its limit and not a task less."""
    task = chained(shop, 9)
    async with shop.ft.testing("later") as tasks:
        await task.kiq()
        assert len(await tasks.run_all(limit=10)) == 10


def ping_and_pong(shop: Shop) -> tuple[Any, Any]:
    @shop.ft.task("ping")
    async def ping() -> None:
        await pong.kiq()

    @shop.ft.task("pong")
    async def pong() -> None:
        await ping.kiq()

    return ping, pong


@pytest.mark.parametrize("how", ["sync", "async"])
def test_loop_is_named(shop: Shop, how: str) -> None:
    """Tasks that send each other for ever are an error that names them."""
    ping, _ = ping_and_pong(shop)

    async def main() -> None:
        async with asyncio.timeout(PATIENCE), shop.ft.testing("later") as tasks:
            await ping.kiq()
            await tasks.run_all(limit=20)

    with pytest.raises(TaskLoopError) as caught:  # noqa: PT012
        if how == "async":
            asyncio.run(main())
        with shop.ft.testing("later") as tasks:
            asyncio.run(send_one(ping))
            tasks.run_all(limit=20)
    assert caught.value.names in [("ping", "pong", "ping"), ("pong", "ping", "pong")]


async def ping_sent(ping: Any) -> None:
    await ping.kiq()


async def test_loop_inline(shop: Shop) -> None:
    """Inline, the sending that goes too deep fails, and the error names the tasks."""
    ping, _ = ping_and_pong(shop)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(PATIENCE), shop.ft.testing():
            await ping.kiq()
    [error] = caught.value.exceptions
    loop = error if isinstance(error, TaskLoopError) else error.__cause__
    assert isinstance(loop, TaskLoopError)
    assert set(loop.names) == {"ping", "pong"}


async def test_loop_of_others_is_named(shop: Shop) -> None:
    """So they are where what comes next is no part of the loop, in words that don't grow."""

    @shop.ft.task("leaf")
    async def leaf() -> None: ...

    @shop.ft.task("tick")
    async def tick() -> None:
        await tick.kiq()
        await leaf.kiq()

    told: set[str] = set()
    for limit in (20, 21, 22, 200):
        async with shop.ft.testing("later") as tasks:
            await leaf.kiq()
            await tick.kiq()
            with pytest.raises(TaskLoopError) as caught:
                await tasks.run_all(limit=limit)
            told.add(str(caught.value))
    [words] = told
    assert "an end: 'tick' -> 'tick'; end it" in words


def test_long_loop_is_told_in_short() -> None:
    """Of many names some are left out."""
    error = TaskLoopError([f"task{n}" for n in range(50)])
    assert "'task0' -> " in str(error)
    assert "'task7' -> ... (41 more) -> 'task49'; end it" in str(error)


async def test_too_many_tasks(shop: Shop) -> None:
    """Tasks that make no loop are no loop, and what is left goes on waiting."""
    async with shop.ft.testing("later") as tasks:
        for item in "abc":
            await shop.price.kiq(item)
        with pytest.raises(
            TaskLoopError, match="more tasks to run than the limit, such as 'price'"
        ):
            await tasks.run_all(limit=2)
        assert await tasks.run_all() == tasks.sent[2:]
    assert shop.events == ["startup", "a", "b", "c", "shutdown"]


@pytest.mark.parametrize("how", ["inline", "later", "run", "run later", "run never"])
async def test_task_that_puts_itself_back(
    shop: Shop, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that calls `ctx.requeue()` for ever is a loop too, however it is run."""
    monkeypatch.setattr("fastask.testing.runs._MOST", 20)

    @shop.ft.task("poll")
    async def poll(context: Context = TaskiqDepends()) -> None:
        await context.requeue()

    mode: Any = how.rsplit(maxsplit=1)[-1].replace("run", "inline")
    async with asyncio.timeout(PATIENCE), shop.ft.testing(mode, raise_errors=False) as tasks:
        with pytest.raises(TaskLoopError, match="an end: 'poll' -> 'poll'; end it"):  # noqa: PT012
            if how.startswith("run"):
                await tasks.run(poll)
            else:
                await poll.kiq()
                await tasks.run_all(limit=20)
                tasks.sent[0].result  # noqa: B018
        assert tasks.sent[0].attempts == 20


@pytest.mark.parametrize("how", ["run_all", "run"])
@pytest.mark.parametrize("mode", ["inline", "later", "never"])
async def test_retried_task_is_one(shop: Shop, how: str, mode: Any) -> None:
    """`run_all` and `run` run a task until it has no retry left; it is one that was run."""

    @shop.ft.task("flaky", retries=2)
    async def flaky() -> int:
        [sent] = tasks.sent
        if sent.attempts < 3:
            raise LookupError("flaky")
        return sent.attempts

    async with asyncio.timeout(PATIENCE), shop.ft.testing(mode) as tasks:
        if how == "run":
            assert await tasks.run(flaky) == 3
        else:
            await flaky.kiq()
            assert await tasks.run_all() == (tasks.sent if mode == "later" else [])


async def test_run(shop: Shop) -> None:
    """`run` sends one task, checks its arguments and runs it, whatever waits."""
    wrong: Any = shop.price
    async with shop.ft.testing("never") as tasks:
        await shop.price.kiq("waits")
        assert await tasks.run(shop.price, "pen", 2) == "pen 2 pool"
        assert [sent.state for sent in tasks.sent] == ["waiting", "succeeded"]
        with pytest.raises(InvalidArgumentsError):
            await tasks.run(wrong, [])


@pytest.mark.parametrize("client", ["none", "entered", "not entered"])
@pytest.mark.parametrize("mode", ["inline", "later", "never"])
def test_run_sync(shop: Shop, mode: Any, client: str) -> None:
    """So it does in a plain function, with a client and without, with the lifespan once."""
    with shop.ft.testing(mode) as tasks:
        if client == "entered":
            with TestClient(shop.app):
                assert tasks.run(shop.price, "pen") == "pen 1 pool"
        else:
            assert tasks.run(shop.price, "pen") == "pen 1 pool"
        if client == "not entered":
            TestClient(shop.app).get("/")
    assert shop.events == ["startup", "pen", "shutdown"]


def test_later_with_a_client(shop: Shop) -> None:
    """A request's task waits until the test runs it, in the client's event loop."""

    @shop.app.post("/later")
    async def route() -> None:
        await shop.price.kiq("pen")

    with shop.ft.testing("later") as tasks, TestClient(shop.app) as client:
        client.post("/later")
        assert shop.events == ["startup"]
        assert [sent.result for sent in tasks.run_all()] == ["pen 1 pool"]


async def test_sync_inside_a_running_loop(shop: Shop) -> None:
    """A wait of the app's own event loop for itself is an error, not a deadlock."""
    async with shop.ft.testing("later"):
        with shop.ft.testing("later") as tasks:
            await shop.price.kiq("pen")
            for wait in (tasks.run_all, lambda: tasks.run(shop.price, "pen")):
                with pytest.raises(RuntimeError, match="write 'async with"):
                    wait()
            assert len(await asyncio.to_thread(tasks.run_all)) == 1


async def test_sync_beside_a_running_loop(shop: Shop) -> None:
    """Where the app has a loop of its own, a coroutine may wait in the sync way."""
    with shop.ft.testing("later") as tasks:
        await shop.price.kiq("pen")
        assert [sent.result for sent in tasks.run_all()] == ["pen 1 pool"]
        assert tasks.run(shop.price, "pen") == "pen 1 pool"
    assert shop.events == ["startup", "pen", "pen", "shutdown"]


@pytest.mark.parametrize("wait", ["run_all", "run"])
def test_sync_inside_a_route(shop: Shop, wait: str) -> None:
    """A route that waits in the sync way is refused in the loop, and served in a thread."""
    with shop.ft.testing("later") as tasks:

        def waited() -> None:
            tasks.run_all() if wait == "run_all" else tasks.run(shop.price, "pen")

        @shop.app.get("/loop")
        async def in_loop() -> None:
            with pytest.raises(RuntimeError, match="write 'async with"):
                waited()

        shop.app.get("/thread")(waited)
        with TestClient(shop.app) as client:
            asyncio.run(send(shop, "pen"))
            assert client.get("/loop").status_code == 200
            assert client.get("/thread").status_code == 200


async def test_client_that_blocks_the_loop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocking client in a coroutine function is told, instead of waiting for ever."""
    monkeypatch.setattr("fastask.testing.loops._SILENCE", 0.05)
    async with shop.ft.testing():
        with (
            TestClient(shop.app) as client,
            pytest.raises(RuntimeError) as caught,
        ):
            client.post("/")
    assert "is blocked" in str(caught.value)
    assert "httpx.AsyncClient" in str(caught.value)


async def test_without_lifespan(shop: Shop) -> None:
    """With `lifespan=False` tasks run without it."""
    shop.app.state.pool = "own"
    async with shop.ft.testing(lifespan=False) as tasks:
        assert await tasks.run(shop.price, "pen") == "pen 1 own"
    assert shop.events == ["pen"]


def test_without_lifespan_sync(shop: Shop) -> None:
    """So they do in a plain function."""
    shop.app.state.pool = "own"
    with shop.ft.testing(lifespan=False) as tasks:
        assert tasks.run(shop.price, "pen") == "pen 1 own"
    assert shop.events == ["pen"]


@pytest.mark.parametrize("make", [lambda: None, InMemoryBroker])
@pytest.mark.parametrize("how", ["sync", "async"])
def test_other_brokers(make: Any, how: str) -> None:
    """The embedded broker and Taskiq's in-memory one are tested in the same way."""
    ft = FastTask(lambda: app, make())
    app = FastAPI(lifespan=ft.lifespan())

    @ft.task("one")
    async def one() -> int:
        return 1

    async def main() -> None:
        async with ft.testing("later") as tasks:
            await one.kiq()
            assert [sent.result for sent in await tasks.run_all()] == [1]

    before = snapshot(ft.broker)
    if how == "async":
        asyncio.run(main())
    else:
        with ft.testing("later") as tasks, TestClient(app):
            asyncio.run(send_one(one))
            assert [sent.result for sent in tasks.run_all()] == [1]
    assert snapshot(ft.broker) == before


def test_never_runs_nothing(shop: Shop) -> None:
    """With `run="never"` there is nothing for `run_all` to run; `run` is asked for by hand."""
    with shop.ft.testing(run="never") as tasks:
        asyncio.run(send(shop, "pen"))
        assert tasks.run_all() == []
        assert [sent.state for sent in tasks.sent] == ["waiting"]
        assert tasks.run(shop.price, "cup") == "cup 1 pool"
    assert shop.events == ["startup", "cup", "shutdown"]


def test_use_after_leaving(shop: Shop) -> None:
    """What was left starts nothing."""
    with shop.ft.testing(run="later") as tasks:
        pass
    with pytest.raises(RuntimeError, match="was left"):
        tasks.run_all()
    with pytest.raises(RuntimeError, match="was left"):
        tasks.run(shop.price, "pen")
    assert shop.events == []


def test_override_with_no_function(shop: Shop) -> None:
    """An object in the place of a function is told at once, with the remedy."""
    replacement: Any = 5
    with shop.ft.testing() as tasks, pytest.raises(TypeError, match="write 'lambda: fake'"):
        tasks.override(send, replacement)


async def test_looking_often_is_no_waiting(shop: Shop) -> None:
    """A route that only looks is answered, however often; who waits is told in the end."""
    async with shop.ft.testing(run="later"):
        sent = await shop.price.kiq("pen")
        for _ in range(100):
            assert not await sent.is_ready()
        with pytest.raises(TaskNotRunError, match="run_all"):
            await sent.result()


@pytest.mark.parametrize("how", ["send", "run", "run_all"])
def test_app_in_a_loop_that_does_not_run(shop: Shop, how: str) -> None:
    """A plain test whose fixture has entered it with `async with` is told what to write."""
    with asyncio.Runner() as runner:
        outer = shop.ft.testing()
        runner.run(outer.__aenter__())
        try:
            with shop.ft.testing() as tasks:
                work: Any = {
                    "send": lambda: asyncio.run(send(shop, "pen")),
                    "run": lambda: tasks.run(shop.price, "pen"),
                    "run_all": tasks.run_all,
                }[how]
                with pytest.raises(RuntimeError, match=r"write 'with ft\.testing"):
                    work()
        finally:
            runner.run(outer.__aexit__(None, None, None))
