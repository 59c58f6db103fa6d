# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""Lifespans that are annotated as `AsyncIterator` are accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from fastask import FastTask

ft = FastTask("app:app")


@ft.lifespan
async def iterator(app: FastAPI) -> AsyncIterator[None]:
    yield


async def iterator_with_state(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {}


apps = [FastAPI(lifespan=iterator), FastAPI(lifespan=ft.lifespan(iterator_with_state))]
