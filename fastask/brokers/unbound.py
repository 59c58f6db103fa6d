"""The broker of tasks whose router is not included yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from taskiq import AckableMessage, AsyncBroker, BrokerMessage

from fastask.exceptions import UnboundTaskError

__all__ = ["UNBOUND"]

_REASON = "belongs to a TaskRouter that is not included; call ft.include_router(router)"


class _UnboundBroker(AsyncBroker):
    """Takes no message."""

    async def kick(self, message: BrokerMessage) -> None:
        """Raise `UnboundTaskError`."""
        raise UnboundTaskError(message.task_name, _REASON)

    def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Raise `UnboundTaskError`."""
        raise UnboundTaskError("*", _REASON)


UNBOUND = _UnboundBroker()
"""The one broker of all tasks that belong to no `FastTask`."""
