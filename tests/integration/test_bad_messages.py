"""Messages that are no good, at a real `taskiq worker`."""

from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.bad_messages import ADD, ID, KINDS, SECRET
from tests.integration.programs import opened, written

PROGRAM = """
broker = redis_broker()
app = FastAPI()
ft = FastTask("program:app", broker)

def get_pool(): return "pool"

@ft.task("shop:add")
async def add(n: int, pool: str = Depends(get_pool)) -> int:
    say(f"ran {n}")
    return n

@ft.task("shop:count")
async def count(numbers: list[int]) -> None: say("ran")

@ft.task("shop:prices")
async def prices(of: dict[str, int]) -> None: say("ran")

@ft.task("shop:retried", retries=3)
async def retried(n: int) -> None: say("ran")
"""


@pytest.mark.redis
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_worker_goes_on_with_a_short_log(
    tmp_path: Path, redis_url: str, queue: str, level: str
) -> None:
    """Of each kind one: whoever can be told is told, nothing is left, the log has no values."""
    with opened(redis_url, queue) as work:
        redis: Any = work.redis
        sent: dict[str, str] = {}
        for number, (kind, bad) in enumerate(KINDS.items()):
            task_id = f"{queue}-{number}"
            redis.xadd(work.name, {"data": bad.raw().replace(ID.encode(), task_id.encode())})
            if bad.error:
                sent[kind] = task_id
        with work.worker(written(tmp_path, PROGRAM), "--log-level", level) as worker:
            assert work.outcome(work.send(ADD, 5))["return_value"] == 5
            outcomes = {kind: work.outcome(task_id) for kind, task_id in sent.items()}
            worker.process.terminate()
            assert worker.wait() == 0
        assert (work.waiting(), work.pending()) == (0, 0)
        found = {kind: outcome["error"]["exc_type"] for kind, outcome in outcomes.items()}
        assert found == {kind: KINDS[kind].error for kind in sent}
        assert [line for line in worker.lines if line.startswith("ran")] == ["ran 5"]
        assert worker.log.count("dropped a message of") == len(KINDS) - len(sent)
        assert len(worker.log) < 100_000
        assert SECRET not in worker.log
        assert "Task exception was never retrieved" not in worker.log
        assert "Logging error" not in worker.log
