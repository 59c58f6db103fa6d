"""The same tasks twice, for plain Taskiq and for fastask, and programs that send them.

Each side is a folder with a module `program`, so that the tasks have the same names.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.processes import Process

HEAD = """
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from taskiq import AsyncBroker, ScheduleSource
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

class RecordingBroker(AsyncBroker):
    def __init__(self):
        super().__init__()
        self.id_generator = lambda: "the id"
        self.sent = []

    async def kick(self, message):
        self.sent.append(message)

    def listen(self):
        raise NotImplementedError

class RecordingSource(ScheduleSource):
    def __init__(self):
        self.schedules = []

    async def get_schedules(self):
        return self.schedules

    async def add_schedule(self, schedule):
        self.schedules.append(schedule)

def make_broker():
    url = os.environ.get("REDIS_URL")
    if url is None:
        return RecordingBroker()
    results = RedisAsyncResultBackend(url, serializer=JSONSerializer())
    broker = RedisStreamBroker(url, queue_name=os.environ["QUEUE"], consumer_id="0")
    return broker.with_result_backend(results)

broker = make_broker()
source = RecordingSource()

class Colour(Enum):
    RED = "red"
    BLUE = "blue"

class Part(BaseModel):
    name: str
    size: int | None = None

class Order(BaseModel):
    key: UUID
    due: datetime
    price: Decimal
    parts: list[Part] = []

@dataclass
class Point:
    x: int
    y: float

class OutOfStockError(Exception):
    pass

KEY = UUID("12345678-1234-5678-1234-567812345678")
DUE = datetime(2031, 5, 4, 3, 2, 1, 7, tzinfo=UTC)
ORDER = Order(key=KEY, due=DUE, price=Decimal("1.10"), parts=[Part(name="nut", size=3)])

PART = Part(name="nut")

def seen(value, *kinds):
    "What a worker does with an argument of the wrong type: the task fails."
    if type(value) not in kinds:
        raise TypeError(f"a {type(value).__name__} in the worker")
    return value
"""

PLAIN = """
from taskiq import TaskiqDepends, TaskiqScheduler
from taskiq.schedule_sources import LabelScheduleSource

task, depends = broker.task, TaskiqDepends
labelled = broker.task(priority=7, ratio=0.5, urgent=True, queue="mail", timeout=5)
cron = broker.task(
    schedule=[{"cron": "0 7 * * 1", "cron_offset": "Europe/Berlin", "args": [1]}], queue="mail"
)
interval = broker.task(schedule=[{"interval": 30, "kwargs": {"part": Part(name="nut")}}])
scheduler = TaskiqScheduler(broker, [LabelScheduleSource(broker)])
"""

FASTASK = """
from fastapi import FastAPI
from fastask import FastTask

ft = FastTask("program:app", broker)
app = FastAPI(lifespan=ft.lifespan())
task, depends = ft.task, ft.depends
labelled = ft.task(
    timeout=5, labels={"priority": 7, "ratio": 0.5, "urgent": True, "queue": "mail"}
)
cron = ft.task(
    cron="0 7 * * 1", timezone="Europe/Berlin", schedule_args=[1], labels={"queue": "mail"}
)
interval = ft.task(interval=30, schedule_args={"part": Part(name="nut")})
scheduler = ft.scheduler
"""

TASKS = """
async def get_base() -> int:
    return 100

@task
async def knows_fastask() -> bool:
    return "fastask" in sys.modules

@task
async def add(a: int, b: int = 2) -> int:
    return seen(a, int) + seen(b, int)

@task
def join(*words: str, by: str = " ") -> str:  # runs in a thread
    return by.join(words)

@task
async def based(n: int, base: int = depends(get_base)) -> int:
    return base + n

@task
async def order(order: Order) -> Order:
    return seen(order, Order)

@task
async def point(point: Point) -> Point:
    return seen(point, Point)

@task
async def when(when: datetime, by: timedelta) -> datetime:
    return seen(when, datetime) + seen(by, timedelta)

@task
async def key(key: UUID) -> UUID:
    return seen(key, UUID)

