"""What a worker starts and says, and what it does with tasks that it does not know."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import free_port, server, wait_for_server
from tests.integration.programs import Queue, opened, written

WATCHED = """
    class WatchedBroker(RedisStreamBroker):
        async def startup(self):
            say("broker: started")
            await super().startup()

        async def shutdown(self):
            say("broker: closed")
            await super().shutdown()

    broker = redis_broker(WatchedBroker)
    ft = FastTask("program:app", broker)

    @ft.task("chore")
    async def chore() -> str:
        return "done"
"""
UNGUARDED = """
    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        await broker.startup()
        yield
        await broker.shutdown()
"""
GUARDED = """
    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app):
        if not broker.is_worker_process:
            await broker.startup()
        yield
        if not broker.is_worker_process:
            await broker.shutdown()
"""
APP = """
    app = FastAPI(lifespan=lifespan)

    @app.post("/chores")
    async def post_chore() -> str:
        return (await chore.kiq()).task_id
"""
SHOP = """
    broker = redis_broker()
    ft = FastTask(f"{__name__}:app", broker)
    app = FastAPI(lifespan=ft.lifespan())

    @ft.task("shop.tasks:send_mails")
    async def send_mails() -> str:
        return "mails"
"""
NEWER = """
    @ft.task("shop.tasks:send_mail")
    async def send_mail() -> str:
        return "mail"
"""
IMPATIENT = """
    import fastask.brokers.unknown

    fastask.brokers.unknown._HAND_BACKS = 3
"""
PATIENT = """
    import fastask.brokers.unknown

    fastask.brokers.unknown._HAND_BACKS = 100  # however long the other worker takes to start
"""


@pytest.fixture
def work(redis_url: str, queue: str) -> Iterator[Queue]:
    with opened(redis_url, queue) as found:
        yield found


@pytest.mark.redis
@pytest.mark.parametrize("lifespan", [GUARDED, UNGUARDED], ids=["guarded", "unguarded"])
def test_lifespan_that_starts_the_broker_itself_changes_nothing(
    tmp_path: Path, work: Queue, lifespan: str
) -> None:
    """In the web process and in the worker: started once, closed once, tasks run."""
    folder = written(tmp_path, WATCHED, lifespan, APP)
    url = f"http://127.0.0.1:{(port := free_port())}"
    web = server("program:app", port, cwd=folder, **work.environment)
    with web, work.worker(folder) as process:
        wait_for_server(url)
        process.wait_for("Listening started")
        assert work.outcome(work.send("chore"))["return_value"] == "done"
        for each in (web, process):
            each.send(signal.SIGTERM)
        assert web.wait() == -signal.SIGTERM  # so uvicorn ends
        assert process.wait() == 0
        for each in (web, process):
            assert each.lines.count("broker: started") == 1
            assert each.lines.count("broker: closed") == 1
            assert "Traceback" not in each.log


@pytest.mark.redis
def test_task_of_a_newer_program_runs_in_the_newer_worker(tmp_path: Path, work: Queue) -> None:
    """The old worker gets the message first and hands it back."""
    written(tmp_path, SHOP, PATIENT, name="older")
    written(tmp_path, SHOP, NEWER, name="newer")
    with work.worker(tmp_path, program="older") as older:
        sent = work.send("shop.tasks:send_mail")
        older.wait_for(f"no task is named 'shop.tasks:send_mail' here; message {sent} is handed")
        with work.worker(tmp_path, program="newer") as newer:
            outcome = work.outcome(sent)
            assert outcome["return_value"] == "mail"
            assert not outcome["is_err"]
            newer.wait_for(f"Executing task shop.tasks:send_mail with ID: {sent}")
            for each in (older, newer):
                each.send(signal.SIGTERM)
                assert each.wait() == 0
            assert "Traceback" not in older.log + newer.log
    assert (work.waiting(), work.pending()) == (0, 0)


@pytest.mark.redis
def test_task_that_no_worker_knows_fails_and_names_a_similar_one(
    tmp_path: Path, work: Queue
) -> None:
    """After some hand-backs (ten, and three here) it becomes a failed result."""
    with work.worker(written(tmp_path, SHOP, IMPATIENT)) as process:
        outcome = work.outcome(sent := work.send("shop.tasks:send_mail"))
        assert outcome["is_err"]
        assert outcome["error"]["exc_type"] == "UnknownTaskError"
        assert "shop.tasks:send_mails" in str(outcome["error"]["exc_message"])
        executed = f"Executing task shop.tasks:send_mail with ID: {sent}"
        assert sum(executed in line for line in process.lines) == 4
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert (work.waiting(), work.pending()) == (0, 0)


@pytest.mark.redis
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_worker_says_what_it_serves(tmp_path: Path, work: Queue, level: str) -> None:
    """App, count of tasks, broker without its password; the names at debug level alone."""
    addressed = 'broker.url = "amqp://guest:hunter2@rabbit:5672/shop"'
    with work.worker(written(tmp_path, SHOP, NEWER, addressed), "--log-level", level) as process:
        process.wait_for("Listening started")
        sentence = r"worker of program:app: 2 tasks, RedisStreamBroker \(at 127.0.0.1:\d+, "
        process.wait_for(sentence + r"url amqp://guest:\*\*\*@rabbit:5672/shop, queue_name ")
        listed = [line for line in process.lines if "task shop.tasks:" in line]
        assert len(listed) == (2 if level == "DEBUG" else 0)
        assert "hunter2" not in process.log
