"""Workers that are told to stop: real `taskiq worker` processes, signals to the manager."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import Process, wait_until, worker
from tests.integration.programs import LIST, STREAM, Queue, opened, written

# A worker ends within 3 s of its last task; the rest is slack for loaded machines.
DUE = 3.0 + 2.0

KINDS = pytest.mark.parametrize("kind", [STREAM, LIST])
SIGNALS = pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
LIFESPAN = """
    broker = redis_broker()
    ft = FastTask("program:app", broker)

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        say("lifespan: started")
        yield
        say("lifespan: closed")

    app = FastAPI(lifespan=lifespan)
"""
TASKS = """
    IS_OPEN = Path("gate").exists

    async def resource():
        say("dependency: opened")
        yield "resource"
        say("dependency: closed")

    async def passed(name):
        say(f"{name}: started")
        while not IS_OPEN():
            await asyncio.sleep(0.02)
        say(f"{name}: ended")
        return name

    @ft.task("coroutine")
    async def coroutine() -> str:
        return await passed("coroutine")

    @ft.task("dependent")
    async def dependent(given: str = Depends(resource)) -> str:
        return await passed(given)

    @ft.task("blocking")
    def blocking() -> str:
        say("blocking: started")
        while not IS_OPEN():
            time.sleep(0.02)
        say("blocking: ended")
        return "blocking"
"""
STARTUP = """
    broker = redis_broker()
    ft = FastTask("program:app", broker)

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        say("lifespan: waits")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)
            say("lifespan: cleaned up")
        yield

    app = FastAPI(lifespan=lifespan)
"""
STUBBORN = """
    @ft.task("stubborn")
    async def stubborn() -> None:
        say("stubborn: started")
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                say("stubborn: goes on")
"""
OBEDIENT = """
    async def resource():
        try:
            yield
        finally:
            say("obedient: dependency closed")

    @ft.task("obedient")
    async def obedient(given: None = Depends(resource)) -> None:
        say("obedient: started")
        await asyncio.sleep(60)
"""
BLOCKING = """
    @ft.task("blocking")
    def blocking() -> None:
        say("blocking: started")
        time.sleep(60)
        say("blocking: ended")
"""
# What asyncio.wait_for of Python 3.11 does now and then, done each time.
SWALLOWING = """
    from taskiq import AsyncBroker

    class SwallowingBroker(AsyncBroker):
        async def kick(self, message): ...

        async def listen(self):
            say("read: waits")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("read: goes on")
            await asyncio.Event().wait()
            yield b""

    broker = SwallowingBroker()
    ft = FastTask("program:app", broker)

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        yield
        say("lifespan: closed")

    app = FastAPI(lifespan=lifespan)
