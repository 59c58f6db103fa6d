"""An app to deploy: served by uvicorn, worked for by Taskiq, with a schedule, on Redis.

uvicorn app:app
taskiq worker app:broker
taskiq scheduler app:scheduler
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field
from redis.asyncio import Redis

from fastask import FastTask

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
QUEUE = os.environ.get("QUEUE", "deploy")

logger = logging.getLogger(__name__)

ft = FastTask(
    "app:app",
    # What a killed worker had is run again after 30 s; results are kept for an hour.
    f"{REDIS_URL}?queue={QUEUE}&deadline=30&results_ttl=3600",
)
broker = ft.broker
scheduler = ft.scheduler


class Text(BaseModel):
    text: str
    pause: float = Field(0, ge=0, le=60)  # seconds; stands for work that takes its time


class TaskRef(BaseModel):
    id: str


class Outcome(BaseModel):
    words: int | None = None
    error: str | None = None


class Health(BaseModel):
    status: str = "ok"


def get_redis(request: Request) -> Redis:
    """The connections that the lifespan has opened, in routes and in tasks."""
    redis: Redis = request.app.state.redis
    return redis


@ft.task
async def count_words(text: str, pause: float = 0, redis: Redis = ft.depends(get_redis)) -> int:
    await asyncio.sleep(pause)
    words = len(text.split())
    await redis.incrby(f"{QUEUE}:words", words)
    return words


@ft.task(cron="* * * * *")
async def report(redis: Redis = ft.depends(get_redis)) -> int:
    """Run every minute, by one of the workers."""
    words = int(await redis.get(f"{QUEUE}:words") or 0)
    logger.info("%d words counted so far", words)
    return words


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run in the web process and in every worker process, not in the scheduler."""
    async with Redis.from_url(REDIS_URL, decode_responses=True) as app.state.redis:
        await app.state.redis.ping()  # what can't reach Redis does not start
        yield


app = FastAPI(lifespan=ft.lifespan(lifespan))


@app.post("/texts", status_code=202)
async def post_text(body: Text) -> TaskRef:
    return TaskRef(id=(await count_words.kiq(body.text, body.pause)).task_id)


@app.get("/results/{task_id}")
async def get_result(task_id: str) -> Outcome:
    sent = count_words.enqueued(task_id)
    if not await sent.is_ready():
        raise HTTPException(404, "not done yet, or unknown, or expired")
    result = await sent.get_result()
    if result.is_err:
        return Outcome(error=str(result.error))
    return Outcome(words=result.return_value)


@app.get("/health")
async def get_health() -> Health:
    """Says that this process serves; Redis is not asked, as restarting this would not mend it."""
    return Health()
