"""What routes and tasks ask for. Knows neither of them, nor the app."""

from decimal import Decimal
from typing import Annotated

from fastapi import Depends, Request


async def get_prices(request: Request) -> dict[str, Decimal]:
    """The list that the lifespan has read, in the web process and in each worker."""
    prices: dict[str, Decimal] = request.app.state.prices
    return prices


Prices = Annotated[dict[str, Decimal], Depends(get_prices)]
