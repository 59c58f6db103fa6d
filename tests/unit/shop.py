"""A whole program for the tests of `ft.testing()`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from fastask import FastTask
from tests.unit.doubles import UntouchableBroker


class Shop:
    """A whole program on a broker that must not be touched."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.broker = UntouchableBroker()
        self.ft = FastTask(lambda: self.app, self.broker)
        self.app = FastAPI(lifespan=self.ft.lifespan(self.lifespan))
        self.price = self.ft.task("price")(self._price)
        self.app.post("/")(self.send)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        self.events.append("startup")
        app.state.pool = "pool"
        yield {"yielded": "state"}
        app.state.pool = None
        self.events.append("shutdown")

    async def _price(self, item: str, count: int = 1, *, fail: bool = False) -> str:
        self.events.append(item)
        if fail:
            raise LookupError(item)
        return f"{item} {count} {self.app.state.pool}"

    async def send_item(self, item: str) -> Any:
        return await self.price.kiq(item)

    async def send(self) -> str:
        return await (await self.price.kiq("route")).result(timeout=1)


async def send(shop: Shop, item: str) -> Any:
    """Send the task from an event loop of the caller's."""
    return await shop.price.kiq(item)
