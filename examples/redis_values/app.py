"""A web process and a worker with Redis between them; the app is the same in both.

uvicorn examples.redis_values.app:app
taskiq worker examples.redis_values.app:broker
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from redis.asyncio import ConnectionPool, Redis
from taskiq import TaskiqDepends

from fastask import FastTask

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379")
QUEUE = os.environ.get("QUEUE", "redis_values")

ft = FastTask("examples.redis_values.app:app", f"{REDIS_URL}?queue={QUEUE}")
broker = ft.broker


class Value(BaseModel):
    key: str
    val: str


class TaskRef(BaseModel):
    id: str


async def get_pool(request: Request) -> ConnectionPool:
    """Plain FastAPI style."""
    pool: ConnectionPool = request.app.state.redis_pool
    return pool


async def get_pool_older(request: Request = TaskiqDepends()) -> ConnectionPool:
    """The style that the older bridge asks for works as it is."""
    pool: ConnectionPool = request.app.state.redis_pool
    return pool


async def get_redis(pool: Annotated[Any, Depends(get_pool)]) -> AsyncIterator[Redis]:
    """A dependency with a teardown, for routes and tasks."""
    async with Redis(connection_pool=pool, decode_responses=True) as redis:
        yield redis


@ft.task
async def save(value: Value, redis: Redis = ft.depends(get_redis)) -> str:
    """Takes a model, and a dependency in plain FastAPI style."""
    await redis.set(value.key, value.val)
    return value.key


@ft.task
async def save_older(
    key: str, val: str, pool: ConnectionPool = TaskiqDepends(get_pool_older)
) -> str:
    """A task as it was written for the older bridge."""
    async with Redis(connection_pool=pool) as redis:
        await redis.set(key, val)
    return key


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opened in the web process and in every worker; neither asks which one it is."""
    app.state.redis_pool = ConnectionPool.from_url(REDIS_URL, decode_responses=True)
    yield
    await app.state.redis_pool.disconnect()


app = FastAPI(lifespan=ft.lifespan(lifespan))


@app.post("/val", status_code=202)
async def post_val(value: Value) -> TaskRef:
    return TaskRef(id=(await save.kiq(value)).task_id)


@app.post("/older/val", status_code=202)
async def post_val_older(value: Value) -> TaskRef:
    return TaskRef(id=(await save_older.kiq(value.key, value.val)).task_id)


@app.get("/val")
async def get_val(key: str, redis: Redis = ft.depends(get_redis)) -> str:
    val = await redis.get(key)
    if val is None:
        raise HTTPException(404)
    return str(val)


@app.get("/older/val")
async def get_val_older(key: str, pool: Annotated[ConnectionPool, Depends(get_pool_older)]) -> str:
    async with Redis(connection_pool=pool, decode_responses=True) as redis:
        val = await redis.get(key)
    if val is None:
        raise HTTPException(404)
    return str(val)
