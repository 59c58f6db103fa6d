"""Workers that start well and workers that can't: real `taskiq worker` processes."""

import signal
import textwrap
from pathlib import Path

import pytest

from tests.integration.processes import Process, worker

PROGRAM = """
    import os
    from contextlib import asynccontextmanager
    from fastapi import Depends, FastAPI, Header, Request
    from taskiq_redis import RedisStreamBroker
    from fastask import FastTask

    broker = RedisStreamBroker(os.environ["REDIS_URL"], queue_name=os.environ["QUEUE"])
    ft = FastTask({app!r}, broker)
"""


def written(folder: Path, app: str, body: str) -> Path:
    """Write a program of one module, `program.py`."""
    text = textwrap.dedent(PROGRAM).format(app=app) + textwrap.dedent(body)
    (folder / "program.py").write_text(text)
    return folder


def started(folder: Path, redis_url: str, queue: str, *options: str) -> Process:
    return worker("program:broker", *options, cwd=folder, REDIS_URL=redis_url, QUEUE=queue)


WRONG = {
    "no module": ("nowhere:app", "", "no module named 'nowhere'"),
    "no attribute": (
        "program:aplication",
        "application = FastAPI()",
        "module 'program' has no attribute 'aplication'; did you mean 'application'?",
    ),
    "no app": ("program:thing", "thing = 3", "a 'int' object, not a FastAPI app"),
    "factory raises": (
        "program:make",
        """
        def make():
            raise RuntimeError("no settings at postgresql://user:hunter2@db/shop")
        """,
        "factory raised RuntimeError: no settings at postgresql://user:***@db/shop",
    ),
    "unresolvable tasks": (
        "program:app",
        """
        app = FastAPI()
        def token(x_token: str = Header()): ...
        @ft.task
        async def one(who: str = Depends(token)): ...
        @ft.task
        async def two(who: str = Depends(token)): ...
        """,
        "  - program:two -> who -> token -> x_token: Header() without a default",
    ),
}


@pytest.mark.redis
@pytest.mark.parametrize(("app", "body", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_no_restart_would_mend_ends_the_worker_with_one_sentence(
    tmp_path: Path, redis_url: str, queue: str, app: str, body: str, sentence: str
) -> None:
    """The error is the last line of the log; there is no traceback and no restart."""
    with started(written(tmp_path, app, body), redis_url, queue, "--workers", "1") as process:
        process.wait()
        assert sentence in process.lines[-1]
        assert "Traceback" not in process.log
        assert "restarted" not in process.log
        assert "hunter2" not in process.log


def test_worker_of_the_embedded_broker_says_why_there_is_none(tmp_path: Path) -> None:
    """No broker, no worker: one sentence ends the log, and nothing restarts."""
    (tmp_path / "program.py").write_text(
        "from fastapi import FastAPI\nfrom fastask import FastTask\n"
        "app = FastAPI()\nft = FastTask('program:app')\nbroker = ft.broker\n"
    )
    with worker("program:broker", "--workers", "1", cwd=tmp_path) as process:
        process.wait()
        assert "the embedded broker runs its tasks in the web process" in process.lines[-1]
        assert "Traceback" not in process.log


@pytest.mark.redis
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_idle_worker_closes_its_lifespan_when_told_to_stop(
    tmp_path: Path, redis_url: str, queue: str, signum: signal.Signals
) -> None:
    """Taskiq 0.13's handler sets a flag without waking the loop, and such a worker hung."""
    body = """
        @ft.lifespan
        @asynccontextmanager
        async def lifespan(app):
            print("lifespan: started", flush=True)
            yield
            print("lifespan: closed", flush=True)

        app = FastAPI(lifespan=lifespan)
    """
    folder = written(tmp_path, "program:app", body)
    with started(folder, redis_url, queue, "--workers", "1") as process:
        process.wait_for("Listening started")
        process.send(signum)
        assert process.wait() == 0
        assert process.lines.count("lifespan: started") == 1
        assert process.lines.count("lifespan: closed") == 1
