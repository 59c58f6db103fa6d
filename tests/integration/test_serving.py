"""Apps that uvicorn serves, alone, with several processes or reloading, and forked ones."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import (
    BIN,
    Process,
    call,
    free_port,
    server,
    wait_for_server,
    wait_until,
)
from tests.integration.programs import Queue, opened, written

EMBEDDED = """
    ft = FastTask("program:app", BROKER)

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        yield
        say("lifespan: closed")

    app = FastAPI(lifespan=lifespan)

    @ft.task
    async def chore(number: int) -> None:
        say(f"chore {number}: started")
        while not Path("gate").exists():
            await asyncio.sleep(0.02)
        say(f"chore {number}: ended")

    @app.post("/chores/{number}")
    async def post_chore(number: int) -> str:
        return (await chore.kiq(number)).task_id
"""
SERVED = """
    from redis.asyncio import Redis

    VERSION = 1
    broker = redis_broker()
    ft = FastTask("program:app", broker)
    app = FastAPI(lifespan=ft.lifespan())

    @ft.task("chore")
    async def chore(sender: int) -> int:
        return os.getpid()

    @app.get("/version")
    async def get_version() -> int:
        return VERSION

    @app.post("/chores")
    async def post_chore() -> list[int]:
        await chore.kiq(os.getpid())
        return [os.getpid(), await connection()]

    async def connection():
        async with Redis(connection_pool=broker.connection_pool) as redis:
            return await redis.client_id()
"""
FORKING = """
    import json
    import sys

    async def life():
        async with app.router.lifespan_context(app):
            return await post_chore()

    def report():
        say(json.dumps(asyncio.run(life())))

    if "again" in sys.argv:
        report()
    if (child := os.fork()) == 0:
        report()
        os._exit(0)
    os.waitpid(child, 0)
    report()
"""
SPAWNING = """
import multiprocessing
from taskiq.__main__ import main

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
"""


def with_embedded_broker(folder: Path, broker: str) -> Path:
    head = "from fastask.brokers.memory import MemoryBroker"
    return written(folder, head, f"BROKER = {broker}", EMBEDDED)


def posted(url: str, count: int) -> list[Any]:
    """Send chores, and give their ids."""
    return [call(f"{url}/chores/{number}", {})[1] for number in range(1, count + 1)]


@pytest.fixture
def work(redis_url: str, queue: str) -> Iterator[Queue]:
    with opened(redis_url, queue) as found:
        yield found


@pytest.mark.parametrize(
    ("broker", "running"),
    [("None", 3), ("MemoryBroker(max_tasks=1)", 1)],
    ids=["all running", "some queued"],
)
def test_embedded_tasks_are_drained_when_the_server_stops(
    tmp_path: Path, broker: str, running: int
) -> None:
    """What runs finishes, what is queued runs; then the lifespan closes."""
    port = free_port()
    with server("program:app", port, cwd=with_embedded_broker(tmp_path, broker)) as web:
        wait_for_server(f"http://127.0.0.1:{port}")
        posted(f"http://127.0.0.1:{port}", 3)
        web.wait_for("^chore .: started$", count=running)
        web.send(signal.SIGTERM)
        web.wait_for("Waiting for application shutdown")
        (tmp_path / "gate").touch()
        assert web.wait() == -signal.SIGTERM  # so uvicorn ends
        ended = [line for line in web.lines if line.endswith(": ended")]
        assert sorted(ended) == ["chore 1: ended", "chore 2: ended", "chore 3: ended"]
        assert web.lines.index("lifespan: closed") > web.lines.index(ended[-1])
        assert "Traceback" not in web.log


def test_embedded_tasks_that_are_dropped_are_named(tmp_path: Path) -> None:
    """After `drain_timeout` what runs is cancelled and what is queued is lost, and told."""
    port = free_port()
    folder = with_embedded_broker(tmp_path, "MemoryBroker(max_tasks=1, drain_timeout=0.2)")
    with server("program:app", port, cwd=folder) as web:
        wait_for_server(f"http://127.0.0.1:{port}")
        [_, *queued] = posted(f"http://127.0.0.1:{port}", 3)
        web.wait_for("^chore 1: started$")
        web.send(signal.SIGTERM)
        assert web.wait() == -signal.SIGTERM
        assert "tasks still running after 0.2 s are cancelled: program:chore" in web.log
        dropped = ", ".join(f"program:chore ({each})" for each in queued)
        assert f"dropped 2 queued tasks: {dropped}" in web.log
        assert web.lines.count("lifespan: closed") == 1


@pytest.mark.redis
def test_several_server_processes_send_over_connections_of_their_own(
    tmp_path: Path, work: Queue
) -> None:
    """`uvicorn --workers 2`: both processes send tasks, and share no connection."""
    url, sent = f"http://127.0.0.1:{(port := free_port())}", set()
    folder = written(tmp_path, SERVED)

    def both() -> bool:
        status, (pid, connection) = call(f"{url}/chores", {})
        assert status == 200
        sent.add((pid, connection))
        return len({pid for pid, _ in sent}) == 2

    with server("program:app", port, "--workers", "2", cwd=folder, **work.environment) as web:
        web.wait_for("Application startup complete", count=2)
        wait_until(both, "only one process answers")
        assert len({connection for _, connection in sent}) == len(sent)
        web.send(signal.SIGTERM)
        web.wait()
        web.wait_for("Application shutdown complete", count=2)
        assert "Traceback" not in web.log
    with work.worker(folder) as process:
        process.wait_for("Listening started")
        wait_until(lambda: not work.waiting() and not work.pending(), "tasks are left")


@pytest.mark.redis
def test_server_that_reloads_sends_from_the_new_process(tmp_path: Path, work: Queue) -> None:
    """`uvicorn --reload`: a changed program is started again, and sends over a connection."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    more = {**work.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    with server("program:app", port, "--reload", cwd=written(tmp_path, SERVED), **more) as web:
        wait_for_server(url)
        assert call(f"{url}/version") == (200, 1)
        before = call(f"{url}/chores", {})[1]
        written(tmp_path, SERVED.replace("VERSION = 1", "VERSION = 2"))
        wait_until(lambda: call(f"{url}/version") == (200, 2), "it does not reload")
        after = call(f"{url}/chores", {})[1]
        assert before[0] != after[0]
        assert before[1] != after[1]
        assert work.waiting() == 2
        assert "Traceback" not in web.log


