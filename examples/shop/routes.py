"""The routes. They import the tasks that they send, and no app."""

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from examples.shop.dependencies import Prices
from examples.shop.tasks import Bill, Order, write_bill

router = APIRouter()


class TaskRef(BaseModel):
    id: str


@router.post("/orders", status_code=202)
async def post_orders(orders: list[Order], prices: Prices) -> TaskRef:
    if unknown := {order.item for order in orders} - prices.keys():
        raise HTTPException(422, f"not for sale: {', '.join(sorted(unknown))}")
    return TaskRef(id=(await write_bill.kiq(orders)).task_id)


@router.get("/bills/{task_id}")
async def get_bill(task_id: str) -> Bill:
    sent = write_bill.enqueued(task_id)
    if not await sent.is_ready():
        raise HTTPException(404)
    return await sent.result()
