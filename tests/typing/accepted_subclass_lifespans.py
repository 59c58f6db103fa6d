# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls
"""Lifespans of a subclass of `FastAPI` are accepted, as `FastAPI` accepts them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fastask import FastTask

ft = FastTask("app:app")


class Shop(FastAPI):
    name = "shop"


@ft.lifespan
@asynccontextmanager
async def of_shop(app: Shop) -> AsyncGenerator[dict[str, str], None]:
    yield {"name": app.name}


@ft.lifespan
async def generator_of_shop(app: Shop) -> AsyncGenerator[None, None]:
    yield


shops = [Shop(lifespan=of_shop), Shop(lifespan=generator_of_shop), Shop(lifespan=ft.lifespan())]
