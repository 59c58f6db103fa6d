"""An app, and runs of pytest on files of tests of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["CONFIG", "HEAD", "PATIENCE", "run"]

PATIENCE = 60.0  # seconds that no run needs

APP = """
import asyncio
from contextlib import asynccontextmanager

from fastapi import FastAPI
from taskiq import AsyncBroker

from fastask import FastTask


class Untouchable(AsyncBroker):
    async def startup(self):
        raise ConnectionError("startup")

    async def kick(self, message):
        raise ConnectionError("kick")

    def listen(self):
        raise ConnectionError("listen")


class Holder:
    ft = FastTask("app:app", Untouchable())


ft = Holder.ft
events = []


@asynccontextmanager
async def lifespan(app):
    await asyncio.sleep(0.01)  # long enough for a second task to find it starting
    app.state.loop = asyncio.get_running_loop()
    events.append("up")
    yield
    events.append("down")


app = FastAPI(lifespan=ft.lifespan(lifespan))


@ft.task
async def add(a: int, b: int) -> int:
    assert asyncio.get_running_loop() is app.state.loop
    return a + b


@ft.task
async def outer() -> None:
    await add.kiq(1, 2)
    raise LookupError("a failed task")


@app.post("/")
async def post() -> str:
    return (await add.kiq(1, 2)).task_id
"""
CONFIG = """
[pytest]
fastask_app = app:ft
pythonpath = .
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
addopts = --strict-markers --strict-config -p no:cacheprovider
filterwarnings = error
"""
HEAD = """
import asyncio
import threading

import pytest
from app import add, app, events, ft, outer
from starlette.testclient import TestClient

from fastask.testing import AsyncTasks, Tasks
"""


def run(
    folder: Path,
    test: str,
    mode: str = "auto",
    config: str = CONFIG,
    options: str = "",
    python: str = "-s",
) -> tuple[str, str]:
    """Run pytest on a test file; give the counts of its last line, and all that it wrote."""
    (folder / "app.py").write_text(APP)
    (folder / "pytest.ini").write_text(config.format(mode=mode))
    (folder / "test_it.py").write_text(HEAD + test)
    command = [sys.executable, python, "-m", "pytest", "-q", "--color=no", *options.split()]
    # Where these are set, pytest writes other reports.
    ours = ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS")
    done = subprocess.run(
        command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in ours},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    written = done.stdout + done.stderr
    counts = re.findall(r"\d+ (?:passed|failed|errors?)", written.splitlines()[-1])
    return ", ".join(counts), written
