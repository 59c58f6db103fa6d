"""Where blocking tasks run in a worker, with threads and with `--use-process-pool`."""

import json
from pathlib import Path

import pytest

from tests.integration.processes import BIN, Process, worker

PROGRAM = """
import os
from fastapi import Depends, FastAPI
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker
from fastask import FastTask

URL = os.environ["REDIS_URL"]
broker = RedisStreamBroker(
    URL, queue_name=os.environ["QUEUE"], consumer_id="0"
).with_result_backend(RedisAsyncResultBackend(URL, serializer=JSONSerializer()))
app = FastAPI()
ft = FastTask("program:app", broker)

def pid() -> int:
    return os.getpid()

@ft.task
async def a_coroutine(of_dependency: int = Depends(pid)) -> list[int]:
    return [os.getpid(), of_dependency]

@ft.task
def blocking(of_dependency: int = Depends(pid)) -> list[int]:
    return [os.getpid(), of_dependency]

@broker.task
def plain() -> int:
    return os.getpid()
"""
ASK = """
import asyncio, json, program

async def main():
    await program.broker.startup()
    found = {}
    for task in (program.a_coroutine, program.blocking, program.plain):
        sent = await task.kiq()
        found[task.task_name.partition(":")[2]] = (await sent.wait_result(timeout=20)).return_value
    await program.broker.shutdown()
    print("FOUND", json.dumps(found))

asyncio.run(main())
"""


@pytest.mark.redis
@pytest.mark.parametrize("option", [None, "--use-process-pool"])
def test_fastask_runs_blocking_code_in_threads_of_the_worker(
    tmp_path: Path, redis_url: str, queue: str, option: str | None
) -> None:
    """A process pool serves plain Taskiq tasks alone: dependencies live in the worker."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {"REDIS_URL": redis_url, "QUEUE": queue}
    options = ["--workers", "1", *([option] if option else [])]
    with worker("program:broker", *options, cwd=tmp_path, **environment) as working:
        working.wait_for("Listening started")
        with Process(BIN / "python", "-c", ASK, cwd=tmp_path, **environment) as asking:
            asking.wait_for("FOUND")
            line = next(line for line in asking.lines if line.startswith("FOUND"))
    found = json.loads(line.removeprefix("FOUND "))
    [mine] = set(found["a_coroutine"])
    assert found["blocking"] == [mine, mine]
    assert (found["plain"] != mine) == (option is not None)
