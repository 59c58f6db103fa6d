"""The whole program: an app, a task and one dependency for both. No server is needed.

uvicorn examples.quickstart.app:app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from fastask import FastTask

ft = FastTask("examples.quickstart.app:app")


class Pool:
    """What stands for a database here: values, and where it was opened."""

    def __init__(self) -> None:
        self.opened_by = "the app's lifespan"
        self.values: dict[str, str] = {}

    async def close(self) -> None:
        self.values.clear()


class Item(BaseModel):
    key: str
    value: str


class TaskRef(BaseModel):
    id: str


class Outcome(BaseModel):
    count: int
    pool_opened_by: str
    asked_for_by: str


async def get_pool(request: Request) -> Pool:
    """An ordinary FastAPI dependency; nothing in it knows of tasks."""
    pool: Pool = request.app.state.pool
    return pool


async def who_asks(request: Request) -> str:
    """Tells a route's request from a task's; a task gets one of its own."""
    return f"{request.method} from {request.client.host}" if request.client else "nobody"


@ft.task
async def store(
    key: str, value: str, pool: Pool = ft.depends(get_pool), asker: str = ft.depends(who_asks)
) -> Outcome:
    pool.values[key] = value
    return Outcome(count=len(pool.values), pool_opened_by=pool.opened_by, asked_for_by=asker)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """An ordinary lifespan, without a check for workers."""
    app.state.pool = Pool()
    yield {"pool": app.state.pool}
    await app.state.pool.close()


app = FastAPI(lifespan=ft.lifespan(lifespan))


@app.post("/values", status_code=202)
async def post_value(item: Item) -> TaskRef:
    return TaskRef(id=(await store.kiq(item.key, item.value)).task_id)


@app.get("/values/{key}")
async def get_value(key: str, pool: Pool = ft.depends(get_pool)) -> str:
    if key not in pool.values:
        raise HTTPException(404)
    return pool.values[key]


@app.get("/results/{task_id}")
async def get_result(task_id: str) -> Outcome:
    sent = store.enqueued(task_id)
    if not await sent.is_ready():
        raise HTTPException(404)
    return await sent.result()
