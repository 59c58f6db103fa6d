"""Workers whose startup fails, or whose lifespan dies: what is told, and what is left."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import DEADLINE, Process, free_port, wait_until, worker
from tests.integration.programs import Queue, opened, written

APP = """
    broker = redis_broker()
    ft = FastTask("program:app", broker)

    @ft.task("chore")
    async def chore() -> str:
        return "done"
"""
RAISES = """
    def connected():
        raise LookupError("no answer from\\n  postgresql://user:hunter2@db/shop")

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        connected()
        yield

    app = FastAPI(lifespan=lifespan)
"""
CANCELS = """
    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        helper = asyncio.create_task(asyncio.sleep(60))
        helper.cancel()
        await helper
        yield

    app = FastAPI(lifespan=lifespan)
"""
WORKS = "app = FastAPI(lifespan=ft.lifespan())"
SECOND_TIME_LUCKY = """
    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        with Path("attempts").open("a") as attempts:
            attempts.write("x")
        if Path("attempts").read_text() == "x":
            raise LookupError("not yet")
        yield

    app = FastAPI(lifespan=lifespan)
"""
CRASHING = """
    import anyio

    async def crashing():
        while not Path("crash").exists():
            await asyncio.sleep(0.02)
        raise LookupError("lost postgresql://user:hunter2@db/shop")

    @asynccontextmanager
    async def group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(crashing)
            yield

    @asynccontextmanager
    async def plain():
        task = asyncio.create_task(crashing())
        yield
        task.cancel()

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        try:
            async with KIND():
                yield
        finally:
            say("lifespan: closed")

    @ft.task("long")
    async def long() -> str:
        say("long: started")
        while not Path("gate").exists():
            await asyncio.sleep(0.02)
        say("long: ended")
        return "done"

    app = FastAPI(lifespan=lifespan)
"""
GOES_ON = """
    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        say("startup: waits")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("startup: goes on")
        await asyncio.Event().wait()
        yield

    app = FastAPI(lifespan=lifespan)
"""
ONE_CRASHES = """
    IS_FIRST = False

    async def crashing():
        while not Path("crash").exists():
            await asyncio.sleep(0.02)
        raise LookupError("lost")

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        global IS_FIRST
        try:
            Path("first").touch(exist_ok=False)
            IS_FIRST = True
            task = asyncio.create_task(crashing())
        except FileExistsError:
            pass
        yield

    @ft.task("long")
    async def long() -> None:
        if not IS_FIRST:
            say("long: started")
            while not Path("gate").exists():
                await asyncio.sleep(0.02)
            say("long: ended")

    app = FastAPI(lifespan=lifespan)
"""
TOLD = (
    r"startup failed: LookupError: no answer from postgresql://user:\*\*\*@db/shop "
    r"\(\S+program.py:(\d+), in connected\); "
)


@pytest.fixture
def work(redis_url: str, queue: str) -> Iterator[Queue]:
    with opened(redis_url, queue) as found:
        yield found


def told(process: Process) -> list[str]:
    """The lines about a failed startup."""
    return [line for line in process.lines if "startup failed" in line]


def alive(session: int) -> list[str]:
    """The processes of a session, without those that nobody has waited for yet."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:  # it has just ended
            continue
        state, _, _, of = text.rpartition(")")[2].split()[:4]
        if int(of) == session and state != "Z":
            found.append(text)
    return found


def assert_gone(process: Process) -> None:
    wait_until(lambda: not alive(process.process.pid), "processes are left behind")


@pytest.mark.redis
@pytest.mark.parametrize("workers", [1, 2])
def test_startup_is_tried_again_and_given_up(tmp_path: Path, work: Queue, workers: int) -> None:
    """One line for each attempt; in the end nothing is left, and the status is not 0."""
    options = ("--workers", str(workers), "--max-fails", "2")
    with work.worker(written(tmp_path, APP, RAISES), *options) as process:
        assert process.wait() != 0
        assert_gone(process)
        attempts, log = told(process), process.log
    assert len(attempts) in ({2} if workers == 1 else {2, 3, 4})
    assert all(re.search(TOLD, line) for line in attempts)
    assert attempts[0].endswith("attempt 1 of 2, again in 1 s")
    assert "gave up after 2 attempts" in log.splitlines()[-1]
    assert "Traceback" not in log
    assert "hunter2" not in log
    assert "restarted" not in log


