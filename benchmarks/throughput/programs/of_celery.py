"""Celery, with its defaults, which store no results here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from celery import Celery
from counting import URL, ran

VERSION = f"celery {version('celery')}"

app = Celery("of_celery", broker=URL)
app.conf.worker_hijack_root_logger = False


@app.task(name="nothing")
def nothing() -> None:
    ran()


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    yield nothing.delay
