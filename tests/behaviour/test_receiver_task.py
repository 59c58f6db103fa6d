"""Taskiq's `run_receiver_task`: a worker inside a process of the user's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from taskiq.api import run_receiver_task

from fastask import FastTask
from tests.behaviour.receiving import QueueBroker
from tests.unit.doubles import PATIENCE, remaining


async def test_app_runs_as_in_a_worker() -> None:
    """The lifespan runs around the tasks; signals and failures are the caller's business."""
    events: list[str] = []
    ft = FastTask(lambda: app, QueueBroker())

    @ft.lifespan
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("startup")
        yield {"pool": "pool"}
        events.append("shutdown")

    app = FastAPI(lifespan=lifespan)

    def get_pool(request: Request) -> str:
        return str(request.state.pool)

    @ft.task("pool")
    async def pool(pool: str = ft.depends(get_pool)) -> str:
        return pool

    async with asyncio.timeout(PATIENCE):
        receiving = asyncio.create_task(run_receiver_task(ft.broker, run_startup=True))
        sent = await pool.kiq()
        assert await sent.result() == "pool"
        assert events == ["startup"]
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            await receiving
        await ft.broker.shutdown()
    assert events == ["startup", "shutdown"]
    assert remaining() == set()