@pytest.mark.redis
def test_pauses_grow_and_a_signal_ends_them(tmp_path: Path, work: Queue) -> None:
    """By default there are five attempts; who stops the worker before that sees status 0."""
    with work.worker(written(tmp_path, APP, RAISES)) as process:
        process.wait_for("attempt 3 of 5, again in 4 s")
        process.send(signal.SIGTERM)
        assert process.wait(4.0) == 0  # the manager's second, and slack; not the whole pause
        assert_gone(process)
        pauses = [line.rpartition("; ")[2] for line in told(process)]
    first, second = "attempt 1 of 5, again in 1 s", "attempt 2 of 5, again in 2 s"
    assert pauses == [first, second, "attempt 3 of 5, again in 4 s"]


@pytest.mark.parametrize("fails", [1, 2])
def test_broker_that_does_not_answer_is_one_readable_error(tmp_path: Path, fails: int) -> None:
    """Nobody listens where Redis should be."""
    folder = written(tmp_path, APP, WORKS)
    port = free_port()
    environment = {"REDIS_URL": f"redis://:hunter2@127.0.0.1:{port}", "QUEUE": "queue"}
    options = ("program:broker", "--workers", "1", "--max-fails", str(fails))
    with worker(*options, cwd=folder, **environment) as process:
        assert process.wait() != 0
        assert_gone(process)
        assert len(told(process)) == fails
        assert "startup failed: ConnectionError: " in process.lines[-1]
        assert str(port) in process.lines[-1]
        assert f"gave up after {fails} attempts" in process.lines[-1]
        assert "Traceback" not in process.log
        assert "hunter2" not in process.log


@pytest.mark.redis
def test_startup_that_something_cancels_is_a_failure(tmp_path: Path, work: Queue) -> None:
    """A cancellation that no signal has caused is told and given up on as any other error."""
    with work.worker(written(tmp_path, APP, CANCELS), "--max-fails", "1") as process:
        assert process.wait() != 0
        [line] = told(process)
        assert "RuntimeError: something that the startup awaits was cancelled" in line
        assert re.search(r"program.py:\d+, in lifespan", line)
        assert "restarted" not in process.log


@pytest.mark.redis
def test_startup_that_works_the_second_time_starts_the_worker(tmp_path: Path, work: Queue) -> None:
    """The same process tries again; nothing is restarted."""
    with work.worker(written(tmp_path, APP, SECOND_TIME_LUCKY)) as process:
        process.wait_for("Listening started")
        assert work.outcome(work.send("chore"))["return_value"] == "done"
        assert len(told(process)) == 1
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "restarted" not in process.log


@pytest.mark.redis
@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ((APP, RAISES), "gave up after 1 attempts.*; waiting for a change$"),
        ((APP.replace("program:app", "nowhere:app"), WORKS), "no module named 'nowhere'.*change$"),
    ],
    ids=["lifespan", "app path"],
)
def test_reloading_worker_waits_until_the_program_is_mended(
    tmp_path: Path, work: Queue, wrong: tuple[str, ...], complaint: str
) -> None:
    """With `--reload` a startup that can't work ends neither the worker nor its manager."""
    pytest.importorskip("watchdog", reason="taskiq[reload] is not installed")
    work.extra["PYTHONDONTWRITEBYTECODE"] = "1"  # which would be a change
    with work.worker(written(tmp_path, *wrong), "--reload", "--max-fails", "1") as process:
        process.wait_for(complaint)
        written(tmp_path, APP, WORKS)
        process.wait_for("Listening started")
        assert work.outcome(work.send("chore"))["return_value"] == "done"
        assert "hunter2" not in process.log
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert_gone(process)


