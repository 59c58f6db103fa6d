"""Which kind a broker is, without loading what makes brokers of that kind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from taskiq import AsyncBroker

if TYPE_CHECKING:
    from fastask.brokers.durable import DurableBroker

__all__ = ["durable"]


def durable(broker: AsyncBroker) -> DurableBroker | None:
    """Give a broker if a URL of a server or a file has made it."""
    module = sys.modules.get("fastask.brokers.durable")  # not loaded, there is none
    is_one = module is not None and isinstance(broker, module.DurableBroker)
    return broker if is_one else None  # type: ignore[return-value]
