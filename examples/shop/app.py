"""An app in several modules; this one puts them together, and none of them imports it.

uvicorn examples.shop.app:app                 tasks run in the web process
REDIS_URL=... uvicorn examples.shop.app:app   tasks run in workers:
REDIS_URL=... taskiq worker examples.shop.app:broker
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

from fastapi import FastAPI

from examples.shop import routes, tasks
from fastask import FastTask

QUEUE = os.environ.get("QUEUE", "shop")
REDIS_URL = os.environ.get("REDIS_URL")

ft = FastTask("examples.shop.app:app", f"{REDIS_URL}?queue={QUEUE}" if REDIS_URL else None)
ft.include_router(tasks.router, prefix="shop")
broker = ft.broker


@ft.lifespan
@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run in the web process and in each worker: all of them read the prices."""
    app.state.prices = {"tea": Decimal("3.50"), "cup": Decimal("7.25")}
    yield


app = FastAPI(lifespan=lifespan)
app.include_router(routes.router)