@pytest.mark.redis
@pytest.mark.parametrize("kind", ["group", "plain"])
def test_lifespan_that_crashes_stops_the_worker(tmp_path: Path, work: Queue, kind: str) -> None:
    """A background task that dies is told; running tasks finish first; the status is not 0."""
    with work.worker(written(tmp_path, APP, CRASHING.replace("KIND", kind))) as process:
        sent = work.send("long")
        process.wait_for("^long: started$")
        (tmp_path / "crash").touch()
        process.wait_for("the lifespan has crashed: LookupError: lost .*program.py:.*in crashing")
        process.wait_for("Waiting for 1 running tasks to complete")
        (tmp_path / "gate").touch()
        assert process.wait() != 0
        assert_gone(process)
        assert process.lines.count("long: ended") == 1
        assert process.lines.count("lifespan: closed") == 1
        assert process.log.count("the lifespan has crashed") == 1
        assert "restarted" not in process.log
        assert "hunter2" not in process.log
    result = work.result(sent)
    assert result is not None
    assert result["return_value"] == "done"
    assert (work.waiting(), work.pending()) == (0, 0)


@pytest.mark.redis
def test_other_workers_finish_before_the_manager_ends(tmp_path: Path, work: Queue) -> None:
    """In a container the manager's end is the end of all; so it must come last."""
    folder = written(tmp_path, APP, ONE_CRASHES)
    with work.worker(folder, "--workers", "2", "--max-async-tasks", "1") as process:
        process.wait_for("Listening started", count=2)

        def is_busy() -> bool:
            sent = work.send("long")  # until one goes to the worker that does not crash
            wait_until(lambda: work.result(sent) or "long: started" in process.lines, "no start")
            return "long: started" in process.lines

        wait_until(is_busy, "the other worker gets no task")
        (tmp_path / "crash").touch()
        process.wait_for("the lifespan has crashed")
        process.wait_for("Waiting for 1 running tasks to complete")
        (tmp_path / "gate").touch()
        # Not `process.wait()`, which also waits for whoever still holds the output.
        assert process.process.wait(DEADLINE) != 0
        # But for the one that has ended the manager, and then itself.
        left = [each for each in alive(process.process.pid) if "(fastask failed)" not in each]
        assert left == []
        process.wait()
        assert "long: ended" in process.lines


@pytest.mark.redis
def test_workers_that_crash_together_all_end(tmp_path: Path, work: Queue) -> None:
    """One of them tells the manager, which two signals at once could halt for ever."""
    folder = written(tmp_path, APP, CRASHING.replace("KIND", "plain"))
    with work.worker(folder, "--workers", "3") as process:
        process.wait_for("Listening started", count=3)
        (tmp_path / "crash").touch()
        process.wait_for("the lifespan has crashed", count=3)
        assert process.wait() != 0
        assert_gone(process)
        assert process.log.count("Workers are scheduled for shutdown") == 1
        assert process.lines.count("lifespan: closed") == 3


@pytest.mark.redis
def test_worker_ends_when_its_manager_was_killed(tmp_path: Path, work: Queue) -> None:
    """Nobody could tell it to stop any more, and it would go on taking messages."""
    folder = written(tmp_path, APP, CRASHING.replace("KIND", "plain"))
    with work.worker(folder, "--workers", "2") as process:
        process.wait_for("Listening started", count=2)
        process.send(signal.SIGKILL)
        process.wait_for("^lifespan: closed$", count=2)
        assert_gone(process)
        assert process.log.count("the process manager is gone, so this worker ends") == 2


@pytest.mark.redis
def test_startup_that_swallows_a_signals_cancellation_ends(tmp_path: Path, work: Queue) -> None:
    """A startup that goes on is cancelled again, after the time it may need to clean up."""
    with work.worker(written(tmp_path, APP, GOES_ON)) as process:
        process.wait_for("^startup: waits$")
        process.send(signal.SIGTERM)
        process.wait_for("^startup: goes on$")
        assert process.wait() == 0
        assert_gone(process)


@pytest.mark.redis
def test_worker_that_crashes_stops_though_its_manager_does_nothing(
    tmp_path: Path, work: Queue
) -> None:
    """Two signals at once deadlock Taskiq's manager, in `Queue.put`; here it is just halted."""
    with work.worker(written(tmp_path, APP, CRASHING.replace("KIND", "plain"))) as process:
        process.wait_for("Listening started")
        process.send(signal.SIGSTOP)
        try:
            (tmp_path / "crash").touch()
            process.wait_for("the lifespan has crashed")
            closed = "lifespan: closed"
            wait_until(lambda: closed in process.lines, "the worker goes on", timeout=8)
        finally:
            process.send(signal.SIGCONT)
        assert process.wait() != 0