"""


@pytest.fixture
def served(redis_url: str, queue: str, kind: str) -> Iterator[Queue]:
    with opened(redis_url, queue, kind) as found:
        yield found


def assert_ended_well(process: Process) -> None:
    """It ends by itself, in time, and nothing of it went wrong."""
    assert process.wait(DUE) == 0
    assert "Traceback" not in process.log
    assert "restarted" not in process.log
    assert "Broker.shutdown cannot be completed" not in process.log


@pytest.mark.redis
@KINDS
@SIGNALS
def test_idle_worker_closes_its_lifespan(
    tmp_path: Path, served: Queue, signum: signal.Signals
) -> None:
    """A read that waits for messages keeps no worker from ending; what is sent later stays."""
    folder = written(tmp_path, LIFESPAN, TASKS)
    with served.worker(folder) as process:
        process.wait_for("Listening started")
        wait_until(served.is_read, "nobody reads the queue")
        process.send(signum)
        process.wait_for("The runner is stopped")
        wait_until(lambda: not served.is_read(), "the queue is still read")
        served.send("coroutine")
        assert_ended_well(process)
        assert process.lines.count("lifespan: started") == 1
        assert process.lines.count("lifespan: closed") == 1
        assert "coroutine: started" not in process.lines
    assert (served.waiting(), served.pending()) == (1, 0)


@pytest.mark.redis
@KINDS
@SIGNALS
def test_running_tasks_end_and_their_results_are_kept(
    tmp_path: Path, served: Queue, signum: signal.Signals
) -> None:
    """All kinds of tasks finish, dependencies and lifespan are closed, no more is taken."""
    folder = written(tmp_path, LIFESPAN, TASKS)
    with served.worker(folder) as process:
        sent = {served.send(name): name for name in ("coroutine", "dependent", "blocking")}
        process.wait_for("^(coroutine|resource|blocking): started$", count=3)
        process.send(signum)
        process.wait_for("Waiting for 3 running tasks to complete")
        wait_until(lambda: not served.is_read(), "the queue is still read")
        late = served.send("coroutine")
        (tmp_path / "gate").touch()
        process.wait_for("^(coroutine|resource|blocking): ended$", count=3)
        assert_ended_well(process)  # from now, when the last line was read
        results = {name: served.result(sent_id) for sent_id, name in sent.items()}
        assert process.lines.count("coroutine: started") == 1
        assert process.lines.count("dependency: closed") == 1
        assert process.lines.index("dependency: closed") < process.lines.index("lifespan: closed")
    returned = {name: result and result["return_value"] for name, result in results.items()}
    assert returned == {"coroutine": "coroutine", "dependent": "resource", "blocking": "blocking"}
    assert (served.waiting(), served.pending(), served.result(late)) == (1, 0, None)


@pytest.mark.redis
@KINDS
def test_startup_that_waits_is_cancelled_and_cleaned_up(tmp_path: Path, served: Queue) -> None:
    """A signal during the startup is no failure: it is undone, nothing is tried again."""
    with served.worker(written(tmp_path, STARTUP)) as process:
        process.wait_for("^lifespan: waits$")
        process.send(signal.SIGTERM)
        assert_ended_well(process)
        assert process.lines.count("lifespan: waits") == 1
        assert process.lines.count("lifespan: cleaned up") == 1
        assert "startup failed" not in process.log


@pytest.mark.redis
@KINDS
@pytest.mark.parametrize(
    ("task", "body", "told"),
    [
        ("stubborn", STUBBORN, "does not end when it is cancelled; it is left behind"),
        ("obedient", OBEDIENT, "did not end in time and is cancelled; it is not acknowledged"),
        ("blocking", BLOCKING, "did not end in time and is cancelled; it is not acknowledged"),
    ],
    ids=["stubborn", "obedient", "blocking"],
)
def test_task_that_takes_too_long_is_given_up(
    tmp_path: Path, served: Queue, task: str, body: str, told: str
) -> None:
    """After `--wait-tasks-timeout` the worker ends; the message is not acknowledged."""
    with served.worker(written(tmp_path, LIFESPAN, body), "--wait-tasks-timeout", "1") as process:
        sent = served.send(task)
        process.wait_for(f"^{task}: started$")
        process.send(signal.SIGTERM)
        process.wait_for("Waiting for 1 running tasks to complete")
        assert process.wait(1 + DUE) == 0
        assert f"task {task} ({sent}) {told}" in process.log
        assert process.lines.count("lifespan: closed") == 1
        assert process.lines.count("obedient: dependency closed") == (task == "obedient")
        assert f"{task}: ended" not in process.lines
    assert served.result(sent) is None
    assert (served.waiting(), served.pending()) == (0, 1 if served.kind == STREAM else 0)


def test_read_that_goes_on_when_it_is_cancelled_is_cancelled_again(tmp_path: Path) -> None:
    """Taskiq cancels a read once; one that swallows that would keep the worker for ever."""
    folder = written(tmp_path, SWALLOWING)
    with worker("program:broker", "--workers", "1", cwd=folder) as process:
        process.wait_for("^read: waits$")
        process.send(signal.SIGTERM)
        process.wait_for("^read: goes on$")
        assert_ended_well(process)
        assert process.lines.count("lifespan: closed") == 1
