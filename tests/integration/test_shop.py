"""The example in four modules: no import goes in a circle, and it runs with both brokers."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.integration.processes import (
    BIN,
    Process,
    call,
    found,
    free_port,
    server,
    wait_for_server,
    worker,
)

PACKAGE = "examples.shop"
APP = f"{PACKAGE}.app"

# What each module brings with it when it is the first one to be imported.
BROUGHT = {
    "dependencies": {"dependencies"},
    "tasks": {"dependencies", "tasks"},
    "routes": {"dependencies", "routes", "tasks"},
    "app": {"app", "dependencies", "routes", "tasks"},
}
IMPORTS = """
import importlib, sys
package, first, *others = sys.argv[1:]
importlib.import_module(f"{package}.{first}")
print("brought", *(name for name in sys.modules if name.startswith(f"{package}.")))
print("drivers", *(name for name in ("redis", "taskiq_redis") if name in sys.modules))
for other in others:
    importlib.import_module(f"{package}.{other}")
from examples.shop import app, tasks
print("named", tasks.write_bill.task_name, tasks.write_bill.broker is app.broker)
"""
ORDERS = [{"item": "tea", "count": 2}, {"item": "cup"}]
BILL = {"lines": ["2 x tea", "1 x cup"], "total": "14.25"}


@pytest.mark.parametrize("backwards", [False, True], ids=["upwards", "downwards"])
@pytest.mark.parametrize("first", BROUGHT)
def test_every_module_can_be_imported_first(first: str, backwards: bool) -> None:
    """Nothing brings the app or a broker but the app, and all end in the same program."""
    others = sorted(BROUGHT.keys() - {first}, key=list(BROUGHT).index, reverse=backwards)
    python = (BIN / "python", "-W", "error", "-c", IMPORTS)
    with Process(*python, PACKAGE, first, *others, REDIS_URL="") as program:
        assert program.wait() == 0, program.log
        brought, drivers, named = (line.split() for line in program.lines)
    assert set(brought[1:]) == {f"{PACKAGE}.{name}" for name in BROUGHT[first]}
    assert drivers == ["drivers"]  # not even the app brings them, without a URL
    assert named == ["named", "shop:bill", "True"]


@contextmanager
def served(redis_url: str, queue: str) -> Iterator[tuple[str, Process]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with server(f"{APP}:app", port, REDIS_URL=redis_url, QUEUE=queue) as web:
        wait_for_server(url)
        yield url, web


def bill_comes_back(url: str) -> str:
    """Send orders, wait for their bill, and give the task's id."""
    status, ref = call(f"{url}/orders", ORDERS)
    assert status == 202, ref
    assert found(f"{url}/bills/{ref['id']}") == BILL
    return str(ref["id"])


def test_web_process_alone(queue: str) -> None:
    """Without a Redis, the task runs where the request came in."""
    with served("", queue) as (url, web):
        bill_comes_back(url)
        assert call(f"{url}/bills/unknown")[0] == 404
        web.send(signal.SIGTERM)
        assert web.wait() in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it was sent
        assert "Application shutdown complete" in web.log
        assert "Traceback" not in web.log


def test_route_refuses_what_its_dependency_does_not_know(queue: str) -> None:
    """The route reads the same prices as the task; what has none is not sent."""
    with served("", queue) as (url, _):
        status, answer = call(f"{url}/orders", [*ORDERS, {"item": "sugar"}])
        assert (status, answer) == (422, {"detail": "not for sale: sugar"})
        assert call(f"{url}/orders", [{"item": "tea", "count": 0}])[0] == 422


@pytest.mark.redis
def test_web_process_and_worker(redis_url: str, queue: str) -> None:
    """With a Redis, the worker runs the task; the code is the same."""
    environment = {"REDIS_URL": redis_url, "QUEUE": queue}
    with ExitStack() as stack:
        working = stack.enter_context(worker(f"{APP}:broker", "--workers", "1", **environment))
        url, web = stack.enter_context(served(redis_url, queue))
        task_id = bill_comes_back(url)
        working.wait_for(f"Executing task shop:bill with ID: {task_id}")
        working.send(signal.SIGTERM)
        assert working.wait() == 0, working.log
        assert f"worker of {APP}:app: 1 tasks, RedisBroker" in working.log
        assert "Executing task" not in web.log
        assert "Traceback" not in web.log + working.log