def test_import_connects_to_nothing(tmp_path: Path) -> None:
    """A listening socket in the place of Redis sees nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        environment = {"REDIS_URL": f"redis://127.0.0.1:{listening.getsockname()[1]}", "QUEUE": "q"}
        folder = written(tmp_path, SERVED, "say('imported')")
        with Process(
            BIN / "python", "-c", "import program", cwd=folder, **environment
        ) as importing:
            importing.wait_for("^imported")
            assert importing.wait() == 0
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.redis
@pytest.mark.parametrize("again", [[], ["again"]], ids=["fresh", "used before"])
def test_forked_process_has_connections_of_its_own(
    tmp_path: Path, work: Queue, again: list[str]
) -> None:
    """Imported, forked, then served in both: as servers do that preload an app."""
    written(tmp_path, SERVED, FORKING)
    command: list[str | Path] = [BIN / "python", "program.py", *again]
    with Process(*command, cwd=tmp_path, **work.environment) as forking:
        assert forking.wait() == 0
        reports = [json.loads(line) for line in forking.lines]
    pids, connections = zip(*reports, strict=True)
    assert len(reports) == 2 + len(again)
    assert len(set(pids)) == 2
    assert len(set(connections)) == len(connections)
    assert work.waiting() == len(reports)


@pytest.mark.redis
def test_spawned_worker_works_and_ends(tmp_path: Path, work: Queue) -> None:
    """Where processes are not forked, as on macOS, a worker is the same."""
    (written(tmp_path, SERVED) / "launch.py").write_text(SPAWNING)
    command: list[str | Path] = [
        BIN / "python",
        "launch.py",
        "worker",
        "program:broker",
        "--workers",
        "1",
    ]
    with Process(*command, cwd=tmp_path, **work.environment) as process:
        process.wait_for("Listening started")
        outcome = work.outcome(work.send("chore", 1))
        assert outcome["return_value"] not in (None, process.process.pid)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.log


@pytest.mark.redis
def test_spawned_worker_that_fails_ends_its_manager(tmp_path: Path, work: Queue) -> None:
    """The process manager's options are known in a spawned worker, too."""
    failing = SERVED.replace("ft.lifespan()", "ft.lifespan(broken)")
    broken = "async def broken(app):\n    raise LookupError('no settings')\n    yield"
    (written(tmp_path, broken, failing) / "launch.py").write_text(SPAWNING)
    options = ["program:broker", "--workers", "1", "--max-fails", "1"]
    command: list[str | Path] = [BIN / "python", "launch.py", "worker", *options]
    with Process(*command, cwd=tmp_path, **work.environment) as process:
        assert process.wait() != 0
        assert "LookupError: no settings" in process.lines[-1]
        assert "gave up after 1 attempts" in process.lines[-1]
