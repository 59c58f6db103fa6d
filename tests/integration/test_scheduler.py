"""`taskiq scheduler` for an app: it finds the tasks that the app imports."""

import signal
from pathlib import Path

import pytest

from tests.integration.processes import BIN, Process, worker

PROGRAM = """
import os
from contextlib import asynccontextmanager
from fastapi import FastAPI
from taskiq_redis import RedisStreamBroker
from fastask import FastTask

ft = FastTask(
    "main:app",
    RedisStreamBroker(os.environ["REDIS_URL"], queue_name=os.environ["QUEUE"], consumer_id="0"),
)
broker, scheduler = ft.broker, ft.scheduler
"""
MAIN = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
import chores
from program import ft

@ft.lifespan
@asynccontextmanager
async def lifespan(app):
    print("lifespan: started", flush=True)
    yield

app = FastAPI(lifespan=lifespan)
"""
CHORES = """
from program import ft

@ft.task(labels={"schedule": [{"interval": 1}]})
async def tick() -> None:
    print("tick", flush=True)
"""


ENDS = [signal.SIGINT, signal.SIGTERM]


def written(folder: Path, chores: str = CHORES) -> Path:
    for name, text in {"program": PROGRAM, "main": MAIN, "chores": chores}.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def scheduling(folder: Path, redis_url: str, queue: str) -> Process:
    command = (BIN / "taskiq", "scheduler", "program:scheduler")
    return Process(*command, cwd=folder, REDIS_URL=redis_url, QUEUE=queue)


@pytest.mark.redis
@pytest.mark.parametrize("signum", ENDS)
def test_scheduled_task_of_the_app_is_sent_and_run(
    tmp_path: Path, redis_url: str, queue: str, signum: signal.Signals
) -> None:
    """A module that only the app imports declares a schedule; no lifespan runs for it.

    Both signals end it well; Taskiq 0.13 alone dies of SIGTERM with status -15.
    """
    folder = written(tmp_path)
    working = worker(
        "program:broker", "--workers", "1", cwd=folder, REDIS_URL=redis_url, QUEUE=queue
    )
    with working, scheduling(folder, redis_url, queue) as scheduler:
        working.wait_for("^tick$")
        scheduler.send(signum)
        assert scheduler.wait() == 0, scheduler.log
        assert "Traceback" not in scheduler.log
        assert "scheduler of main:app: 1 schedules" in scheduler.log
        assert "nothing to do" not in scheduler.log
        assert "lifespan: started" not in scheduler.lines
        assert "lifespan: started" in working.lines


@pytest.mark.redis
def test_scheduler_without_a_schedule_says_so(tmp_path: Path, redis_url: str, queue: str) -> None:
    """A scheduler that has nothing to do warns, and says how a task gets a schedule."""
    folder = written(tmp_path, "from program import ft\n")
    with scheduling(folder, redis_url, queue) as scheduler:
        scheduler.wait_for("WARNING.*no task of main:app has a schedule, so there is nothing to do")
        scheduler.wait_for("Startup completed")
        scheduler.send(signal.SIGTERM)
        assert scheduler.wait() == 0, scheduler.log
