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


@pytest.mark.redis
def test_scheduled_task_of_the_app_is_sent_and_run(
    tmp_path: Path, redis_url: str, queue: str
) -> None:
    """A module that only the app imports declares a schedule; no lifespan runs for it."""
    for name, text in {"program": PROGRAM, "main": MAIN, "chores": CHORES}.items():
        (tmp_path / f"{name}.py").write_text(text)
    environment = {"REDIS_URL": redis_url, "QUEUE": queue}
    scheduling = Process(
        BIN / "taskiq", "scheduler", "program:scheduler", cwd=tmp_path, **environment
    )
    with (
        worker("program:broker", "--workers", "1", cwd=tmp_path, **environment) as working,
        scheduling as scheduler,
    ):
        working.wait_for("^tick$")
        scheduler.send(signal.SIGINT)
        assert scheduler.wait() == 0, scheduler.log
        assert "lifespan: started" not in scheduler.lines
        assert "lifespan: started" in working.lines
