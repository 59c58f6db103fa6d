"""The tasks. They import neither the app nor a broker; the app includes their router."""

from decimal import Decimal

from pydantic import BaseModel, PositiveInt

from examples.shop.dependencies import Prices
from fastask import INJECTED, TaskRouter

router = TaskRouter()


class Order(BaseModel):
    item: str
    count: PositiveInt = 1


class Bill(BaseModel):
    lines: list[str]
    total: Decimal


@router.task("bill")
async def write_bill(orders: list[Order], prices: Prices = INJECTED) -> Bill:
    lines = [f"{order.count} x {order.item}" for order in orders]
    total = sum((order.count * prices[order.item] for order in orders), Decimal())
    return Bill(lines=lines, total=total)