@task
async def price(price: Decimal) -> Decimal:
    return seen(price, Decimal)

@task
async def colour(colour: Colour) -> Colour:
    return seen(colour, Colour)

@task
async def parts(parts: list[Part]) -> list[Part]:
    return [seen(part, Part) for part in reversed(parts)]

@task
async def named(parts: dict[str, Part]) -> dict[str, Part]:
    return {name.upper(): seen(part, Part) for name, part in parts.items()}

@task
async def nothing(value: Part | None = None) -> Part | None:
    return seen(value, type(None), Part)

@task
async def loose(value: Any) -> Any:
    return value

@task
async def bare(value: dict) -> dict:
    return seen(value, dict)

@task
async def fail(text: str, n: int = 0) -> int:
    raise ValueError(text, n) if n else OutOfStockError(text)

@labelled
async def with_labels(n: int = 0) -> int:
    return n

@cron
async def weekly(n: int) -> int:
    return n

@interval
async def often(part: Part) -> Part:
    return part
"""

# Sends all calls, waits for all results, and prints what came of them.
CLIENT = """
import asyncio, json, sys
import program

def told(error):
    return {"error": f"{type(error).__module__}.{type(error).__qualname__}", "text": str(error)}

def compared(value, expected):
    same = value == expected and type(value) is type(expected)
    return {"same": same, "value": repr(value)}

async def came(sent, expected):
    result = await sent.wait_result(check_interval=0.02, timeout=20)
    return told(result.error) if result.is_err else compared(result.return_value, expected)

async def came_typed(sent, expected):
    try:
        return compared(await sent.result(timeout=20), expected)
    except Exception as error:
        return told(error)

async def main(calls):
    await program.broker.startup()
    names, outcomes = vars(program), []
    try:
        sent = [(await eval(call, names), eval(expected, names)) for call, expected in calls]
        for one, expected in sent:
            outcome = {"waited": await came(one, expected)}
            if hasattr(one, "result"):
                outcome["typed"] = await came_typed(one, expected)
            outcomes.append(outcome)
    finally:
        await program.broker.shutdown()
    return outcomes

outcomes = asyncio.run(main(json.loads(sys.argv[1])))
print("RESULT", json.dumps([outcomes, "fastask" in sys.modules]))
"""

# Makes the calls with a broker that only records, and prints what each has sent or scheduled.
RECORDER = """
import asyncio, json, sys
import program

def taken(found):
    "Take what was recorded since the last time."
    dumped = [one.model_dump(mode="json") for one in found]
    found.clear()
    return dumped

async def record_labels():
    "What the scheduler finds in labels, and what it sends."
    [labels] = program.scheduler.sources
    await labels.startup()
    await program.scheduler.startup()
    program.source.schedules = sorted(await labels.get_schedules(), key=lambda s: s.task_name)
    for schedule in program.source.schedules:
        schedule.schedule_id = "the schedule"
        await program.scheduler.on_ready(labels, schedule)

async def main(calls):
    records = []
    for call in calls:
        await (eval(call, vars(program)) if call else record_labels())
        records.append([taken(program.broker.sent), taken(program.source.schedules)])
    return records

records = asyncio.run(main(json.loads(sys.argv[1])))
print("RESULT", json.dumps([records, "fastask" in sys.modules]))
"""

SIDES: Mapping[str, str] = {"plain": PLAIN, "fastask": FASTASK}


def written(folder: Path, side: str) -> Path:
    """Write the module `program` of one side, and what sends its tasks."""
    texts = {"program": HEAD + SIDES[side] + TASKS, "client": CLIENT, "recorder": RECORDER}
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def told(folder: Path, script: str, argument: Any, **environment: str) -> Any:
    """Run one of the scripts and give what it tells."""
    command = (sys.executable, "-W", "error", f"{script}.py", json.dumps(argument))
    with Process(*command, cwd=folder, **environment) as running:
        assert running.wait() == 0, running.log
        word, _, text = running.lines[-1].partition(" ")
        assert word == "RESULT", running.log
        return json.loads(text)
