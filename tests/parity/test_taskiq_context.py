"""What Taskiq gives beside dependencies: `ParamInfo`, and the broker's dependency context."""

from typing import Any

from fastapi import FastAPI
from taskiq import InMemoryBroker, TaskiqDepends, TaskiqEvents
from taskiq_dependencies import ParamInfo

from fastask import FastTask


class Pool:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn


async def test_param_info_of_the_task_itself() -> None:
    """Taskiq gives an empty name and no definition there."""

    async def task(info: ParamInfo = TaskiqDepends()) -> Any:
        return [info.name, info.definition]

    assert await FastTask(FastAPI()).task(task).run() == ["", None]


async def test_function_in_taskiq_s_dependency_context() -> None:
    """`broker.add_dependency_context({function: value})` gives the value, as in Taskiq."""

    def dsn() -> str:
        return "real"

    async def task(value: str = TaskiqDepends(dsn)) -> str:
        return value

    broker = InMemoryBroker()
    broker.add_dependency_context({dsn: "given"})
    assert await FastTask(FastAPI(), broker).task(task).run() == "given"


async def test_dependency_context_added_by_a_startup_handler() -> None:
    """Taskiq's integrations add their objects when the worker starts, after fastask is there."""
    broker = InMemoryBroker(await_inplace=True)
    broker.is_worker_process = True
    ft = FastTask(FastAPI(), broker)

    @ft.task
    async def task(pool: Pool = TaskiqDepends()) -> str:
        return pool.dsn

    async def add(state: Any) -> None:
        broker.add_dependency_context({Pool: Pool("given")})

    broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, add)
    try:
        await broker.startup()
        assert await (await task.kiq()).result() == "given"
    finally:
        await broker.shutdown()
